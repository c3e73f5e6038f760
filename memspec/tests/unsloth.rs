//! The engine `unsloth`: what it costs does not depend on how many blocks its program is run on, and what it lacks it refuses by name.

use std::path::Path;

use memspec::cost::engine::unsloth;
use memspec::cost::{CostError, Pool, replay_cached};
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, EngineName, Plan, QuantizeKind};
use memspec::setup::{Setup, resolve};

fn setup(settings: &[(&str, &str)]) -> Setup {
    let mut plan = Plan {
        name: "unsloth".to_owned(),
        model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
        device: Some("h200".into()),
        engine: Some(EngineName::Unsloth.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() }),
        ..Default::default()
    };
    for &(path, value) in settings {
        if path == "quantize.kind" {
            let kind = if value == "nf4" { QuantizeKind::Nf4 } else { QuantizeKind::Int8 };
            plan.quantize = Some(plan::Quantize { kind, ..Default::default() });
            continue;
        }
        plan.set(path, value).unwrap();
    }
    resolve(&plan, Path::new("."), &Environment::default()).unwrap()
}

#[test]
fn a_trace_from_few_blocks_is_that_of_all() {
    for settings in [
        &[][..],
        &[("quantize.kind", "nf4")],
        &[("quantize.kind", "nf4"), ("train.activation_offload", "true"), ("train.micro_batch", "4")],
        &[("train.checkpointing", "none")],
        &[("quantize.kind", "nf4"), ("data.eval_path", "eval.jsonl"), ("save.merge", "true")],
        &[("data.eval_path", "eval.jsonl"), ("eval.micro_batch", "8"), ("adapter.targets", "query_value")],
        &[("train.accumulate", "3"), ("train.activation_offload", "true")],
    ] {
        let setup = setup(settings);
        let few = replay_cached(&unsloth::trace(&setup).unwrap(), Pool::UNLIMITED);
        let all = replay_cached(&unsloth::trace_in_full(&setup).unwrap(), Pool::UNLIMITED);
        assert_eq!((few.phases, few.peak, few.reserved), (all.phases, all.peak, all.reserved), "{settings:?}");
    }
}

#[test]
fn what_is_not_costed_is_refused_by_its_setting() {
    for (path, value) in [("train.liger", "true"), ("train.attention", "eager"), ("quantize.kind", "int8")] {
        match unsloth::trace(&setup(&[(path, value)])) {
            Err(CostError::Unsupported { setting, .. }) => assert!(path.starts_with(setting), "{path}: {setting}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}
