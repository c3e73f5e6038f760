//! The jobs of measured runs as setups, and what is said of a job that is not understood.

use memspec::exchange::job::{Job, measured_models};
use memspec::plan::{Attention, EngineName, Float, LossKind, OptimizerKind, ParallelKind, Storage};
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use serde_json::{Value, json};

fn setup(job: Value) -> Setup {
    Job::read(&job).unwrap().setup("H200 under a limit").unwrap()
}

#[test]
fn every_measured_row_is_a_setup() {
    for file in ["measured", "limits", "speed"] {
        let path = format!("{}/../data/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let row: Value = serde_json::from_str(line).unwrap();
            let job = Job::read(&row["job"]).unwrap_or_else(|error| panic!("{file} {}: {error}", number + 1));
            job.setup(row["gpu"].as_str().unwrap()).unwrap();
        }
    }
}

#[test]
fn every_measured_model_is_a_setup_on_each_stack() {
    for model in measured_models() {
        for stack in ["trl", "unsloth"] {
            for targets in ["all", "qv", "attn", "all-linear"] {
                let job = json!({"model": model, "stack": stack, "targets": targets});
                match Job::read(&job) {
                    Ok(job) => assert_eq!(job.setup("H200").unwrap().model_name, model),
                    // The script's names are Llama's; older families have others.
                    Err(refused) => assert!(refused.to_string().contains("all-linear for"), "{job} {refused}"),
                }
            }
        }
    }
}

#[test]
fn targets_are_those_of_the_script() {
    let of = |model: &str, stack: &str, targets: &str| {
        let setup = setup(json!({"model": model, "stack": stack, "targets": targets}));
        setup.adapter.unwrap().targets.join(" ")
    };
    assert_eq!(of("llama3-8b", "trl", "all"), "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj");
    assert_eq!(of("llama3-8b", "trl", "qv"), "q_proj v_proj");
    assert_eq!(of("phi3-mini", "trl", "all"), "qkv_proj o_proj gate_up_proj down_proj");
    assert_eq!(of("phi3-mini", "unsloth", "all"), "o_proj down_proj");
    assert_eq!(of("phi3-mini", "unsloth", "qv"), "qkv_proj");
    assert_eq!(of("gpt-oss-20b", "trl", "all"), "q_proj k_proj v_proj o_proj");
    assert_eq!(
        of("gpt-oss-20b", "trl", "experts"),
        "q_proj k_proj v_proj o_proj experts.gate_up_proj experts.down_proj"
    );
    assert_eq!(of("qwen3-30b-a3b", "trl", "all"), "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj");
    assert_eq!(of("mixtral-8x7b", "trl", "all"), "q_proj k_proj v_proj o_proj");
}

#[test]
fn keys_become_settings() {
    let plain = setup(json!({"model": "llama3-8b", "dq": null}));
    assert_eq!((plain.data.context, plain.train.recomputed_blocks, plain.engine), (1024, 32, EngineName::Trl));
    assert_eq!((plain.parallel, plain.quantize), (None, None));

    let sharded = setup(json!({"model": "llama3-8b", "quant": "nf4", "world": 2, "shard": "fsdp2", "reshard": false,
        "offload": true, "ckpt": "fsdp", "batch": 3, "accum": 4, "optim": "paged_adamw_8bit", "attn": "eager", "liger": true}));
    let parallel = sharded.parallel.unwrap();
    assert_eq!((parallel.kind, parallel.world()), (ParallelKind::Fsdp2, 2));
    assert_eq!((parallel.reshard, parallel.offload, parallel.wrapped_checkpointing), (false, true, true));
    assert_eq!(sharded.quantize.as_ref().unwrap().storage, Storage::Bf16);
    assert!(sharded.quantize.unwrap().double);
    let train = sharded.train;
    assert_eq!((train.micro_batch, train.accumulate, train.recomputed_blocks), (3, 4, 32));
    assert_eq!((train.optimizer, train.attention), (OptimizerKind::PagedAdamw8bit, Attention::Eager));
    assert_eq!((train.liger, train.loss), (true, LossKind::Auto));

    let half = setup(json!({"model": "llama3-8b", "quant": "nf4", "precision": "fp16", "dq": false}));
    assert_eq!(half.adapter.unwrap().dtype, Some(Float::F32));
    assert_eq!(half.quantize.as_ref().unwrap().compute, Float::Fp16);
    assert!(!half.quantize.unwrap().double);

    let offloaded = |stack| setup(json!({"model": "llama3-8b", "stack": stack, "ckpt": "unsloth"})).train;
    assert!(offloaded("unsloth").activation_offload && !offloaded("trl").activation_offload);

    let cut = setup(json!({"model": "qwen2-vl-7b", "layers": 4, "images": 2, "image_px": "448x336", "cap_gib": 14.5}));
    assert_eq!((cut.model.layers, cut.model.vision.unwrap().layers), (4, 4));
    assert_eq!((cut.data.images, cut.data.image_size.unwrap().height), (2, 336));
    assert_eq!(cut.budget.allocator, Some(Bytes(29 << 29)));
    assert_eq!(setup(json!({"model": "Qwen/Qwen3-8B", "method": "full"})).adapter, None);
}

#[test]
fn a_job_that_is_not_understood_says_what_is_wrong() {
    let jobs = [
        json!("llama3-8b"),
        json!({"quant": "nf4"}),
        json!({"model": "llama3-8"}),
        json!({"model": 8}),
        json!({"model": "llama3-8b", "batch_size": 2}),
        json!({"model": "llama3-8b", "batch": 0}),
        json!({"model": "llama3-8b", "batch": "two"}),
        json!({"model": "llama3-8b", "seq": 1e30}),
        json!({"model": "llama3-8b", "quant": "nf5"}),
        json!({"model": "llama3-8b", "ckpt": "true"}),
        json!({"model": "llama3-8b", "optim": "adamw_torch_fuzed"}),
        json!({"model": "llama3-8b", "dq": "yes"}),
        json!({"model": "llama3-8b", "cap_gib": -1}),
        json!({"model": "llama3-8b", "world": 2}),
        json!({"model": "llama3-8b", "images": 1, "image_px": "448x448"}),
        json!({"model": "qwen2-vl-7b", "images": 1}),
        json!({"model": "qwen2-vl-7b", "images": 1, "image_px": "big"}),
        json!({"model": "falcon-7b", "targets": "attn"}),
    ];
    let said: Vec<String> = jobs.iter().map(|job| format!("{job}\n  {}\n", Job::read(job).unwrap_err())).collect();
    insta::assert_snapshot!(said.join(""));
}

#[test]
fn a_device_that_is_not_known_is_refused() {
    let job = Job::read(&json!({"model": "llama3-8b"})).unwrap();
    assert_eq!(job.setup("Tesla T4").unwrap().device.name, "t4");
    let problems = job.setup("h2000").unwrap_err();
    assert!(problems[0].to_string().starts_with("no device `h2000`, did you mean h200"), "{}", problems[0]);
}
