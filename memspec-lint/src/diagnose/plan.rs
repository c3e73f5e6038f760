//! What a run's plan says to its death.

use memspec::cost::{Estimate, OutOfMemory, Trace, engine, estimate};
use memspec::device;
use memspec::plan::{EngineName, Limit, Plan};
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use memspec::solve::{Change, Resolved, changes};
use schemars::JsonSchema;
use serde::Serialize;

use super::log::{Death, Found, Refusal};
use super::suspect::{self, Suspect};
use crate::context::{Context, Seen};
use crate::repair;

/// Fixes that are given.
const FIXES: usize = 6;

/// What a plan says to a death.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PlanSays {
    /// The plan's run.
    pub name: String,
    /// The device that it was costed for.
    pub device: String,
    /// What its process takes at its highest, and the most that it may take, in bytes.
    pub process_bytes: u64,
    /// What it could have had, in bytes.
    pub limit_bytes: u64,
    /// It fits into that.
    pub fits: bool,
    /// Where memspec's own replay fails under the run's limit.
    pub replay: Option<OutOfMemory>,
    /// The allocation that was refused.
    pub suspect: Option<Suspect>,
    /// Blocks of the model.
    pub blocks: u64,
    /// Changes to the plan, the best first.
    pub fixes: Vec<String>,
}

/// A plan as the message shows the run: PyTorch's engine where the plan names none, the card that has as much memory where it names
/// no device, and no more memory than others left it.
pub fn settings(plan: &mut Plan, found: &Found) {
    let Death::Refused(refusal) = &found.death else { return };
    if plan.engine.is_none() {
        plan.engine = Some(EngineName::Trl.into());
    }
    if let (true, Some(card)) = (plan.leaves_device_open(), refusal.capacity.and_then(card)) {
        plan.device = Some(card.into());
    }
    if let Some(bytes) = refusal.could_have() {
        let budget = plan.budget.get_or_insert_default();
        let least = budget.device_memory.map_or(bytes, |limit| limit.value.0.min(bytes));
        budget.device_memory = Some(Limit::from(Bytes(least)));
    }
}

/// The card of the catalog whose memory PyTorch shows like this.
fn card(capacity: u64) -> Option<&'static str> {
    let off = |name: &str| device::get(name).map_or(u64::MAX, |device| device.usable.0.abs_diff(capacity));
    device::names().into_iter().min_by_key(|name| off(name)).filter(|name| off(name) < capacity / 50)
}

/// What the first run of a plan says to it; `None` where it cannot be costed.
pub fn explain(context: &Context<'_>, plan: &Seen<'_>, found: &Found) -> Option<PlanSays> {
    let (resolved, estimate) = plan.estimates().next()?;
    let setup = &resolved.setup;
    let refusal = match &found.death {
        Death::Refused(refusal) => Some(refusal),
        _ => None,
    };
    let trace = trace(setup);
    Some(PlanSays {
        name: estimate.name.clone(),
        device: estimate.device.clone(),
        process_bytes: estimate.peak.process.bytes,
        limit_bytes: estimate.limit_bytes,
        fits: estimate.fits,
        replay: refusal.and_then(|refusal| replay(setup, refusal)).or(estimate.oom),
        suspect: refusal.zip(trace).and_then(|(refusal, trace)| suspect::find(&trace, refusal, found.phase)),
        blocks: setup.model.layers,
        fixes: fixes(context, plan, resolved, estimate),
    })
}

/// What the plan's run allocates on PyTorch.
fn trace(setup: &Setup) -> Option<Trace> {
    match setup.engine {
        _ if !setup.trains => None,
        EngineName::Trl => engine::trl::trace(setup).ok(),
        EngineName::Unsloth => engine::unsloth::trace(setup).ok(),
        EngineName::Memspec => engine::memspec::trace(setup).ok(),
    }
}

/// Where the replay fails when the allocator may hold what it could hold in the run.
fn replay(setup: &Setup, refusal: &Refusal) -> Option<OutOfMemory> {
    let held = refusal.allocated? + refusal.cached? + refusal.free?;
    let mut setup = setup.clone();
    setup.budget.allocator = Some(Bytes(held));
    estimate(&setup).ok()?.oom
}

/// What would have saved it: proven by estimating the changed plan where the plan does not fit, else what saves most.
fn fixes(context: &Context<'_>, plan: &Seen<'_>, resolved: &Resolved, estimate: &Estimate) -> Vec<String> {
    if !estimate.fits {
        return repair::fixes(context, plan, resolved, estimate).into_iter().take(FIXES).map(|fix| fix.title).collect();
    }
    let singles = changes(resolved, context.base, context.environment);
    let title = |change: &Change| format!("{}: saves {} ({})", change.title, change.saves, change.price.words());
    singles.iter().take(FIXES).map(title).collect()
}
