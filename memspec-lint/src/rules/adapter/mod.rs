//! Adapters.

pub mod adapter_without_effect;
pub mod alpha_rank_ratio;
pub mod attention_only_lora;
pub mod dora_incompatible;
pub mod full_finetune_lr_with_lora;
pub mod high_rank_without_rslora;
pub mod moe_experts_not_adapted;
pub mod moe_router_trained;
pub mod rank_exceeds_dimension;
pub mod tied_lm_head_target;
pub mod unknown_target;
pub mod vision_adapter_without_tower;
