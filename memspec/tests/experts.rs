//! Mixtures of experts under TRL: what bitsandbytes packs of them, what PEFT's names for them mean, and what cannot be trained.

use std::path::Path;

use memspec::cost::{CostError, Estimate, estimate, peak_allocated};
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, EngineName, Plan};
use memspec::setup::{Setup, resolve};

fn setup(model: &str, changes: &[(&str, &str)]) -> Setup {
    let mut plan = Plan {
        name: "experts".to_owned(),
        model: Some(model.into()),
        device: Some("h200".into()),
        engine: Some(EngineName::Trl.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() }),
        ..Default::default()
    };
    plan.set("train.checkpointing", "block").unwrap();
    plan.set("data.context", "1024tok").unwrap();
    for (path, value) in changes {
        plan.set(path, value).unwrap();
    }
    resolve(&plan, Path::new("."), &Environment::default()).unwrap()
}

fn quantized(kind: plan::QuantizeKind, model: &str) -> Setup {
    let mut setup = setup(model, &[("adapter.targets", "attention")]);
    let block = Plan { quantize: Some(plan::Quantize { kind, ..Default::default() }), ..Default::default() };
    let other =
        Plan { model: Some(model.into()), device: Some("h200".into()), engine: Some(EngineName::Trl.into()), ..block };
    setup.quantize = resolve(&other, Path::new("."), &Environment::default()).unwrap().quantize;
    setup
}

fn part(estimate: &Estimate, word: &str) -> u64 {
    estimate.at_peak.iter().filter(|part| part.what.contains(word)).map(|part| part.bytes).sum()
}

fn refusal(setup: &Setup) -> (&'static str, String) {
    match estimate(setup) {
        Err(CostError::Unsupported { setting, what }) => (setting, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nf4_leaves_experts_in_16_bits_and_the_estimate_says_so() {
    let estimate = estimate(&quantized(plan::QuantizeKind::Nf4, "mixtral-8x7b")).unwrap();
    // 32 layers of 8 experts of 3 x 4096 x 14336; the peak is where the last layer's are merged, before its down projections are there.
    let experts = 8 * 4096 * 14336 * 2;
    assert_eq!(part(&estimate, "leaves in 16 bits"), (31 * 3 + 2) * experts);
}

#[test]
fn axolotl_packs_experts_and_unpacks_one_blocks_at_a_time() {
    let axolotl = |kind, experts| {
        let mut setup = quantized(kind, "qwen3-30b-a3b");
        setup.train.script = memspec::plan::Script::Axolotl;
        setup.quantize.as_mut().unwrap().experts = experts;
        setup
    };
    // 48 layers of 128 experts of 3 x 2048 x 768.
    let experts: u64 = 48 * 128 * 3 * 2048 * 768;
    for (kind, bits) in [(plan::QuantizeKind::Nf4, 4.5), (plan::QuantizeKind::Int8, 8.1)] {
        let whole = peak_allocated(&axolotl(kind, false)).unwrap() as f64;
        let packed = peak_allocated(&axolotl(kind, true)).unwrap() as f64;
        let saved = experts as f64 * (16.0 - bits) / 8.0;
        let unpacked = experts as f64 / 48.0 * 4.0;
        assert!((saved - 2.0 * unpacked..saved + unpacked).contains(&(whole - packed)), "{kind}: {whole} {packed}");
    }
    let mut trl = axolotl(plan::QuantizeKind::Nf4, true);
    trl.train.script = memspec::plan::Script::Sft;
    assert_eq!(refusal(&trl).0, "quantize.experts");
}

#[test]
fn all_linear_adapts_the_experts_where_peft_has_names_for_them() {
    let attention = peak_allocated(&setup("qwen3-30b-a3b", &[("adapter.targets", "attention")])).unwrap();
    let all = peak_allocated(&setup("qwen3-30b-a3b", &[("adapter.targets", "all_linear")])).unwrap();
    // One block's experts, summed with their adapters, and the gradient of that: more than 1.5 GiB; and adapters of every expert.
    assert!(all > attention + (4 << 30), "{attention} {all}");
    let (attention, all) = ["attention", "all_linear"]
        .map(|targets| {
            let setup = setup("gpt-oss-20b", &[("adapter.targets", targets), ("train.attention", "eager")]);
            peak_allocated(&setup).unwrap()
        })
        .into();
    assert_eq!(attention, all);
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let (setting, what) = refusal(&quantized(plan::QuantizeKind::Mxfp4, "gpt-oss-20b"));
    assert_eq!(setting, "quantize");
    assert!(what.starts_with("transformers cannot train experts packed in MXFP4"), "{what}");
    let (setting, what) = refusal(&quantized(plan::QuantizeKind::Nf4, "gpt-oss-20b"));
    assert_eq!(setting, "quantize");
    assert!(what.starts_with("transformers quantizes no checkpoint that is published in MXFP4"), "{what}");
    let mut halves = setup("qwen3-30b-a3b", &[]);
    if let Some(adapter) = &mut halves.adapter {
        adapter.targets = vec!["q_proj".to_owned(), "gate_proj".to_owned()];
    }
    let (setting, what) = refusal(&halves);
    assert_eq!(
        (setting, what.as_str()),
        ("adapter.targets", "PEFT adapts gate_proj and up_proj of experts together or not at all")
    );
}
