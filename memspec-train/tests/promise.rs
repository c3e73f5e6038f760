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
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block; activation_offload = true"),
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
    ("", "rank = 8", "context = 200tok; packing = true", "micro_batch = 3; checkpointing = block"),
    ("", "rank = 16", "context = 96tok; packing = true; padding = max", "micro_batch = 4; checkpointing = 2"),
    ("", "rank = 8", "context = 300tok; packing = true", "micro_batch = 64; checkpointing = 2"),
    ("quantize nf4 { }", "rank = 8", "context = 500tok; packing = true", "micro_batch = 1; accumulate = 2"),
];

/// Of adapters with magnitudes.
#[rustfmt::skip]
const DORA: &[Row] = &[
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block; accumulate = 2"),
    ("", "rank = 64; targets = [o_proj, down_proj]", "context = 200tok; padding = max", "micro_batch = 2; checkpointing = 2; optimizer = sgd"),
    ("", "rank = 16; targets = query_value", "context = 64tok", "micro_batch = 1; optimizer = adamw_8bit"),
    ("quantize nf4 { }", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("quantize int8 { }", "rank = 8; rank_stabilized = true", "context = 200tok; packing = true", "micro_batch = 3"),
];

/// Of adapters that drop some of their input.
#[rustfmt::skip]
const DROPOUT: &[Row] = &[
    ("", "rank = 8; dropout = 5%", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8; dropout = 50%", "context = 200tok; padding = max", "micro_batch = 4; checkpointing = block; accumulate = 2"),
    ("", "rank = 64; dropout = 10%; targets = [o_proj, down_proj]", "context = 64tok", "micro_batch = 2; checkpointing = 2"),
    ("quantize nf4 { }", "rank = 8; dropout = 10%", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
];

/// The same where linears are fused.
#[rustfmt::skip]
const FUSED_DROPOUT: &[Row] = &[
    ("", "rank = 8; dropout = 10%", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("quantize nf4 { }", "rank = 32; dropout = 5%; targets = attention", "context = 200tok; packing = true", "micro_batch = 2"),
];

/// The same as [`DORA`] where linears are fused.
#[rustfmt::skip]
const FUSED_DORA: &[Row] = &[
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("quantize nf4 { }", "rank = 32", "context = 64tok; padding = max", "micro_batch = 2"),
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
    ("", NO_ADAPTER, "context = 256tok; packing = true", "micro_batch = 2; checkpointing = block"),
];
/// In place of an adapter's settings: all weights are trained.
const NO_ADAPTER: &str = "-";

/// Of a model as Phi-3 is, whose linears are fused; samples of more than 100 tokens are rotated by longrope's long factors.
#[rustfmt::skip]
const FUSED: &[Row] = &[
    ("", "rank = 8", "context = 64tok; padding = max", "micro_batch = 8"),
    ("", "rank = 8", "context = 200tok; padding = max", "micro_batch = 8; checkpointing = block"),
    ("", "rank = 64; targets = [qkv_proj, down_proj]", "context = 64tok; padding = max", "micro_batch = 4; checkpointing = 2"),
    ("quantize nf4 { }", "rank = 32; targets = mlp", "context = 64tok; padding = max", "micro_batch = 4; checkpointing = block"),
    ("", "rank = 8", "context = 256tok; packing = true", "micro_batch = 2; checkpointing = block"),
    ("quantize int8 { skip = [gate_up_proj] }", "rank = 8; targets = attention", "context = 200tok; padding = max", "micro_batch = 8; optimizer = sgd"),
];

#[test]
fn every_phase_takes_what_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart").canonicalize().unwrap();
    let [normed, untied, fused] = ["normed", "untied", "fused"].map(|name| folder.path().join(name));
    make_normed(&quickstart.join("model"), &normed);
    make_untied(&quickstart.join("model"), &untied);
    make_fused(&quickstart.join("model"), &fused);
    let mut failures = Vec::new();
    let with = |kind: &'static str, model: &Path, rows: &'static [Row]| {
        rows.iter().map(|row| (model.to_owned(), kind, row)).collect::<Vec<_>>()
    };
    let of = |model: &Path, rows| with("lora", model, rows);
    let dora = |model: &Path, rows| with("dora", model, rows);
    let tied = quickstart.join("model");
    let rows = [
        of(&tied, GRID),
        of(&normed, NORMED),
        of(&fused, FUSED),
        of(&tied, FULL),
        of(&untied, FULL),
        of(&normed, &FULL[..1]),
        of(&fused, &FULL[..2]),
        of(&tied, DROPOUT),
        of(&fused, FUSED_DROPOUT),
        dora(&tied, DORA),
        dora(&normed, &DORA[1..2]),
        dora(&fused, FUSED_DORA),
    ]
    .concat();
    for (index, (model, kind, row)) in rows.iter().enumerate() {
        let report = run(folder.path(), &quickstart, model, index, kind, row);
        let mut lines: Vec<(&Value, f64)> =
            report["phases"].as_array().unwrap().iter().map(|line| (line, PHASE_TOLERANCE)).collect();
        assert_eq!(lines.len(), 6, "all phases run: {row:?}");
        lines.push((&report["process"], PROCESS_TOLERANCE));
        for (line, tolerance) in lines {
            let bytes = |key: &str| line[key].as_f64().unwrap();
            let error = bytes("promised_bytes") / bytes("measured_bytes") - 1.0;
            if error.abs() > tolerance {
                failures.push(format!("{kind} {row:?}: {} is off by {:.2} %: {line}", line["name"], 100.0 * error));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} plans:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

#[test]
fn an_adapter_of_fused_linears_is_one_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart").canonicalize().unwrap();
    let fused = folder.path().join("fused");
    make_fused(&quickstart.join("model"), &fused);
    run(folder.path(), &quickstart, &fused, 0, "lora", &("", "rank = 8", "context = 64tok", "micro_batch = 4"));
    let adapter = Checkpoint::open(folder.path().join("runs/grid-0-1/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter.names().count(), 4 * 4 * 2, "A and B of four linears in four blocks");
    let shape = |name: &str| adapter.shape(&format!("base_model.model.model.layers.0.{name}.weight")).unwrap().to_vec();
    assert_eq!(shape("self_attn.qkv_proj.lora_A"), [8, 128]);
    assert_eq!(shape("self_attn.qkv_proj.lora_B"), [128 + 2 * 64, 8]);
    assert_eq!(shape("mlp.gate_up_proj.lora_A"), [8, 128]);
    assert_eq!(shape("mlp.gate_up_proj.lora_B"), [2 * 352, 8]);
}

/// The quickstart's model with norms of queries and keys.
fn make_normed(quickstart: &Path, folder: &Path) {
    let mut config = config(quickstart);
    config["model_type"] = "qwen3".into();
    config["architectures"] = serde_json::json!(["Qwen3ForCausalLM"]);
    let head = config["hidden_size"].as_u64().unwrap() / config["num_attention_heads"].as_u64().unwrap();
    config["head_dim"] = head.into();
    let mut tensors = tensors(quickstart);
    for layer in 0..config["num_hidden_layers"].as_u64().unwrap() {
        for norm in ["q_norm", "k_norm"] {
            let name = format!("model.layers.{layer}.self_attn.{norm}.weight");
            tensors.push((name, vec![head as usize], vec![1.0; head as usize]));
        }
    }
    write_model(quickstart, folder, &config, &tensors);
}

/// The quickstart's model with a head of its own.
fn make_untied(quickstart: &Path, folder: &Path) {
    let mut config = config(quickstart);
    config["tie_word_embeddings"] = false.into();
    let mut tensors = tensors(quickstart);
    let (_, shape, values) = tensors.iter().find(|(name, ..)| name == "model.embed_tokens.weight").unwrap().clone();
    tensors.push(("lm_head.weight".to_owned(), shape, values));
    write_model(quickstart, folder, &config, &tensors);
}

/// The quickstart's model with fused linears.
fn make_fused(quickstart: &Path, folder: &Path) {
    let mut config = config(quickstart);
    config["model_type"] = "phi3".into();
    config["architectures"] = serde_json::json!(["Phi3ForCausalLM"]);
    config["original_max_position_embeddings"] = 100.into();
    let heads = config["num_attention_heads"].as_u64().unwrap();
    let pairs = config["hidden_size"].as_u64().unwrap() / heads / 2;
    let factors = |step: f64| (0..pairs).map(|pair| 1.0 + step * pair as f64).collect::<Vec<f64>>();
    config["rope_scaling"] =
        serde_json::json!({"type": "longrope", "short_factor": factors(0.01), "long_factor": factors(0.5)});
    let base = Checkpoint::open(quickstart).unwrap();
    let mut tensors = Vec::new();
    for name in base.names() {
        // Where the first part stands comes the whole.
        let parts: &[&str] = match name.rsplit('.').nth(1) {
            Some("q_proj") => &["q_proj", "k_proj", "v_proj"],
            Some("gate_proj") => &["gate_proj", "up_proj"],
            Some("k_proj" | "v_proj" | "up_proj") => continue,
            _ => &[],
        };
        let (mut whole, mut shape, mut values) = tensor(&base, name);
        for part in parts.iter().skip(1) {
            let (_, more, further) = tensor(&base, &name.replace(parts[0], part));
            shape[0] += more[0];
            values.extend(further);
        }
        whole = whole.replace("q_proj", "qkv_proj").replace("gate_proj", "gate_up_proj");
        tensors.push((whole, shape, values));
    }
    write_model(quickstart, folder, &config, &tensors);
}

fn config(model: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap()
}

/// All tensors of a model.
fn tensors(model: &Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let model = Checkpoint::open(model).unwrap();
    model.names().map(|name| tensor(&model, name)).collect()
}

/// A tensor's name, shape and values.
fn tensor(base: &Checkpoint, name: &str) -> (String, Vec<usize>, Vec<f32>) {
    (name.to_owned(), base.shape(name).unwrap().to_vec(), base.read_all(name).unwrap())
}

/// A model's folder with the tokenizer of another.
fn write_model(other: &Path, folder: &Path, config: &Value, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    std::fs::create_dir(folder).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(other.join(name), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let specs: Vec<TensorSpec> =
        tensors.iter().map(|(name, shape, _)| TensorSpec { name: name.clone(), shape: shape.clone() }).collect();
    write_safetensors(&folder.join("model.safetensors"), &specs, |index| tensors[index].2.clone()).unwrap();
}

fn run(folder: &Path, quickstart: &Path, model: &Path, index: usize, kind: &str, row: &Row) -> Value {
    let (quantize, adapter, data, train) = row;
    let plan: PathBuf = folder.join(format!("grid-{index}.mem"));
    let adapter = if *adapter == NO_ADAPTER { String::new() } else { format!("adapter {kind} {{ {adapter} }}") };
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
