//! What a device can do.

pub mod bf16_on_pre_ampere;
pub mod bf16_quant_compute_on_pre_ampere;
pub mod device_not_in_catalog;
pub mod flash_attention_on_pre_ampere;
pub mod flash_attention_with_fp32;
pub mod fp8_unsupported_gpu;
pub mod gpu_count_mismatch;
pub mod kernel_needs_newer_gpu;
pub mod tensor_core_misaligned_dims;
pub mod tf32_on_pre_ampere;
pub mod vram_marketing_gb;
