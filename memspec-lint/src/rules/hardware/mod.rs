//! What a device can do.

pub mod bf16_on_pre_ampere;
pub mod device_not_in_catalog;
pub mod vram_marketing_gb;
