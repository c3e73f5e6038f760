//! # pad-to-max-length (MEM011)
//!
//! ## What it does
//! Finds plans that fill every sample up to the context although the samples are less than half as long on average.
//!
//! ## Why is this bad?
//! More than half of the memory and of the time goes to padding, from which nothing is learnt.
//!
//! ## Example
//! ```mem
//! data {
//!   context = 512tok
//!   padding = max
//!   samples = 1000
//!   mean_length = 100tok
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! data {
//!   context = 512tok
//!   padding = longest
//!   samples = 1000
//!   mean_length = 100tok
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: padding is not learnt from, but other shapes are computed in another order, and sums differ in their last digits.

use memspec::plan::Padding;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let found = context.plans.iter().filter_map(|plan| {
        let mut data = plan.setups.iter().map(|one| &one.resolved.setup.data);
        let (mean, full) = data.find_map(|data| {
            let mean = data.lengths.as_ref().filter(|lengths| lengths.samples > 0)?.mean();
            let padded = data.padding == Padding::Max && !data.packing;
            (padded && 2.0 * mean < data.context as f64).then_some((mean, data.context))
        })?;
        let fix = Fix::set(context.document, plan.index, "data.padding", "longest", Applicability::Unsafe);
        Some(
            Finding::new(rule, format!("samples of {mean:.0} tokens on average are filled up to {full}"))
                .at(plan.written, "data.padding", format!("{:.0} % is padding", 100.0 * (1.0 - mean / full as f64)))
                .help("use `padding = longest`, or `packing = true` where the engine has it")
                .fix(fix),
        )
    });
    found.collect()
}
