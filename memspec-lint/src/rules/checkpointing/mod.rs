//! What is recomputed, and what is moved to host memory.

pub mod kv_cache_while_checkpointing;
pub mod more_blocks_than_layers;
pub mod offload_on_cpu;
pub mod offload_without_checkpointing;
pub mod wrapped_checkpointing_without_fsdp;
