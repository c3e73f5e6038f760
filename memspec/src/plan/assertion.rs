//! What a plan's author wants to be true of it.

use serde::{Deserialize, Serialize};

use super::Expression;

/// A condition on settings and figures of the plan: `assert tokens_per_step >= 16ktok else "the batch is too small"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// What has to be true: `device_memory <= 14.5GiB and train.precision == bf16`.
    pub that: Expression,
    /// What is said when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
}
