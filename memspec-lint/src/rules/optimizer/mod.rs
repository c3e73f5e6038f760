//! The optimizer and its settings.

pub mod betas_out_of_range;
pub mod learning_rate_too_large;
pub mod learning_rate_zero;
pub mod lr_outlier;
pub mod no_grad_clip_fp16;
pub mod optimizer_args_without_optimizer;
pub mod optimizer_vs_strategy;
pub mod weight_decay_on_lora;
