//! Evaluation, checkpoints, and merging.

pub mod eval_after_the_end;
pub mod eval_on_training_data;
pub mod eval_without_data;
pub mod merge_without_adapter;
pub mod save_not_multiple_of_eval;
