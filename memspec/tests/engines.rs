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
        ("train.attention", "sdpa"),
        ("train.loss", "whole"),
        ("train.script", "loop"),
        ("train.upcast", "norms"),
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

/// What the engine `memspec` allocates at the peak on a device with these settings of `train`, all weights trained.
fn executed(device: &str, train: &[(&str, &str)]) -> Result<u64, (&'static str, String)> {
    let setup = setup(EngineName::Memspec, |plan| {
        plan.device = Some(device.into());
        plan.adapter = None;
        for (setting, value) in train {
            plan.set(&format!("train.{setting}"), value).unwrap();
        }
    });
    match estimate(&setup) {
        Ok(estimate) => Ok(estimate.peak.allocated.bytes),
        Err(CostError::Unsupported { setting, what }) => Err((setting, what)),
    }
}

#[test]
fn the_executor_has_fp16_and_tf32_on_cards_and_f32_on_the_cpu() {
    let [bf16, fp16, f32] = ["bf16", "fp16", "f32"].map(|word| executed("l4", &[("precision", word)]).unwrap());
    assert!(bf16 == fp16 && fp16 < f32, "{bf16} {fp16} {f32}");
    // Products round to it; tensors are as they were.
    assert_eq!(executed("l4", &[("precision", "f32"), ("tf32", "true")]), Ok(f32));

    for word in ["bf16", "fp16", "bf16_pure", "fp16_pure"] {
        let (setting, what) = executed("cpu", &[("precision", word)]).unwrap_err();
        assert_eq!((setting, what.contains("computes in f32, not")), ("train.precision", true), "{what}");
    }
    let (setting, what) = executed("cpu", &[("tf32", "true")]).unwrap_err();
    assert_eq!((setting, what.contains("NVIDIA's cards")), ("train.tf32", true), "{what}");
    // Without a scale its gradients vanish.
    let (setting, what) = executed("l4", &[("precision", "fp16_pure")]).unwrap_err();
    assert_eq!((setting, what.contains("`fp16`")), ("train.precision", true), "{what}");
}

#[test]
fn inputs_that_are_moved_off_a_card_are_pinned_host_memory() {
    use memspec::cost::{Estimate, PhaseName};
    let estimated = |device: &str, checkpointing: &str, offload: bool| -> Estimate {
        let setup = setup(EngineName::Memspec, |plan| {
            plan.device = Some(device.into());
            plan.set("train.micro_batch", "4").unwrap();
            plan.set("data.context", "512tok").unwrap();
            plan.set("train.checkpointing", checkpointing).unwrap();
            plan.set("train.activation_offload", &offload.to_string()).unwrap();
        });
        estimate(&setup).unwrap()
    };
    // SmolLM2 135M has 30 blocks; an input in bf16.
    let input = 4 * 512 * 576 * 2;
    // All are on the card in the end; in backward the block's own and the one that comes are.
    for (checkpointing, moved, backward) in [("block", 29, 28), ("10", 10, 10), ("1", 1, 1), ("none", 0, 0)] {
        let [on, off] = [false, true].map(|offload| estimated("l4", checkpointing, offload));
        let saved = |phase| (on.phase(phase).unwrap() - off.phase(phase).unwrap()) / input;
        let [forward, loss, backward_saved, optimizer] =
            [PhaseName::Forward, PhaseName::Loss, PhaseName::Backward, PhaseName::Optimizer].map(saved);
        assert_eq!([forward, loss, backward_saved, optimizer], [moved, moved, backward, 0], "{checkpointing}");
        assert_eq!((on.host.block_inputs_bytes, off.host.block_inputs_bytes), (0, moved * input), "{checkpointing}");
    }
    // On the CPU they are in host memory anyway.
    assert_eq!(estimated("cpu", "block", true), estimated("cpu", "block", false));
}

#[test]
fn pure_bf16_keeps_weights_gradients_and_moments_in_two_bytes() {
    let weights = 134_515_008; // of SmolLM2 135M
    let train = |precision, optimizer| {
        executed("l4", &[("precision", precision), ("optimizer", optimizer), ("checkpointing", "block")]).unwrap()
    };
    // Beside the same activations: f32 weights with their copies, f32 gradients and moments; or all of them in bf16.
    assert_eq!(train("bf16", "adamw") - train("bf16_pure", "adamw"), (4 + 2 + 4 + 8 - 8) * weights);
    assert_eq!(train("bf16", "sgd") - train("bf16_pure", "sgd"), (4 + 2 + 4 - 4) * weights);
    // Moments of 8 bits, and the f32 ones of embedding and norms, are the same.
    assert_eq!(train("bf16", "adamw_8bit") - train("bf16_pure", "adamw_8bit"), (4 + 2 + 4 - 4) * weights);

    for (precision, dtype, taken) in
        [("bf16_pure", "bf16", true), ("bf16_pure", "f32", false), ("bf16", "f32", true), ("bf16", "bf16", false)]
    {
        let setup = setup(EngineName::Memspec, |plan| {
            plan.set("train.precision", precision).unwrap();
            plan.set("adapter.dtype", dtype).unwrap();
        });
        assert_eq!(estimate(&setup).is_ok(), taken, "{precision}, an adapter in {dtype}");
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

fn allocated(change: impl Fn(&mut Plan)) -> u64 {
    estimate(&setup(EngineName::Trl, change)).unwrap().peak.allocated.bytes
}

#[test]
fn all_logits_at_once_take_their_bytes() {
    let long = |plan: &mut Plan| {
        plan.set("data.context", "4096tok").unwrap();
        plan.set("train.checkpointing", "block").unwrap();
    };
    let whole = |plan: &mut Plan| {
        long(plan);
        plan.set("train.loss", "whole").unwrap();
    };
    let kept = |plan: &mut Plan| {
        whole(plan);
        plan.set("train.script", "loop").unwrap();
        plan.set("train.precision", "bf16_pure").unwrap();
    };
    // Log-probabilities and two gradients of them, in float32; a loop's own logits, in bf16, stay.
    let logits = 4096 * 49152;
    let (chunked, whole, kept) = (allocated(long), allocated(whole), allocated(kept));
    assert!(whole > chunked && whole > 3 * 4 * logits, "{whole} {chunked}");
    assert!(kept > 3 * 4 * logits + 2 * logits, "{kept}");
}

#[test]
fn upcasting_doubles_what_is_not_packed() {
    let loaded = |upcast: &'static str| {
        let setup = setup(EngineName::Trl, |plan| {
            plan.quantize = Some(plan::Quantize::default());
            plan.set("train.upcast", upcast).unwrap();
        });
        let estimate = estimate(&setup).unwrap();
        estimate.phases.iter().find(|phase| phase.name == memspec::cost::PhaseName::Init).unwrap().after_bytes
    };
    // The embedding, which is the head too: 16 bits more for each weight.
    let more = loaded("unpacked") - loaded("none");
    assert!((2 * 49152 * 576..2 * 49152 * 576 + (1 << 20)).contains(&more), "{more}");
    assert!(loaded("norms") - loaded("none") < 1 << 20);
}

#[test]
fn before_ampere_grouped_heads_have_scores_unless_they_are_repeated() {
    let on_t4 = |attention: &'static str| {
        allocated(|plan| {
            plan.device = Some("t4".into());
            plan.set("data.context", "4096tok").unwrap();
            plan.set("train.checkpointing", "block").unwrap();
            plan.set("train.attention", attention).unwrap();
        })
    };
    // 9 heads of 4096 x 4096 scores in float32
    let scores = 9 * 4096 * 4096 * 4;
    assert!(on_t4("sdpa") > on_t4("efficient") + scores, "{} {}", on_t4("sdpa"), on_t4("efficient"));
    assert!(on_t4("efficient") < on_t4("eager"));
}
