//! # batch-one-accumulate-instead (BAT011)
//!
//! ## What it does
//! Finds a micro batch of 1 with accumulation, where 2 at once fit with room to spare and train at least a tenth faster.
//!
//! ## Why is this bad?
//! Every pass over one sample pays for launching all kernels and reading all weights. Two at once are the same step in less time, on the
//! estimate's figures.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! engine = trl
//! data { context = 256tok }
//! train { micro_batch = 1; accumulate = 16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "a100-80"
//! engine = trl
//! data { context = 256tok }
//! train { micro_batch = 16; accumulate = 1 }
//! ```
//!
//! ## Fix safety
//! Unsafe: samples of other lengths meet in a batch.
//!
//! ## References
//! - docs/time.md: what a step waits for

use memspec::cost::{Estimate, slowdown};
use memspec::device::DeviceKind;
use memspec::setup::Setup;

use crate::context::Context;
use crate::costed::Takes;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;
use crate::rules::memory::thin_headroom::is_thin;

/// A token takes at most this part of the time.
const FASTER: f64 = 0.9;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let now = plan.find(|Setup { train, device, .. }| {
            let single = train.micro_batch == 1 && train.accumulate >= 2 && train.accumulate.is_multiple_of(2);
            single && device.kind != DeviceKind::Cpu && !device.is_any()
        })?;
        let mut setup = now.clone();
        setup.train.micro_batch = 2;
        setup.train.accumulate /= 2;
        let faster = slowdown(now, &setup).filter(|slower| *slower <= FASTER)?;
        let enough = plan.remember(rule, || {
            let takes = Takes::of(&setup);
            let roomy = |takes: &Estimate| takes.fits && !is_thin(&setup, takes);
            takes.fits_easily() || takes.fits(&setup) && takes.estimate(&setup).is_ok_and(roomy)
        });
        if !enough {
            return None;
        }
        let accumulate = setup.train.accumulate;
        let mut fix = context.set(plan, "train.micro_batch", "2", Applicability::Unsafe)?;
        fix.edits.extend(context.set(plan, "train.accumulate", &accumulate.to_string(), Applicability::Unsafe)?.edits);
        fix.title = format!("micro_batch = 2, accumulate = {accumulate}");
        let message = format!("two samples at once fit, and take {:.0} % less time", 100.0 * (1.0 - faster));
        Some(
            Finding::new(rule, message)
                .at(plan.written, "train.micro_batch", "one sample at a time")
                .at(plan.written, "train.accumulate", "")
                .help("the same samples to a step; `memspec-lint max batch` says how many fit")
                .fix(fix),
        )
    })
}
