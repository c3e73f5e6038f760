//! A config's mixture of experts.

use super::super::{Experts, Family};
use super::ConfigError;
use super::keys::Keys;

/// The experts of a block; none in a dense family.
pub(super) fn read(family: Family, keys: &Keys) -> Result<Option<Experts>, ConfigError> {
    let plain = |count, per_token, intermediate| Experts {
        count,
        per_token,
        intermediate,
        bias: false,
        router_bias: false,
        shared_intermediate: 0,
        shared_gate: false,
        first_dense: 0,
    };
    Ok(Some(match family {
        Family::Mixtral | Family::MinimaxM2 => {
            plain(keys.need("num_local_experts")?, keys.need("num_experts_per_tok")?, keys.need("intermediate_size")?)
        }
        Family::GptOss => Experts {
            bias: true,
            router_bias: true,
            ..plain(keys.need("num_local_experts")?, keys.need("num_experts_per_tok")?, keys.need("intermediate_size")?)
        },
        Family::Qwen3Moe | Family::Qwen2Moe | Family::Qwen35Moe | Family::Qwen3Next => {
            every_block(keys)?;
            let count = match keys.count("num_experts")? {
                Some(count) => count,
                None => keys.need("num_local_experts")?,
            };
            let shared = match family {
                Family::Qwen3Moe => 0,
                _ => keys.need("shared_expert_intermediate_size")?,
            };
            Experts {
                shared_intermediate: shared,
                shared_gate: shared > 0,
                ..plain(count, keys.need("num_experts_per_tok")?, keys.need("moe_intermediate_size")?)
            }
        }
        Family::Glm4Moe => {
            let width = keys.need("moe_intermediate_size")?;
            Experts {
                shared_intermediate: width.saturating_mul(keys.count("n_shared_experts")?.unwrap_or(1)),
                first_dense: keys.count("first_k_dense_replace")?.unwrap_or(1),
                ..plain(keys.need("n_routed_experts")?, keys.need("num_experts_per_tok")?, width)
            }
        }
        Family::Dbrx => {
            let Some(inner) = keys.object("ffn_config")? else {
                return Err(keys.missing("ffn_config"));
            };
            plain(inner.need("moe_num_experts")?, inner.need("moe_top_k")?, inner.need("ffn_hidden_size")?)
        }
        Family::Other => {
            for key in ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"] {
                if keys.count(key).ok().flatten().unwrap_or(0) > 1 {
                    return Err(keys.unsupported(format!("it has experts (`{key}`) whose layout is not known")));
                }
            }
            return Ok(None);
        }
        _ => return Ok(None),
    }))
}

fn every_block(keys: &Keys) -> Result<(), ConfigError> {
    let step = keys.count("decoder_sparse_step")?.unwrap_or(1);
    if step != 1 || keys.list("mlp_only_layers").is_some_and(|l| !l.is_empty()) {
        let why = "only some of its blocks have experts (`decoder_sparse_step`, `mlp_only_layers`)";
        return Err(keys.unsupported(why));
    }
    Ok(())
}
