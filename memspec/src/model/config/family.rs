//! What differs between families: `model_type` names, the defaults of transformers' config classes, biases, norms.

use super::super::Family;
use super::ConfigError;
use super::keys::Keys;

/// The family of a `model_type`.
pub(super) fn of(model_type: &str) -> Family {
    match model_type {
        "llama" => Family::Llama,
        "mistral" => Family::Mistral,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        "phi3" => Family::Phi3,
        "gemma2" => Family::Gemma2,
        "gemma3_text" => Family::Gemma3,
        "mixtral" => Family::Mixtral,
        "qwen3_moe" => Family::Qwen3Moe,
        "gpt_oss" => Family::GptOss,
        "qwen2_vl" => Family::Qwen2Vl,
        "phi" => Family::Phi,
        "falcon" => Family::Falcon,
        _ => Family::Other,
    }
}

/// What transformers' config class of a family has for keys that a file leaves out
/// (`transformers/models/*/configuration_*.py`, version 4.57).
pub(super) struct Defaults {
    pub(super) max_positions: u64,
    pub(super) kv_heads: Option<u64>,
    pub(super) head_dim: Option<u64>,
    pub(super) tied: bool,
    pub(super) epsilon_key: &'static str,
    pub(super) epsilon: f64,
    pub(super) theta: f64,
    pub(super) local_theta: Option<f64>,
    pub(super) rope_fraction: f64,
    pub(super) rope_kind: Option<&'static str>,
    pub(super) sliding_window: Option<u64>,
    pub(super) activation: &'static str,
    pub(super) query_scalar: Option<f64>,
    pub(super) attention_softcap: Option<f64>,
    pub(super) logit_softcap: Option<f64>,
}

impl Defaults {
    pub(super) fn of(family: Family) -> Defaults {
        let llama = Defaults {
            max_positions: 2048,
            kv_heads: None,
            head_dim: None,
            tied: false,
            epsilon_key: "rms_norm_eps",
            epsilon: 1e-6,
            theta: 10_000.0,
            local_theta: None,
            rope_fraction: 1.0,
            rope_kind: None,
            sliding_window: None,
            activation: "silu",
            query_scalar: None,
            attention_softcap: None,
            logit_softcap: None,
        };
        let gemma2 = Defaults {
            max_positions: 8192,
            kv_heads: Some(4),
            head_dim: Some(256),
            tied: true,
            sliding_window: Some(4096),
            activation: "gelu_pytorch_tanh",
            query_scalar: Some(256.0),
            attention_softcap: Some(50.0),
            logit_softcap: Some(30.0),
            ..llama
        };
        match family {
            Family::Llama | Family::Other => llama,
            Family::Mistral => {
                Defaults { max_positions: 131_072, kv_heads: Some(8), sliding_window: Some(4096), ..llama }
            }
            Family::Qwen2 => {
                Defaults { max_positions: 32_768, kv_heads: Some(32), sliding_window: Some(4096), ..llama }
            }
            Family::Qwen3 => Defaults {
                max_positions: 32_768,
                kv_heads: Some(32),
                head_dim: Some(128),
                sliding_window: Some(4096),
                ..llama
            },
            Family::Phi3 => Defaults { max_positions: 4096, epsilon: 1e-5, ..llama },
            Family::Gemma2 => gemma2,
            Family::Gemma3 => Defaults {
                max_positions: 131_072,
                theta: 1e6,
                local_theta: Some(10_000.0),
                attention_softcap: None,
                logit_softcap: None,
                ..gemma2
            },
            Family::Mixtral => {
                Defaults { max_positions: 131_072, kv_heads: Some(8), epsilon: 1e-5, theta: 1e6, ..llama }
            }
            Family::Qwen3Moe => {
                Defaults { max_positions: 32_768, kv_heads: Some(4), sliding_window: Some(4096), ..llama }
            }
            Family::GptOss => Defaults {
                max_positions: 131_072,
                kv_heads: Some(8),
                head_dim: Some(64),
                epsilon: 1e-5,
                theta: 150_000.0,
                rope_kind: Some("yarn"),
                sliding_window: Some(128),
                ..llama
            },
            Family::Qwen2Vl => Defaults {
                max_positions: 32_768,
                kv_heads: Some(8),
                epsilon: 1e-5,
                theta: 1e6,
                sliding_window: Some(4096),
                ..llama
            },
            Family::Phi => Defaults {
                epsilon_key: "layer_norm_eps",
                epsilon: 1e-5,
                rope_fraction: 0.5,
                activation: "gelu_new",
                ..llama
            },
            Family::Falcon => {
                Defaults { epsilon_key: "layer_norm_epsilon", epsilon: 1e-5, tied: true, activation: "gelu", ..llama }
            }
        }
    }
}

/// Which linears have a bias.
pub(super) struct Biases {
    pub(super) qkv: bool,
    pub(super) o: bool,
    pub(super) mlp: bool,
    pub(super) head: bool,
}

/// The biases of a family, with the keys that switch them. Refuses variants that are built otherwise.
pub(super) fn biases(family: Family, keys: &Keys) -> Result<Biases, ConfigError> {
    let attention = |default| Ok::<bool, ConfigError>(keys.flag("attention_bias")?.unwrap_or(default));
    let all = |on| Biases { qkv: on, o: on, mlp: on, head: false };
    Ok(match family {
        Family::Llama | Family::Other => {
            let on = attention(false)?;
            Biases { qkv: on, o: on, mlp: keys.flag("mlp_bias")?.unwrap_or(false), head: false }
        }
        Family::Qwen2 | Family::Qwen2Vl => Biases { qkv: true, ..all(false) },
        Family::Qwen3 | Family::Qwen3Moe | Family::Gemma2 | Family::Gemma3 => {
            Biases { mlp: false, ..all(attention(false)?) }
        }
        Family::GptOss => Biases { mlp: true, ..all(attention(true)?) },
        Family::Mistral | Family::Phi3 | Family::Mixtral => all(false),
        Family::Phi => {
            if keys.flag("qk_layernorm")?.unwrap_or(false) {
                return Err(keys.unsupported("it normalizes queries and keys with a LayerNorm (`qk_layernorm`)"));
            }
            Biases { head: true, ..all(true) }
        }
        Family::Falcon => {
            if keys.flag("new_decoder_architecture")?.unwrap_or(false) {
                return Err(
                    keys.unsupported("only Falcon's first layout (falcon-7b) is known, not `new_decoder_architecture`")
                );
            }
            if keys.flag("alibi")?.unwrap_or(false) || !keys.flag("parallel_attn")?.unwrap_or(true) {
                return Err(keys.unsupported("only Falcon with RoPE and parallel attention is known"));
            }
            all(keys.flag("bias")?.unwrap_or(false))
        }
    })
}

/// Norms of a block on the residual stream.
pub(super) fn norms_per_block(family: Family) -> u64 {
    match family {
        Family::Gemma2 | Family::Gemma3 => 4,
        Family::Phi | Family::Falcon => 1,
        _ => 2,
    }
}
