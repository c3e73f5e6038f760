//! A plan with its defaults written out: other trainers have others.

use serde_json::Value as Json;

use crate::device::{self, DeviceKind};
use crate::plan::{Block, Choice, EngineName, Float, Kind, Padding, Plan, Precision, QuantizeKind, Script};
use crate::quantity::Tokens;
use crate::setup::DEFAULT_CONTEXT;

/// Blocks that are not there unless a plan has them.
const OPTIONAL: &[&str] = &["parallel", "quantize", "adapter", "serve", "budget"];

/// The plan with every default that does not hang on the model.
pub(super) fn explicit(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let written = serde_json::to_value(&plan).unwrap_or_default();
    settings(&mut plan, Plan::SPEC, &written, "");
    for block in Plan::blocks() {
        let there = written.get(block.name);
        if there.is_some() || !OPTIONAL.contains(&block.name) {
            settings(&mut plan, block, there.unwrap_or(&Json::Null), &format!("{}.", block.name));
        }
    }
    in_words(&mut plan);
    plan
}

/// The setting's default as JSON, where it is a plain value.
pub(super) fn of(path: &str) -> Option<Json> {
    let default = plain(Plan::setting(path)?.kind, Plan::setting(path)?.default?)?;
    let mut plan = Plan::default();
    plan.set(path, default).ok()?;
    let value = serde_json::to_value(&plan).ok()?;
    path.split('.').try_fold(value, |value, part| value.get(part).cloned())
}

fn settings(plan: &mut Plan, block: &Block, written: &Json, prefix: &str) {
    for setting in block.settings.iter().filter(|setting| written.get(setting.name).is_none()) {
        if let Some(default) = setting.default.and_then(|default| plain(setting.kind, default)) {
            // A default in words is no value, and is seen to below.
            let _ = plan.set(&format!("{prefix}{}", setting.name), default);
        }
    }
}

/// The default, unless any words would do for the setting.
fn plain(kind: Kind, default: &'static str) -> Option<&'static str> {
    (!matches!(kind, Kind::Text | Kind::Path | Kind::Name)).then_some(default)
}

/// Defaults that the table has in words (`setup::resolve`).
fn in_words(plan: &mut Plan) {
    let engine = one(&plan.engine).unwrap_or(EngineName::Memspec);
    let device = one(&plan.device).and_then(|name| device::get(&name));
    let precision = match device {
        Some(device) if device.kind == DeviceKind::Cpu => Precision::F32,
        Some(device) if !device.bf16 => Precision::Fp16,
        _ => Precision::Bf16,
    };
    let data = plan.data.get_or_insert_default();
    data.context.get_or_insert(Choice::One(Tokens(DEFAULT_CONTEXT)));
    data.padding.get_or_insert(Choice::One(Padding::Longest));
    let train = plan.train.get_or_insert_default();
    let precision = *train.precision.get_or_insert(Choice::One(precision)).values().first().unwrap_or(&precision);
    train.betas.get_or_insert(Choice::One([0.9, 0.999]));
    if let Some(quantize) = &mut plan.quantize {
        let double = quantize.kind == QuantizeKind::Nf4 && engine == EngineName::Memspec;
        quantize.double.get_or_insert(Choice::One(double));
        quantize.compute.get_or_insert(Choice::One(precision.half()));
    }
    if let Some(adapter) = &mut plan.adapter {
        let rank = adapter.rank.as_ref().and_then(Choice::one).copied().unwrap_or(16);
        adapter.alpha.get_or_insert(Choice::One(2.0 * f64::from(rank)));
    }
    // axolotl loads weights in the type of compute, also where all are trained.
    let full = plan.adapter.is_none() && one(&train.script) != Some(Script::Axolotl);
    train.base_dtype.get_or_insert(Choice::One(match precision {
        Precision::Bf16 | Precision::Fp16 | Precision::F32 if full => Float::F32,
        precision => precision.half(),
    }));
    let micro_batch = train.micro_batch.as_ref().and_then(Choice::one).copied().unwrap_or(1);
    if plan.data.as_ref().is_some_and(|data| data.eval_path.is_some()) {
        let default = match engine {
            EngineName::Memspec => micro_batch,
            EngineName::Trl => 8,
            EngineName::Unsloth => micro_batch.min(8),
        };
        plan.eval.get_or_insert_default().micro_batch.get_or_insert(Choice::One(default));
    }
}

fn one<T: Clone>(choice: &Option<Choice<T>>) -> Option<T> {
    choice.as_ref().and_then(Choice::one).cloned()
}
