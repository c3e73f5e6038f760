//! Does it fit, and into the time and money there is?

pub mod budget_limit_not_checked;
pub mod peak_over_budget;
pub mod run_over_budget;
pub mod thin_headroom;
