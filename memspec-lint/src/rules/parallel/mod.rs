//! Several devices.

pub mod auto_device_map_in_ddp;
pub mod device_map_with_zero3;
pub mod parallel_on_one_device;
pub mod replicated_quantized_base;
pub mod sharding_setting_without_sharding;
pub mod tensor_parallel_indivisible;
pub mod tensor_parallel_of_adapted_or_packed;
