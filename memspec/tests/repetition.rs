//! The engine `trl` runs its program on a few blocks and writes the rest out: that has to be what the whole program gives, event by event.

use memspec::cost::engine::trl;
use memspec::cost::{Event, Trace, estimate, least_demand, peak_allocated};
use memspec::exchange::job::Job;
use memspec::plan::{Attention, LossKind, ParallelKind, Precision, Script, Upcast};
use memspec::quantity::Bytes;
use memspec::setup::{Eval, Parallel, Setup};
use memspec::solve::ROOM;
use serde_json::{Value, json};

fn setup(job: &Value) -> Setup {
    Job::read(job).unwrap().setup("H200").unwrap()
}

fn jobs() -> Vec<Value> {
    [
        json!({"model": "llama3-8b"}),
        json!({"model": "llama3-8b", "quant": "nf4", "batch": 2, "accum": 2}),
        json!({"model": "llama3-8b", "quant": "int8"}),
        json!({"model": "qwen2.5-3b", "method": "full"}),
        json!({"model": "qwen2.5-3b", "quant": "nf4", "loss": "whole", "accum": 2}),
        json!({"model": "llama3.2-1b", "loss": "whole", "precision": "fp16", "attn": "eager", "batch": 2}),
        json!({"model": "llama3.2-1b", "method": "full", "precision": "bf16-pure", "optim": "adafactor"}),
        json!({"model": "llama3.2-1b", "method": "full", "optim": "adamw_8bit", "accum": 2}),
        json!({"model": "qwen3-8b", "ckpt": false, "targets": "qv"}),
        json!({"model": "phi3-mini", "quant": "nf4", "seq": 4096, "optim": "paged_adamw_8bit"}),
        json!({"model": "mistral-7b", "liger": true, "attn": "eager"}),
        json!({"model": "gpt-oss-20b", "targets": "attn", "attn": "eager"}),
        json!({"model": "gpt-oss-20b", "targets": "experts", "attn": "eager", "quant": "mxfp4"}),
        json!({"model": "mixtral-8x7b", "quant": "nf4", "targets": "all-linear"}),
        json!({"model": "qwen3-30b-a3b", "targets": "all", "ckpt": false, "accum": 2}),
        json!({"model": "qwen1.5-moe-a2.7b", "method": "full", "precision": "bf16-pure", "optim": "adafactor"}),
        json!({"model": "qwen2-vl-7b", "quant": "nf4", "targets": "all-linear", "images": 1, "image_px": "448x448"}),
        json!({"model": "qwen2.5-vl-7b", "targets": "all", "images": 1, "image_px": "448x448"}),
        json!({"model": "qwen3-vl-4b", "quant": "nf4", "targets": "all-linear", "images": 1, "image_px": "448x448"}),
        json!({"model": "gemma3-4b", "targets": "attn", "images": 1, "image_px": "896x896"}),
        json!({"model": "llava-1.5-7b", "quant": "nf4", "targets": "all-linear", "images": 1, "image_px": "336x336"}),
        json!({"model": "llava-1.5-7b", "targets": "attn", "ckpt": false, "images": 1, "image_px": "336x336"}),
        json!({"model": "llava-1.5-7b", "targets": "attn", "evaluate": 2, "merge": true, "images": 1, "image_px": "336x336"}),
        json!({"model": "mistral-small-3.1-24b", "targets": "all-linear", "images": 2, "image_px": "700x500", "seq": 2048}),
        json!({"model": "mistral-small-3.1-24b", "targets": "attn"}),
        json!({"model": "llava-1.5-7b", "method": "full", "precision": "bf16-pure", "images": 1, "image_px": "336x336"}),
        json!({"model": "qwen2-vl-7b", "method": "full", "images": 1, "image_px": "448x448", "optim": "adafactor"}),
        json!({"model": "llama3-8b", "evaluate": 8, "merge": true}),
        json!({"model": "phi3-mini", "quant": "nf4", "evaluate": 4, "merge": true}),
        json!({"model": "llama3-8b", "quant": "int8", "evaluate": 2, "merge": true}),
        json!({"model": "qwen2.5-0.5b", "method": "full", "evaluate": 8}),
        json!({"model": "llama3-8b", "world": 2, "shard": "ddp", "evaluate": 2}),
        json!({"model": "llama3.2-1b", "world": 2, "shard": "fsdp2", "method": "full", "evaluate": 2}),
        json!({"model": "llama3-8b", "world": 2, "shard": "fsdp2", "evaluate": 8}),
        json!({"model": "gemma2-2b", "targets": "all-linear", "ckpt": false}),
        json!({"model": "gemma2-2b", "targets": "all-linear", "attn": "eager", "seq": 512}),
        json!({"model": "gemma3-1b", "targets": "all-linear", "seq": 256}),
        json!({"model": "phi-2", "quant": "nf4", "targets": "all-linear"}),
        json!({"model": "pythia-1.4b", "method": "full"}),
        json!({"model": "starcoder2-3b", "quant": "int8", "targets": "all-linear"}),
        json!({"model": "olmo3-7b", "targets": "all-linear", "seq": 4608}),
        json!({"model": "command-r7b", "targets": "all-linear"}),
        json!({"model": "gemma2-2b", "quant": "nf4", "targets": "all-linear", "evaluate": 4, "merge": true}),
        json!({"model": "pythia-1.4b", "targets": "all-linear", "evaluate": 8, "merge": true}),
        json!({"model": "apertus-8b", "quant": "nf4", "targets": "all-linear", "ckpt": false}),
        json!({"model": "llama3-8b", "world": 2, "shard": "ddp"}),
        json!({"model": "llama3-8b", "world": 2, "shard": "fsdp2"}),
        json!({"model": "llama3.2-1b", "world": 2, "shard": "fsdp2", "method": "full", "reshard": false}),
        json!({"model": "llama3-8b", "world": 2, "shard": "fsdp2", "accum": 2}),
        json!({"model": "gpt-oss-20b", "targets": "attn", "attn": "eager", "world": 2, "shard": "fsdp2"}),
        json!({"model": "qwen2-vl-7b", "images": 1, "image_px": "448x448", "world": 2, "shard": "ddp"}),
        json!({"model": "qwen2-vl-7b", "images": 1, "image_px": "448x448", "world": 2, "shard": "fsdp2"}),
        json!({"model": "llama3.2-1b", "world": 2, "shard": "tp", "method": "full"}),
        json!({"model": "llama3-8b", "loss": "liger", "liger": true, "batch": 2}),
        json!({"model": "qwen2.5-3b", "loss": "liger", "method": "full"}),
        json!({"model": "llama3-8b", "quant": "nf4", "packing": true, "batch": 2}),
        json!({"model": "llama3.2-1b", "lengths": "mixed", "batch": 2, "ckpt": false}),
        json!({"model": "qwen2.5-3b", "dropout": 0.05, "accum": 2}),
        json!({"model": "llama3-8b", "dora": true, "ckpt": false}),
        json!({"model": "qwen2.5-3b", "quant": "nf4", "dora": true, "dropout": 0.1}),
        json!({"model": "llama3-8b", "quant": "int8", "dora": true}),
        json!({"model": "llama3.2-1b", "whole": ["embed_tokens", "lm_head"], "optim": "adamw_8bit", "accum": 2}),
        json!({"model": "llama3-8b", "quant": "nf4", "whole": ["lm_head"], "clip": 0}),
    ]
    .into()
}

/// Allocations, frees and phases, with what each tensor is.
fn events(trace: &Trace) -> Vec<String> {
    let events = trace.events().iter().filter(|event| !matches!(event, Event::Block(_)));
    events
        .map(|event| match event {
            Event::Allocate(tensor) => format!("{tensor} {:?}", trace.tensor(*tensor)),
            other => format!("{other:?}"),
        })
        .collect()
}

/// A loop of one's own on a T4: all logits, float32 beside packed weights, no autocast, attention of older cards.
fn loops() -> Vec<Setup> {
    let job = json!({"model": "qwen2.5-3b", "quant": "nf4", "precision": "fp16", "batch": 2, "accum": 2, "optim": "adamw_torch"});
    [Attention::Sdpa, Attention::Efficient, Attention::Eager]
        .map(|attention| {
            let mut setup = Job::read(&job).unwrap().setup("t4").unwrap();
            setup.train.attention = attention;
            setup.train.precision = Precision::Fp16Pure;
            setup.train.script = Script::Loop;
            setup.train.loss = LossKind::Whole;
            setup.train.upcast = Upcast::Unpacked;
            setup
        })
        .into()
}

#[test]
fn a_loop_written_out_is_the_trace_of_all_blocks() {
    for setup in loops() {
        let (short, full) = (events(&trl::trace(&setup).unwrap()), events(&trl::trace_in_full(&setup).unwrap()));
        let differs = short.iter().zip(&full).position(|(a, b)| a != b);
        assert_eq!((differs, short.len()), (None, full.len()), "{}", setup.train.attention);
    }
}

/// LLaMA-Factory: version 1 alone and with samples that devices share, and ASFT's frozen copy, evaluated between steps.
fn factories() -> Vec<Setup> {
    let job = json!({"model": "qwen2.5-3b", "method": "full", "batch": 2, "accum": 2});
    let setup = |change: fn(&mut Setup)| {
        let mut setup = Job::read(&job).unwrap().setup("h200").unwrap();
        setup.train.loss = LossKind::Auto;
        change(&mut setup);
        setup
    };
    vec![
        setup(|setup| setup.train.script = Script::LlamafactoryV1),
        setup(|setup| {
            setup.train.script = Script::LlamafactoryV1;
            setup.train.attention = Attention::Flash2;
            setup.parallel = Some(Parallel {
                kind: ParallelKind::Fsdp2,
                gpus: 4,
                nodes: 1,
                context: 2,
                reshard: true,
                offload: false,
                wrapped_checkpointing: false,
                load_whole: true,
            });
        }),
        setup(|setup| {
            setup.train.script = Script::Llamafactory;
            setup.train.loss = LossKind::Asft;
            setup.eval = Some(Eval { path: "eval.jsonl".into(), every: None, micro_batch: 4 });
        }),
    ]
}

#[test]
fn a_factorys_run_written_out_is_the_trace_of_all_blocks() {
    for setup in factories() {
        let (short, full) = (events(&trl::trace(&setup).unwrap()), events(&trl::trace_in_full(&setup).unwrap()));
        let differs = short.iter().zip(&full).position(|(a, b)| a != b);
        assert_eq!((differs, short.len()), (None, full.len()), "{}, {:?}", setup.train.script, setup.parallel);
    }
}

#[test]
fn a_trace_written_out_is_the_trace_of_all_blocks() {
    for job in jobs() {
        let setup = setup(&job);
        let (short, full) = (events(&trl::trace(&setup).unwrap()), events(&trl::trace_in_full(&setup).unwrap()));
        let differs = short.iter().zip(&full).position(|(a, b)| a != b);
        assert_eq!((differs, short.len()), (None, full.len()), "{job}");
    }
}

#[test]
fn the_quick_peak_is_that_of_the_replay_without_blocks_ends() {
    for job in jobs() {
        let setup = setup(&job);
        let estimate = estimate(&setup).unwrap();
        // Wrapping is not in the quick peak's step where it is the highest moment; rows of two cards are within the same bound here.
        let (quick, whole) = (peak_allocated(&setup).unwrap() as f64, estimate.peak.allocated.bytes as f64);
        assert!((quick / whole - 1.0).abs() < 0.02, "{job}: {quick} {whole}");
    }
}

/// Whoever asks only whether a setup fits replays no allocator where tensors take half of what there is.
#[test]
fn what_takes_half_with_its_tensors_alone_fits_and_has_room() {
    for job in jobs() {
        let mut setup = setup(&job);
        setup.budget.device_memory = Bytes(2 * least_demand(&setup).unwrap().needs.0);
        let estimate = estimate(&setup).unwrap();
        assert!(estimate.fits, "{job}");
        assert!(estimate.needs().0 as f64 <= ROOM * estimate.limit_bytes as f64, "{job}: {estimate:?}");
    }
}
