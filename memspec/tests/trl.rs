//! The engine `trl`: what losses, data layouts and adapters add, and what TRL itself refuses.

use std::path::Path;

use memspec::cost::{CostError, Estimate, PhaseName, estimate};
use memspec::exchange::job::Job;
use memspec::model::{Environment, Measure};
use memspec::plan::{self, AdapterKind, Choice, EngineName, Plan};
use memspec::setup::{Lengths, resolve};
use serde_json::{Value, json};

/// The estimate of a job on SmolLM2-135M without checkpointing, where a block's activations all count.
fn of(changes: Value) -> Estimate {
    let mut job = json!({"model": "smollm2-135m", "batch": 2, "seq": 1024, "ckpt": false});
    job.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    estimate(&Job::read(&job).unwrap().setup("H200").unwrap()).unwrap()
}

fn peak(changes: Value) -> u64 {
    of(changes).peak.allocated.bytes
}

fn planned(settings: &[(&str, &str)]) -> Result<Estimate, CostError> {
    let mut plan = Plan {
        name: "trl".to_owned(),
        model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
        device: Some("h200".into()),
        engine: Some(EngineName::Trl.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() }),
        ..Default::default()
    };
    for &(path, value) in settings {
        match path {
            "adapter.train_whole" => {
                plan.adapter.get_or_insert_default().train_whole = Some(Choice::One(vec![value.to_owned()]));
            }
            path => plan.set(path, value).unwrap(),
        }
    }
    estimate(&resolve(&plan, Path::new("."), &Environment::default()).unwrap())
}

#[test]
fn dropout_keeps_a_mask_and_what_it_left_of_each_input() {
    let (without, with) = (peak(json!({})), peak(json!({"dropout": 0.1})));
    // A byte for each element of seven inputs, and float32 of each where lora_A reads it: at least the masks.
    let inputs = 30 * 2048 * (6 * 576 + 1536);
    assert!(with - without >= inputs, "{with} - {without} >= {inputs}");
}

#[test]
fn dora_writes_whole_weights_out_and_returns_more_than_lora() {
    assert!(peak(json!({"dora": true})) > peak(json!({})));
    let magnitudes = |changes| of(changes).phase(PhaseName::Load).unwrap();
    assert_eq!(magnitudes(json!({"dora": true})), magnitudes(json!({})), "PEFT adds them after loading");
}

#[test]
fn whole_modules_are_copies_with_gradients_and_states() {
    let table: u64 = 49_152 * 576 * 2;
    let bare = peak(json!({"ckpt": true, "seq": 128}));
    let embedding = peak(json!({"ckpt": true, "seq": 128, "whole": ["embed_tokens"]}));
    // A copy in the model's type and two states, whatever the moment; a gradient at the end.
    assert!(embedding - bare >= 3 * table, "{embedding} - {bare}");
    assert!(peak(json!({"ckpt": true, "seq": 128, "whole": ["embed_tokens", "lm_head"]})) - embedding >= 3 * table);
}

#[test]
fn packed_and_padded_samples_need_a_mask_of_all_pairs() {
    let full = peak(json!({}));
    // One row of both samples: a mask of 2048 x 2048 in bf16 for each block.
    assert!(peak(json!({"packing": true})) - full >= 30 * 2048 * 2048 * 2);
    // Two of 1024 x 1024.
    assert!(peak(json!({"lengths": "mixed"})) - full >= 30 * 2 * 1024 * 1024 * 2);
    assert_eq!(peak(json!({"batch": 1, "lengths": "mixed"})), peak(json!({"batch": 1})), "alone, nothing is filled up");
    assert_eq!(
        peak(json!({"packing": true, "attn": "flash2"})),
        peak(json!({"batch": 1, "seq": 2048, "attn": "flash2"}))
    );
}

#[test]
fn samples_of_unknown_length_may_be_padded() {
    let batch = ("train.micro_batch", "4");
    let unknown = planned(&[batch]).unwrap().peak.allocated.bytes;
    let full = [batch, ("data.samples", "100"), ("data.mean_length", "2048tok")];
    assert!(unknown > planned(&full).unwrap().peak.allocated.bytes);
}

#[test]
fn packed_samples_fill_no_more_than_all_tokens() {
    let largest = |settings: &[(&str, &str)]| {
        let mut plan = Plan { model: Some("smollm2-135m".into()), device: Some("h200".into()), ..Default::default() };
        for &(path, value) in settings {
            plan.set(path, value).unwrap();
        }
        let hundred =
            Environment { measure: Some(Measure(|_| Some(Ok(Lengths::of([10; 100], 512))))), ..Default::default() };
        resolve(&plan, Path::new("."), &hundred).unwrap().largest_batch()
    };
    let [four, short, packed] = [("train.micro_batch", "4"), ("data.context", "512tok"), ("data.packing", "true")];
    assert_eq!(largest(&[four, short]), (4, 10));
    assert_eq!(largest(&[four, short, packed]), (1, 1000));
    assert_eq!(largest(&[("train.micro_batch", "1"), short, packed]), (1, 512));
}

#[test]
fn axolotl_differs_from_trl_as_its_source_says() {
    let of = |more: &[(&str, &str)]| {
        let plan = [("train.checkpointing", "block"), ("data.context", "2048tok")];
        planned(&[&plan, more].concat()).unwrap()
    };
    let peak = |more: &[(&str, &str)]| of(more).peak.allocated.bytes;
    let trl = of(&[]);
    let axolotl = of(&[("train.script", "axolotl")]);
    // All logits at once, in 16 and twice in 32 bits.
    let logits = 2048 * 49_152;
    assert!(axolotl.peak.allocated.bytes > trl.peak.allocated.bytes + 8 * logits, "{:?} {:?}", axolotl.peak, trl.peak);
    assert!(trl.measured && !axolotl.measured);
    let width = |estimate: &Estimate| {
        let process = estimate.peak.process;
        (process.high - process.low) as f64 / process.bytes as f64
    };
    assert!(width(&axolotl) > 3.0 * width(&trl), "{} {}", width(&axolotl), width(&trl));
    // Embeddings and head in float32 are as large again.
    let cast = peak(&[("train.script", "axolotl"), ("train.upcast", "embeddings")]);
    let bare = peak(&[("train.script", "axolotl")]);
    assert!(cast > bare, "{cast} {bare}");
}

#[test]
fn ligers_loss_holds_few_logits_at_once() {
    let forward = |loss| {
        let job = json!({"model": "qwen2.5-0.5b", "layers": 2, "ckpt": true, "batch": 4, "liger": true, "loss": loss});
        of(job).phase(PhaseName::Forward).unwrap()
    };
    assert!(forward("liger") < forward("chunked"), "{} {}", forward("liger"), forward("chunked"));
}

#[test]
fn the_norm_of_gradients_is_taken_with_and_without_clipping() {
    // transformers logs it (`trainer.py:2672`).
    assert_eq!(of(json!({})).phases, of(json!({"clip": 0})).phases);
}

#[test]
fn what_trl_refuses_is_refused_by_its_setting() {
    for settings in [
        &[("adapter.targets", "lm_head")][..],
        &[("adapter.train_whole", "norm")],
        &[("adapter.train_whole", "lm_head"), ("train.precision", "fp16")],
        &[("train.loss", "chunked"), ("train.script", "loop")],
    ] {
        match planned(settings) {
            Err(CostError::Unsupported { setting, .. }) => assert_eq!(setting, settings[0].0),
            other => panic!("{settings:?}: {other:?}"),
        }
    }
}
