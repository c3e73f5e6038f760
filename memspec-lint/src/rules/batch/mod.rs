//! Batches, steps, and how the learning rate rises.

pub mod batch_one_accumulate_instead;
pub mod effective_batch_exceeds_dataset;
pub mod effective_batch_outlier;
pub mod epochs_and_max_steps;
pub mod too_few_steps;
pub mod warmup_exceeds_run;
pub mod zero_epochs;
