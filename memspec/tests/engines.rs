//! What one engine lacks, that engine refuses by the setting's path; the others take it.

use std::path::Path;

use memspec::cost::{CostError, estimate};
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Attention, EngineName, Float, Parallel, ParallelKind, Plan};
use memspec::setup::{Setup, resolve};

fn setup(engine: EngineName, change: impl Fn(&mut Plan)) -> Setup {
    let mut plan = Plan {
        name: "engines".to_owned(),
        model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
        device: Some("h200".into()),
        engine: Some(engine.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() }),
        ..Default::default()
    };
    change(&mut plan);
    resolve(&plan, Path::new("."), &Environment::default()).unwrap()
}

fn check(path: &str, change: impl Fn(&mut Plan)) {
    match estimate(&setup(EngineName::Memspec, &change)) {
        Err(CostError::Unsupported { setting, .. }) => assert_eq!(setting, path),
        other => panic!("{path}: {other:?}"),
    }
    for engine in [EngineName::Trl, EngineName::Unsloth] {
        // It resolves; what these engines cost of it is theirs to say.
        setup(engine, &change);
    }
}

#[test]
fn settings_of_other_engines_are_refused_by_the_engine_memspec_alone() {
    check("parallel", |plan| plan.parallel = Some(Parallel { kind: ParallelKind::Ddp, ..Default::default() }));
    for (path, value) in [
        ("train.activation_offload", "true"),
        ("train.attention", "sdpa"),
        ("train.loss", "whole"),
        ("train.liger", "true"),
        ("train.expandable_segments", "true"),
        ("save.merge", "true"),
        ("adapter.dtype", "bf16"),
        ("adapter.vision", "true"),
        ("data.images", "1"),
    ] {
        check(path, |plan| plan.set(path, value).unwrap());
    }
}

#[test]
fn defaults_are_those_of_the_engine() {
    let trl = setup(EngineName::Trl, |plan| plan.quantize = Some(plan::Quantize::default()));
    assert_eq!(trl.train.attention, Attention::Sdpa);
    let quantize = trl.quantize.unwrap();
    assert_eq!((quantize.double, quantize.compute), (false, Float::Bf16));
    assert_eq!(setup(EngineName::Memspec, |_| ()).train.attention, Attention::Auto);
}
