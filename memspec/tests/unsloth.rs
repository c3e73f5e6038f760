//! The engine `unsloth`: what it costs does not depend on how many blocks its program is run on, and what it lacks it refuses by name.

use std::path::Path;

use memspec::cost::engine::unsloth;
use memspec::cost::{CostError, Pool, replay_cached};
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, EngineName, Padding, Plan, QuantizeKind};
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
        if (path, value) == ("adapter", "none") {
            plan.adapter = None;
            continue;
        }
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
    for padding in ["none", "longest"] {
        for settings in [
            &[][..],
            &[("quantize.kind", "nf4")],
            &[
                ("quantize.kind", "nf4"),
                ("train.checkpointing", "block"),
                ("train.activation_offload", "true"),
                ("train.micro_batch", "4"),
            ],
            &[("train.checkpointing", "none")],
            &[("quantize.kind", "nf4"), ("data.eval_path", "eval.jsonl"), ("save.merge", "true")],
            &[("data.eval_path", "eval.jsonl"), ("eval.micro_batch", "8"), ("adapter.targets", "query_value")],
            &[("train.accumulate", "3"), ("train.activation_offload", "true")],
            &[("device", "t4"), ("train.precision", "fp16"), ("quantize.kind", "nf4")],
        ] {
            let settings = [settings, &[("data.padding", padding)]].concat();
            is_that_of_all(&setup(&settings), &settings);
        }
    }
    for settings in [
        &[("adapter", "none"), ("train.checkpointing", "block")][..],
        &[("adapter", "none"), ("train.checkpointing", "none"), ("train.accumulate", "2")],
        &[("quantize.kind", "int8")],
        &[("quantize.kind", "int8"), ("train.checkpointing", "block"), ("train.activation_offload", "true")],
    ] {
        is_that_of_all(&setup(settings), &settings);
    }
}

fn is_that_of_all(setup: &Setup, settings: &dyn std::fmt::Debug) {
    let few = replay_cached(&unsloth::trace(setup).unwrap(), Pool::UNLIMITED);
    let all = replay_cached(&unsloth::trace_in_full(setup).unwrap(), Pool::UNLIMITED);
    assert_eq!((few.phases, few.peak, few.reserved), (all.phases, all.peak, all.reserved), "{settings:?}");
}

/// The plan's peak, without the allocator.
fn peak(settings: &[(&str, &str)]) -> u64 {
    replay_cached(&unsloth::trace(&setup(settings)).unwrap(), Pool::UNLIMITED).peak
}

#[test]
fn batches_are_without_padding_where_unsloth_makes_them_so() {
    let padding = |settings: &[(&str, &str)]| setup(settings).data.padding;
    assert_eq!(padding(&[]), Padding::None);
    assert_eq!(padding(&[("quantize.kind", "nf4")]), Padding::None);
    assert_eq!(padding(&[("quantize.kind", "int8")]), Padding::Longest);
    assert_eq!(padding(&[("adapter", "none")]), Padding::Longest);
    assert_eq!(padding(&[("engine", "trl")]), Padding::Longest);
}

#[test]
fn inputs_of_short_contexts_stay_on_the_card() {
    let inputs = |context, offload| {
        let settings = [("data.context", context), ("train.activation_offload", offload)];
        peak(&[&settings[..], &[("train.micro_batch", "16"), ("train.checkpointing", "block")]].concat())
    };
    assert_eq!(inputs("511", "true"), inputs("511", "false"));
    assert!(inputs("512", "true") < inputs("512", "false"));
}

#[test]
fn what_is_not_costed_is_refused_by_its_setting() {
    for settings in [
        &[("train.liger", "true")][..],
        &[("train.attention", "eager")],
        &[("train.precision", "f32")],
        &[("data.packing", "true")],
        &[("adapter.dropout", "5%")],
        &[("data.padding", "none"), ("quantize.kind", "int8")],
        &[("data.padding", "none"), ("adapter", "none")],
        &[("data.eval_path", "eval.jsonl"), ("adapter", "none")],
        &[("data.eval_path", "eval.jsonl"), ("quantize.kind", "int8")],
        &[("train.precision", "fp16"), ("adapter", "none")],
    ] {
        let path = settings[0].0;
        match unsloth::trace(&setup(settings)) {
            Err(CostError::Unsupported { setting, .. }) => assert!(path.starts_with(setting), "{path}: {setting}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}
