//! # assert-failed (MEM024)
//!
//! ## What it does
//! Compares the asserts of a plan with its settings and with what is estimated for it. `device_memory` and `headroom` include the error
//! bar; `wall_clock` and `cost` are the expected ones. An assert whose figures are not known says nothing.
//!
//! ## Why is this bad?
//! The plan's author said what has to be true of it, and it is not.
//!
//! ## Example
//! ```mem
//! device = t4
//! train { micro_batch = 2 }
//! assert train.micro_batch * train.accumulate == 16 else "16 samples a step"
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! train { micro_batch = 2; accumulate = 16 / micro_batch }
//! assert train.micro_batch * train.accumulate == 16 else "16 samples a step"
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in context.plans.iter().filter(|plan| !plan.incomplete) {
        for number in 0..plan.written.plan.asserts.len() {
            // of a sweep's runs, the first that breaks it
            let broken = plan.setups.iter().find_map(|one| {
                let failed = one.failed().into_iter().find(|failed| failed.number == number)?;
                Some((&one.resolved.setup.name, failed))
            });
            let Some((run, failed)) = broken else { continue };
            let message = match &failed.otherwise {
                Some(otherwise) => format!("plan `{run}`: {otherwise}"),
                None => format!("plan `{run}` breaks its assert"),
            };
            let values: Vec<String> = failed.values.iter().map(|(name, value)| format!("{name} is {value}")).collect();
            let label = if values.is_empty() { "does not hold".to_owned() } else { values.join(", ") };
            findings.push(Finding::new(rule, message).at(plan.written, &format!("asserts[{number}]"), label));
        }
    }
    findings
}
