//! The promise: what the estimate says of each phase is what the allocator counts there, and the process stays near what was said.
//!
//! A grid of plans runs through the real command on the quickstart model; each report holds promise and measurement.

use std::path::{Path, PathBuf};
use std::process::Command;

use memspec_train::checkpoint::{Checkpoint, TensorSpec, write_safetensors};
use serde_json::Value;

/// Of each phase's tensors.
const PHASE_TOLERANCE: f64 = 0.005;
/// Of the process's resident memory.
const PROCESS_TOLERANCE: f64 = 0.10;

/// `quantize` block, settings of the `adapter` block, `data` settings, `train` settings.
type Row = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const GRID: &[Row] = &[
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 1"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; accumulate = 3"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = 2"),
    ("", "rank = 64", "context = 64tok; padding = max", "micro_batch = 4; checkpointing = block"),
    ("", "rank = 64", "context = 64tok; padding = max", "micro_batch = 4; optimizer = sgd"),
    ("", "rank = 64", "context = 64tok; padding = max", "micro_batch = 4; optimizer = adamw_8bit"),
    ("quantize nf4 { }", "rank = 24", "context = 64tok; padding = max", "micro_batch = 1; optimizer = adamw_8bit"),
    ("", "rank = 1", "context = 48tok; padding = max", "micro_batch = 5; checkpointing = 3"),
    ("", "rank = 16; targets = attention", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 16; targets = mlp", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 16; targets = query_value", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("", "rank = 16; targets = [o_proj, down_proj]", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = 1"),
    ("", "rank = 8", "context = 64tok", "micro_batch = 8"),
    ("", "rank = 8", "context = 40tok", "micro_batch = 16; checkpointing = block"),
    ("", "rank = 8", "context = 200tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8", "context = 200tok; padding = max", "micro_batch = 16; checkpointing = block"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 64; checkpointing = block"),
    ("quantize nf4 { }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 1; checkpointing = block"),
    ("quantize nf4 { }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("quantize nf4 { }", "rank = 32", "context = 200tok; padding = max", "micro_batch = 4; checkpointing = 2"),
    ("quantize nf4 { double = false }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("quantize nf4 { skip = [down_proj, lm_head] }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("quantize int8 { }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("quantize int8 { }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 2; accumulate = 2; checkpointing = block"),
    ("quantize int8 { }", "rank = 16; targets = attention", "context = 64tok", "micro_batch = 8; optimizer = sgd"),
    ("", "rank = 8; rank_stabilized = true", "context = 64tok; loss_on = assistant", "micro_batch = 7; accumulate = 2"),
];

/// Of a model as Qwen 3 is, whose queries and keys have norms.
#[rustfmt::skip]
const NORMED: &[Row] = &[
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("quantize nf4 { }", "rank = 16; targets = attention", "context = 200tok; padding = max", "micro_batch = 4; checkpointing = 1"),
];

/// Of all weights, of models with a tied head and with one of their own.
#[rustfmt::skip]
const FULL: &[Row] = &[
    ("", NO_ADAPTER, "context = 64tok; padding = max", "micro_batch = 8"),
    ("", NO_ADAPTER, "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("", NO_ADAPTER, "context = 200tok; padding = max", "micro_batch = 16; checkpointing = 2; accumulate = 2"),
    ("", NO_ADAPTER, "context = 64tok", "micro_batch = 4; optimizer = sgd"),
    ("", NO_ADAPTER, "context = 64tok; padding = max", "micro_batch = 2; optimizer = adamw_8bit; checkpointing = block"),
];
/// In place of an adapter's settings: all weights are trained.
const NO_ADAPTER: &str = "-";

#[test]
fn every_phase_takes_what_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart").canonicalize().unwrap();
    let (normed, untied) = (folder.path().join("normed"), folder.path().join("untied"));
    make_normed(&quickstart.join("model"), &normed);
    make_untied(&quickstart.join("model"), &untied);
    let mut failures = Vec::new();
    let of = |model: &Path, rows: &'static [Row]| rows.iter().map(|row| (model.to_owned(), row)).collect::<Vec<_>>();
    let tied = quickstart.join("model");
    let rows =
        [of(&tied, GRID), of(&normed, NORMED), of(&tied, FULL), of(&untied, FULL), of(&normed, &FULL[..1])].concat();
    for (index, (model, row)) in rows.iter().enumerate() {
        let report = run(folder.path(), &quickstart, model, index, row);
        let mut lines: Vec<(&Value, f64)> =
            report["phases"].as_array().unwrap().iter().map(|line| (line, PHASE_TOLERANCE)).collect();
        assert_eq!(lines.len(), 6, "all phases run: {row:?}");
        lines.push((&report["process"], PROCESS_TOLERANCE));
        for (line, tolerance) in lines {
            let bytes = |key: &str| line[key].as_f64().unwrap();
            let error = bytes("promised_bytes") / bytes("measured_bytes") - 1.0;
            if error.abs() > tolerance {
                failures.push(format!("{row:?}: {} is off by {:.2} %: {line}", line["name"], 100.0 * error));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} plans:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// The quickstart's model with norms of queries and keys.
fn make_normed(quickstart: &Path, folder: &Path) {
    make(quickstart, folder, |config| {
        config["model_type"] = "qwen3".into();
        config["architectures"] = serde_json::json!(["Qwen3ForCausalLM"]);
        let head = config["hidden_size"].as_u64().unwrap() / config["num_attention_heads"].as_u64().unwrap();
        config["head_dim"] = head.into();
        let layers = 0..config["num_hidden_layers"].as_u64().unwrap();
        let norms = layers
            .flat_map(|layer| ["q_norm", "k_norm"].map(|norm| format!("model.layers.{layer}.self_attn.{norm}.weight")));
        norms.map(|name| (name, vec![head as usize])).collect()
    });
}

/// The quickstart's model with a head of its own.
fn make_untied(quickstart: &Path, folder: &Path) {
    make(quickstart, folder, |config| {
        config["tie_word_embeddings"] = false.into();
        let size = |key: &str| config[key].as_u64().unwrap() as usize;
        vec![("lm_head.weight".to_owned(), vec![size("vocab_size"), size("hidden_size")])]
    });
}

/// The quickstart's model with another configuration, and the tensors that `change` says it needs beside the others, all ones.
fn make(quickstart: &Path, folder: &Path, change: impl FnOnce(&mut Value) -> Vec<(String, Vec<usize>)>) {
    std::fs::create_dir(folder).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(quickstart.join(name), folder.join(name)).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(quickstart.join("config.json")).unwrap()).unwrap();
    let more = change(&mut config);
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let base = Checkpoint::open(quickstart).unwrap();
    let old = base.names().map(|name| (name.to_owned(), base.shape(name).unwrap().to_vec()));
    let specs: Vec<TensorSpec> = old.chain(more).map(|(name, shape)| TensorSpec { name, shape }).collect();
    write_safetensors(&folder.join("model.safetensors"), &specs, |index| {
        let TensorSpec { name, shape } = &specs[index];
        if base.contains(name) { base.read_all(name).unwrap() } else { vec![1.0; shape.iter().product()] }
    })
    .unwrap();
}

fn run(folder: &Path, quickstart: &Path, model: &Path, index: usize, (quantize, adapter, data, train): &Row) -> Value {
    let plan: PathBuf = folder.join(format!("grid-{index}.mem"));
    let adapter = if *adapter == NO_ADAPTER { String::new() } else { format!("adapter lora {{ {adapter} }}") };
    let text = format!(
        "plan \"grid-{index}\" {{\n  model = \"{1}\"\n  device = cpu\n  {quantize}\n  {adapter}\n  \
         data {{ path = \"{0}/train.jsonl\"; {data} }}\n  train {{ {train}; steps = 3 }}\n  save {{ every = 2 }}\n}}\n",
        quickstart.display(),
        model.display()
    );
    std::fs::write(&plan, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_memspec-train")).args(["run", "--json"]).arg(&plan).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
