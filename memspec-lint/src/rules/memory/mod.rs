//! Does it fit?

pub mod budget_limit_not_checked;
pub mod peak_over_budget;
pub mod thin_headroom;
