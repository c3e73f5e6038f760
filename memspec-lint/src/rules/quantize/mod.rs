//! Packed weights.

pub mod blockwise_setting_of_int8;
pub mod double_quantization_off;
pub mod fp4_instead_of_nf4;
pub mod fsdp_quant_storage_mismatch;
pub mod int8_with_fsdp;
pub mod merge_into_quantized;
pub mod moe_experts_left_unquantized;
pub mod qlora_without_4bit;
pub mod quantize_prequantized_model;
pub mod quantized_full_finetune;
pub mod unknown_skip_module;
