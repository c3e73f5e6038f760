//! The text itself.

pub mod ambiguous_unit;
pub mod duplicate_plan;
pub mod duplicate_setting;
pub mod edition;
pub mod let_shadows_symbol;
pub mod limit_outside_budget;
pub mod missing_kind;
pub mod missing_model;
pub mod missing_name;
pub mod not_a_limit;
pub mod not_supported;
pub mod not_utf8;
pub mod out_of_range;
pub mod quoted_symbol;
pub mod syntax;
pub mod unknown_block;
pub mod unknown_kind;
pub mod unknown_name;
pub mod unknown_setting;
pub mod unknown_symbol;
pub mod unknown_unit;
pub mod unquoted_text;
pub mod unsupported_setting;
pub mod unused_allow;
pub mod wrong_type;
pub mod wrong_unit;
