//! Number formats.

pub mod bf16_weights_small_lr;
pub mod compute_dtype_mismatch;
pub mod fp16_on_bf16_only_model;
pub mod fp16_trainable_weights;
pub mod kbit_compute_dtype_fp32;
pub mod no_mixed_precision;
pub mod pure_bf16_with_zero3;
pub mod pure_fp16_full_finetune;
