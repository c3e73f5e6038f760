//! Does it fit, and into the time and money there is?

pub mod assert_failed;
pub mod budget_limit_not_checked;
pub mod budget_missing;
pub mod eval_batch_larger_than_train;
mod faster;
pub mod foreach_optimizer_peak;
pub mod infeasible_fit;
pub mod kbit_upcast_of_embeddings;
pub mod logits_spike;
pub mod paged_optimizer_for_lora;
pub mod peak_over_budget;
pub mod run_over_budget;
pub mod serving_over_budget;
pub mod slow_setting;
pub mod thin_headroom;
pub mod trainable_embeddings_with_lora;
pub mod unused_memory;
pub mod upcast_of_unpacked_base;
