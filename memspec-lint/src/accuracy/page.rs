//! The page `docs/accuracy.md`: every measured row beside its prediction.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::public::{LongestRow, PublicReport, VerdictRow};
use super::text::signed;
use super::{Errors, Fate, Figure, Group, PHASES, Prediction, Report, Row, bars, public_bars};

mod public;

/// Rows that are shown as the worst.
const WORST: usize = 12;

/// Constants of the predictions that are no tensor's size: name, what it is, the source that it was read from.
const CONSTANTS: &[(&str, &str, &str)] = &[
    (
        "512 B; 1, 2, 10 and 20 MiB",
        "PyTorch's caching allocator: rounding, largest small request, segments and their steps",
        "`c10/cuda/CUDACachingAllocator.cpp` (torch 2.11)",
    ),
    (
        "4,096 and 256 elements",
        "8-bit optimizers: smaller tensors keep 32-bit states; elements to a maximum",
        "`bitsandbytes/optim/optimizer.py`, `bitsandbytes/functional.py`",
    ),
    ("100,000 elements", "paged optimizers: from here on states are paged", "`bitsandbytes/optim/optimizer.py`"),
    ("1 MiB", "cuBLASLt: a thread's workspace for products with a bias", "`aten/src/ATen/cuda/CUDABlas.cpp`"),
    (
        "64 MiB a thread; 8, 8 and 2 MiB",
        "outside the allocator: a cuBLAS handle, kernels with local memory (attention forward, backward), modules",
        "measured operation by operation with NVML on an H200, CUDA 13.0",
    ),
    (
        "848, 844, 968, 1,334 and 1,044 MiB; 256 MiB",
        "outside the allocator: NCCL's channels under DDP and tensor parallelism, FSDP2 on quantized weights, FSDP2, ZeRO 1 and 2, ZeRO 3; more on ranks that \
         FSDP2's first one broadcasts to",
        "measured with two H200s",
    ),
    (
        "32 MiB for each card of a machine",
        "NCCL's multicast (NVLS) from three cards on an NVSwitch on",
        "NCCL, `src/transport/nvls.cc`",
    ),
    (
        "5e8, 5e7, 1e9, 1e9, 1e5 elements",
        "DeepSpeed: reduce bucket, prefetch bucket, most live parameters, reuse distance, persistent parameters",
        "`deepspeed/runtime/zero/config.py` (0.19.8)",
    ),
    (
        "32 MiB pieces, lowest hole first",
        "where `cudaMalloc` puts a segment, which decides among equal free blocks",
        "addresses in 27 recorded runs, driver 580",
    ),
    (
        "1.5 %",
        "part of a limit that stays free where a run is said to fit",
        "a margin of ours, not a figure of a stack",
    ),
    ("3,072 tokens", "embedding: from here on its backward sorts", "`aten/src/ATen/native/cuda/Embedding.cu`"),
    ("4,096 tokens by 32,768 words", "TRL's chunked loss: a tile", "`trl`, `chunked_logprob.py`"),
    (
        "36 MiB",
        "outside the allocator on a T4: handles and kernels together, beside its context",
        "fitcheck-llm 0.3.1, 69 rows: memory in use less reserved, before loading and after training",
    ),
    (
        "context",
        "what a process holds on the GPU before its first tensor; depends on the card and on CUDA's version",
        "`context` of a device in `memspec/catalog/devices.json`, with its source",
    ),
];

/// What others published, predicted.
#[derive(Clone, Debug)]
pub struct Public {
    /// `data/measured_public.csv`
    pub figures: PublicReport,
    /// `data/verdicts_public.csv`
    pub verdicts: Vec<VerdictRow>,
    /// `data/max_context_public.csv`
    pub longest: Vec<LongestRow>,
}

/// Our own rows, predicted, by their files in `data/`.
#[derive(Clone, Debug)]
pub struct Measured {
    /// `measured.jsonl`
    pub rows: Report,
    /// `limits.jsonl`
    pub limits: Report,
    /// `holdout.jsonl`
    pub holdout: Report,
    /// `holdout_limits.jsonl`
    pub holdout_limits: Report,
    /// `features.jsonl`
    pub features: Report,
}

/// The page.
pub fn page(own: &Measured, published: &Public) -> String {
    let Measured { rows: measured, limits, holdout, holdout_limits, features } = own;
    let mut text = String::from(HEAD);
    claims(&mut text, measured, limits, published);
    groups(&mut text, measured);
    phases(&mut text, &measured.summary.one_gpu, &measured.summary.several_gpus);
    held_out(&mut text, holdout, holdout_limits);
    added(&mut text, features);
    public::section(&mut text, published);
    left_out(&mut text, measured);
    weak(&mut text, measured);
    limited(&mut text, limits);
    rows(&mut text, measured);
    text
}

const HEAD: &str = "\
# How accurate the predictions are

<!-- generated from data/*.jsonl: `MEMSPEC_UPDATE=1 cargo test -p memspec-lint` writes it anew -->

Every row of `data/measured.jsonl` is a real fine-tune; `data/README.md` says how it was measured, with which versions, and what each field is.
Here each stands beside what memspec predicts of it. Errors are (predicted - measured) / measured; a group's are absolute. GiB are 2^30 bytes.

To reproduce:

```sh
memspec-lint accuracy data/measured.jsonl            # this page's figures; --json for programs
memspec-lint accuracy data/limits.jsonl
memspec-lint accuracy data/measured_public.csv       # what others published; verdicts_public.csv, max_context_public.csv
python3 data/measure/measure.py '{\"model\": \"llama3-8b\", \"quant\": \"nf4\", \"batch\": 2, \"seq\": 2048}'   # a row of your own, on a GPU
```

";

fn claims(text: &mut String, measured: &Report, limits: &Report, published: &Public) {
    text.push_str(
        "## What is claimed\n\nA test (`memspec-lint/tests/accuracy.rs`) fails when one of these does not hold.\n\n",
    );
    text.push_str("| figure | bar | reached | |\n| --- | --- | --- | --- |\n");
    for bar in bars(measured, limits).into_iter().chain(public_bars(&published.figures, &published.verdicts)) {
        let held = if bar.held { "holds" } else { "**missed**" };
        let _ = writeln!(text, "| {} | {} | {} | {held} |", bar.figure, bar.bar, bar.reached);
    }
    text.push('\n');
}

const GROUP_HEAD: &str = "\
| | rows | allocated mean | worst | reserved mean | worst | inside | process mean | worst | inside |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |
";

fn groups(text: &mut String, report: &Report) {
    let summary = &report.summary;
    let _ = writeln!(
        text,
        "## By group\n\n\"inside\": share of rows inside the stated interval, which is {} of the prediction wide on average for reserved bytes, {} for the process.\n",
        percent(summary.all.reserved.width),
        percent(summary.all.process.width)
    );
    let gpus: BTreeMap<String, Group> =
        [("one".to_owned(), summary.one_gpu.clone()), ("several".to_owned(), summary.several_gpus.clone())].into();
    for (title, groups) in
        [("GPUs", &gpus), ("stack", &summary.by_stack), ("model", &summary.by_model), ("method", &summary.by_method)]
    {
        text.push_str(&GROUP_HEAD.replacen("| |", &format!("| {title} |"), 1));
        for (name, group) in groups.iter().filter(|(_, group)| group.rows > 0) {
            let Group { rows, allocated, reserved, process, .. } = group;
            let three = |errors: &Errors| {
                format!("{} | {} | {}", percent(errors.mean), percent(errors.worst), percent(errors.inside))
            };
            let _ = writeln!(
                text,
                "| {name} | {rows} | {} | {} | {} | {} |",
                percent(allocated.mean),
                percent(allocated.worst),
                three(reserved),
                three(process)
            );
        }
        text.push('\n');
    }
}

fn phases(text: &mut String, one: &Group, several: &Group) {
    text.push_str("## By phase\n\nLive tensors in (`peak`) and after each phase.\n\n");
    text.push_str("| | one GPU mean | worst | several mean | worst |\n| --- | --: | --: | --: | --: |\n");
    for name in PHASES.iter().filter(|name| one.phases.contains_key(*name) || several.phases.contains_key(*name)) {
        let of = |group: &Group| {
            let errors = group.phases.get(name).copied().unwrap_or_default();
            format!("{} | {}", percent(errors.mean), percent(errors.worst))
        };
        let _ = writeln!(text, "| `{name}` | {} | {} |", of(one), of(several));
    }
    text.push('\n');
}

fn held_out(text: &mut String, report: &Report, limits: &Report) {
    let summary = &report.summary;
    let _ = writeln!(
        text,
        "## Configurations that were measured later\n\n\
         `data/holdout.jsonl` has models, ranks, batches and contexts that the rows above lack. No figure was set by them, but those that were off sent us back to the \
         sources, so they are no blind test any more. {} of {} are predicted; the rest are what the engines refuse.\n",
        summary.predicted,
        summary.predicted + summary.failed
    );
    by_stack(text, report);
    let outcomes = limits.summary.outcomes;
    let _ = writeln!(
        text,
        "\nUnder a limit (`data/holdout_limits.jsonl`, most of them within 2 % of where a run just fits): {} of {} right, {} of {} of those further than 2 % from the \
         edge; {} said to fit died, {} said to die fit.\n",
        outcomes.right, outcomes.rows, outcomes.clear_right, outcomes.clear, outcomes.wrong_fits, outcomes.wrong_ooms
    );
}

/// Rows of what was added later.
fn added(text: &mut String, report: &Report) {
    let summary = &report.summary;
    let _ = writeln!(
        text,
        "## Features, families and ways to share the work\n\n\
         `data/features.jsonl` has every run that was measured for them and ended, however it is predicted; many have few layers. About half of them, and their recorded \
         allocations, showed what had been misread while the code was written, so this is no blind test. {} of {} are predicted; the rest are refused:\n",
        summary.predicted,
        summary.predicted + summary.failed
    );
    let mut refused: Vec<(String, u32)> = Vec::new();
    for error in report.rows.iter().filter_map(Row::error) {
        // Without the row's number before it, and the words that a key may have behind it.
        let why = error.split_once(": ").map_or(error, |(_, why)| why);
        let why = why.split_once(", whose keys").or(why.split_once("; ")).map_or(why, |(why, _)| why);
        match refused.iter_mut().find(|(known, _)| known == why) {
            Some((_, rows)) => *rows += 1,
            None => refused.push((why.to_owned(), 1)),
        }
    }
    text.push_str("| why | rows |\n| --- | --: |\n");
    for (why, rows) in refused {
        let _ = writeln!(text, "| {why} | {rows} |");
    }
    text.push('\n');
    by_stack(text, report);
    text.push_str(
        "\nEvaluation between steps, writing a checkpoint and merging the adapter, in the rows that did them:\n\n\
         | | rows | one GPU mean | worst | rows | several mean | worst |\n| --- | --: | --: | --: | --: | --: | --: |\n",
    );
    for name in ["eval_peak", "after_eval", "save_peak", "merge_peak", "after_merge"] {
        let of = |group: &Group| {
            let errors = group.phases.get(name).copied().unwrap_or_default();
            format!("{} | {} | {}", errors.rows, percent(errors.mean), percent(errors.worst))
        };
        let _ = writeln!(text, "| `{name}` | {} | {} |", of(&summary.one_gpu), of(&summary.several_gpus));
    }
    text.push_str("\nThose that are furthest off in reserved bytes:\n\n");
    furthest(text, report, |prediction| prediction.reserved);
}

fn by_stack(text: &mut String, report: &Report) {
    text.push_str(
        "| stack | rows | allocated mean | worst | reserved mean | worst | inside | process mean |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    for (name, group) in &report.summary.by_stack {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            group.rows,
            percent(group.allocated.mean),
            percent(group.allocated.worst),
            percent(group.reserved.mean),
            percent(group.reserved.worst),
            percent(group.reserved.inside),
            percent(group.process.mean)
        );
    }
}

fn left_out(text: &mut String, report: &Report) {
    text.push_str(
        "## Leave one model out\n\nNo constant is fitted to rows: predictions are replays of what the stacks' sources allocate. A model left out of the data changes \
         no prediction, so the error on a model that was left out is its error here:\n\n\
         | model left out | rows | allocated mean | worst | reserved mean | process mean |\n| --- | --: | --: | --: | --: | --: |\n",
    );
    for (name, group) in &report.summary.by_model {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            group.rows,
            percent(group.allocated.mean),
            percent(group.allocated.worst),
            percent(group.reserved.mean),
            percent(group.process.mean)
        );
    }
    text.push_str(
        "\nConstants that are no tensor's size:\n\n| constant | what it is | source |\n| --- | --- | --- |\n",
    );
    for (name, what, source) in CONSTANTS {
        let _ = writeln!(text, "| {name} | {what} | {source} |");
    }
    text.push('\n');
}

fn weak(text: &mut String, report: &Report) {
    text.push_str(
        "## Where it is weak\n\n\
         - All rows ran on H200s and H100s with the versions that they name; other cards differ in their context and in which kernels are chosen.\n\
         - At most two GPUs were measured, so estimates for more are marked and wider, above all in what NCCL holds. ZeRO 1 to 3 and tensor parallelism were read \
         from their sources and checked against a dozen runs: allocated within 0.6 %, reserved within 25 %, as their streams keep more segments than the replay's.\n\
         - Process bytes are those of the rank that holds most: on FSDP2's first rank NCCL holds 256 MiB less.\n\
         - The rows' samples all have the context's length. Data of mixed lengths fragment the allocator's segments more.\n\
         - GPT-OSS ran with zero routers, so its tokens went to the same experts.\n\n\
         The rows that are furthest off in allocated bytes:\n\n",
    );
    furthest(text, report, |prediction| prediction.allocated);
}

/// The rows whose figure is furthest off.
fn furthest(text: &mut String, report: &Report, figure: impl Fn(&Prediction) -> Figure) {
    let mut worst: Vec<(&Row, Figure)> =
        report.rows.iter().filter_map(|row| Some((row, figure(row.prediction()?)))).collect();
    worst.retain(|(_, figure)| figure.error().is_some());
    let off = |figure: &Figure| figure.error().unwrap_or(0.0).abs();
    worst.sort_by(|a, b| off(&b.1).total_cmp(&off(&a.1)));
    text.push_str("| row | job | predicted | measured | error |\n| --: | --- | --: | --: | --: |\n");
    for (row, figure) in worst.into_iter().take(WORST) {
        let _ = writeln!(text, "| {} | {} | {} |", row.line, title(row), measured(&figure));
    }
    text.push('\n');
}

fn limited(text: &mut String, report: &Report) {
    text.push_str(
        "## Under a limit\n\nThe same jobs with PyTorch's allocator held to a limit, as on a smaller card (`data/limits.jsonl`).\n\n\
         | row | job | limit, GiB | predicted | measured |\n| --: | --- | --: | --- | --- |\n",
    );
    for row in &report.rows {
        let Some(outcome) = row.prediction().and_then(|prediction| prediction.outcome) else {
            let _ = writeln!(text, "| {} | {} | | {} | |", row.line, title(row), row.error().unwrap_or("no limit"));
            continue;
        };
        let word = |fate| if fate == Fate::Fits { "fits" } else { "oom" };
        let limit = row.limit.map(|limit| format!("{:.2}", gib(limit))).unwrap_or_default();
        let edge = if outcome.near_edge { " (within 2 % of the edge)" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {limit} | {}{edge} | {} |",
            row.line,
            title(row),
            word(outcome.predicted),
            outcome.measured.map(word).unwrap_or("-")
        );
    }
    text.push('\n');
}

fn rows(text: &mut String, report: &Report) {
    text.push_str(
        "## Every row\n\n`batch x context`, then what differs from LoRA of rank 16 on every linear in bf16 with checkpointing, fused AdamW and SDPA. GiB; predicted, measured, error.\n\n\
         | row | job | allocated | | | reserved | | | process | | |\n| --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    for row in &report.rows {
        match row.prediction() {
            None => {
                let _ = writeln!(text, "| {} | {} | {} |", row.line, title(row), row.error().unwrap_or_default());
            }
            Some(prediction) => {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} |",
                    row.line,
                    title(row),
                    measured(&prediction.allocated),
                    measured(&prediction.reserved),
                    measured(&prediction.process)
                );
            }
        }
    }
}

fn title(row: &Row) -> String {
    let labels = &row.labels;
    format!("{} {} {} {}", labels.stack, labels.model, labels.method, labels.title)
}

/// Predicted, measured, error.
fn measured(figure: &Figure) -> String {
    let measured = figure.measured.map(|bytes| format!("{:.3}", gib(bytes)));
    let error = figure.error().map(signed);
    format!(
        "{:.3} | {} | {}",
        gib(figure.predicted),
        measured.as_deref().unwrap_or("-"),
        error.as_deref().unwrap_or("-")
    )
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share))
}
