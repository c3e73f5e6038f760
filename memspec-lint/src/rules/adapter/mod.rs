//! Adapters.

pub mod adapter_settings_without_adapter;
pub mod adapter_without_effect;
pub mod alpha_rank_ratio;
pub mod attention_only_lora;
pub mod dora_incompatible;
pub mod full_finetune_lr_with_lora;
pub mod high_rank_without_rslora;
pub mod moe_experts_not_adapted;
pub mod moe_router_trained;
pub mod new_tokens_not_trained;
pub mod rank_exceeds_dimension;
pub mod tied_lm_head_target;
pub mod unknown_target;
pub mod vision_adapter_without_tower;

use memspec::setup::Setup;

/// Weights of an adapter's matrices on linears; 0 without one. Those on experts' parameters are not counted.
pub(crate) fn parameters(setup: &Setup) -> u64 {
    let Some(adapter) = &setup.adapter else { return 0 };
    let linears = setup.model.block_linears().into_iter();
    let targets = linears.filter(|linear| adapter.targets.iter().any(|target| target == linear.leaf()));
    let block: u64 = targets.map(|linear| linear.in_features + linear.out_features).sum();
    block.saturating_mul(u64::from(adapter.rank)).saturating_mul(setup.model.layers)
}
