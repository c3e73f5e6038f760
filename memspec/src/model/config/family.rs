//! What differs between families: `model_type` names, the defaults of transformers' config classes, biases, norms.

use super::super::{Family, Norm};
use super::ConfigError;
use super::keys::Keys;

/// The family of a `model_type`.
pub(super) fn of(model_type: &str) -> Family {
    match model_type {
        "llama" => Family::Llama,
        "mistral" | "ministral" | "ministral3" => Family::Mistral,
        "qwen2" => Family::Qwen2,
        "qwen3" | "qwen3_vl" | "qwen3_vl_text" => Family::Qwen3,
        "phi3" => Family::Phi3,
        "gemma2" => Family::Gemma2,
        "gemma3_text" | "gemma3" => Family::Gemma3,
        "mixtral" => Family::Mixtral,
        "qwen3_moe" | "qwen3_vl_moe" | "qwen3_vl_moe_text" => Family::Qwen3Moe,
        "gpt_oss" => Family::GptOss,
        "qwen2_vl" | "qwen2_vl_text" | "qwen2_5_vl" | "qwen2_5_vl_text" => Family::Qwen2Vl,
        "phi" => Family::Phi,
        "falcon" => Family::Falcon,
        "gemma" => Family::Gemma,
        "qwen" => Family::Qwen,
        "qwen2_moe" => Family::Qwen2Moe,
        "qwen3_5" | "qwen3_5_text" => Family::Qwen35,
        "qwen3_5_moe" | "qwen3_5_moe_text" => Family::Qwen35Moe,
        "qwen3_next" => Family::Qwen3Next,
        "arcee" => Family::Arcee,
        "seed_oss" => Family::SeedOss,
        "mimo" => Family::Mimo,
        "hunyuan_v1_dense" => Family::Hunyuan,
        "apertus" => Family::Apertus,
        "glm4" => Family::Glm4,
        "glm4_moe" => Family::Glm4Moe,
        "minimax_m2" => Family::MinimaxM2,
        "olmo2" | "olmo3" => Family::Olmo3,
        "nemotron" => Family::Nemotron,
        "stablelm" => Family::StableLm,
        "starcoder2" => Family::Starcoder2,
        "cohere2" => Family::Cohere2,
        "gpt_neox" => Family::GptNeoX,
        "gptj" => Family::GptJ,
        "gpt2" => Family::Gpt2,
        "mpt" => Family::Mpt,
        "dbrx" => Family::Dbrx,
        "ernie4_5" => Family::Ernie45,
        "smollm3" => Family::SmolLm3,
        _ => Family::Other,
    }
}

/// Types that share Llama's keys and are built otherwise, with what they have that is not known here.
pub(super) fn refusal(model_type: &str) -> Option<&'static str> {
    Some(match model_type {
        "deepseek_v2" | "deepseek_v3" | "deepseek_v32" | "deepseek_v4" | "glm4_moe_lite" | "glm_moe_dsa"
        | "minicpm3" | "kimi_k2" | "kimi_k25" | "mistral4" | "longcat_flash" => "it has multi-head latent attention",
        "mamba" | "mamba2" | "falcon_mamba" | "falcon_h1" | "jamba" | "bamba" | "zamba" | "zamba2" | "nemotron_h"
        | "granitemoehybrid" | "plamo2" => "it has Mamba's state-space layers",
        "lfm2" | "lfm2_moe" => "it has short convolutions in place of attention",
        "kimi_linear" | "olmo_hybrid" | "bailing_hybrid" | "minimax" => "it has linear attention",
        "rwkv" | "rwkv7" | "recurrent_gemma" | "xlstm" => "it is recurrent",
        "gemma3n" | "gemma3n_text" => "it has an embedding for each layer and blocks that share keys and values",
        "gemma4" | "gemma4_text" => "it has layers of different widths",
        "llama4" | "llama4_text" => "some of its layers have experts and others do not",
        "mllama" | "mllama_text_model" => "it attends to the image by layers of cross-attention",
        "afmoe" | "ernie4_5_moe" | "exaone4" | "exaone_moe" | "granite" | "granitemoe" | "phimoe"
        | "hunyuan_v1_moe" | "dots1" | "olmoe" => "how it is built is not known to this version",
        _ => return None,
    })
}

/// What transformers' config class of a family has for keys that a file leaves out
/// (`transformers/models/*/configuration_*.py`, version 4.57; those added later, 5.23).
pub(super) struct Defaults {
    pub(super) max_positions: u64,
    pub(super) original_max_positions: Option<u64>,
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
            original_max_positions: None,
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
            Family::Phi3 => {
                Defaults { max_positions: 4096, original_max_positions: Some(4096), epsilon: 1e-5, ..llama }
            }
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
            _ => Defaults::of_later(family, llama),
        }
    }

    fn of_later(family: Family, llama: Defaults) -> Defaults {
        match family {
            Family::Gemma => Defaults {
                max_positions: 8192,
                kv_heads: Some(16),
                head_dim: Some(256),
                tied: true,
                activation: "gelu_pytorch_tanh",
                ..llama
            },
            // its own code on the hub: configuration_qwen.py of Qwen/Qwen-7B
            Family::Qwen => Defaults { max_positions: 8192, epsilon_key: "layer_norm_epsilon", ..llama },
            Family::Qwen2Moe => {
                Defaults { max_positions: 32_768, kv_heads: Some(16), sliding_window: Some(4096), ..llama }
            }
            Family::Qwen35 | Family::Qwen35Moe | Family::Qwen3Next => Defaults {
                max_positions: 32_768,
                kv_heads: Some(if family == Family::Qwen35 { 4 } else { 2 }),
                head_dim: Some(256),
                rope_fraction: 0.25,
                ..llama
            },
            Family::Arcee => Defaults { max_positions: 4096, epsilon: 1e-5, activation: "relu2", ..llama },
            Family::SeedOss => {
                Defaults { max_positions: 524_288, kv_heads: Some(8), head_dim: Some(128), theta: 1e7, ..llama }
            }
            Family::Mimo => Defaults { max_positions: 32_768, kv_heads: Some(32), sliding_window: Some(4096), ..llama },
            Family::Hunyuan => Defaults { epsilon: 1e-5, ..llama },
            Family::Apertus => {
                Defaults { max_positions: 65_536, epsilon: 1e-5, theta: 12e6, activation: "xielu", ..llama }
            }
            Family::Glm4 => Defaults {
                max_positions: 131_072,
                kv_heads: Some(2),
                head_dim: Some(128),
                epsilon: 1.5625e-7,
                rope_fraction: 0.5,
                ..llama
            },
            Family::Glm4Moe => {
                Defaults { max_positions: 131_072, kv_heads: Some(8), epsilon: 1e-5, rope_fraction: 0.5, ..llama }
            }
            Family::MinimaxM2 => Defaults {
                max_positions: 196_608,
                kv_heads: Some(8),
                head_dim: Some(128),
                theta: 5e6,
                rope_fraction: 0.5,
                ..llama
            },
            Family::Olmo3 => Defaults { epsilon: 1e-5, sliding_window: Some(4096), ..llama },
            Family::Nemotron => Defaults {
                max_positions: 4096,
                epsilon_key: "norm_eps",
                epsilon: 1e-5,
                rope_fraction: 0.5,
                activation: "relu2",
                ..llama
            },
            Family::StableLm => Defaults {
                max_positions: 4096,
                kv_heads: Some(32),
                epsilon_key: "layer_norm_eps",
                epsilon: 1e-5,
                rope_fraction: 0.25,
                ..llama
            },
            Family::Starcoder2 => Defaults {
                max_positions: 4096,
                kv_heads: Some(2),
                tied: true,
                epsilon_key: "norm_epsilon",
                epsilon: 1e-5,
                activation: "gelu_pytorch_tanh",
                ..llama
            },
            Family::Cohere2 => Defaults {
                max_positions: 8192,
                tied: true,
                epsilon_key: "layer_norm_eps",
                epsilon: 1e-5,
                sliding_window: Some(4096),
                ..llama
            },
            Family::GptNeoX => Defaults {
                epsilon_key: "layer_norm_eps",
                epsilon: 1e-5,
                rope_fraction: 0.25,
                activation: "gelu",
                ..llama
            },
            Family::GptJ => {
                Defaults { epsilon_key: "layer_norm_epsilon", epsilon: 1e-5, activation: "gelu_new", ..llama }
            }
            Family::Gpt2 => Defaults {
                max_positions: 1024,
                tied: true,
                epsilon_key: "layer_norm_epsilon",
                epsilon: 1e-5,
                activation: "gelu_new",
                ..llama
            },
            Family::Mpt => {
                Defaults { tied: true, epsilon_key: "layer_norm_epsilon", epsilon: 1e-5, activation: "gelu", ..llama }
            }
            Family::Dbrx => Defaults { epsilon: 1e-5, ..llama },
            Family::Ernie45 => Defaults {
                max_positions: 131_072,
                kv_heads: Some(2),
                head_dim: Some(128),
                tied: true,
                epsilon: 1e-5,
                theta: 500_000.0,
                ..llama
            },
            Family::SmolLm3 => Defaults { max_positions: 32_768, kv_heads: Some(4), tied: true, theta: 2e6, ..llama },
            _ => llama,
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
        Family::Gemma
        | Family::Qwen35
        | Family::Qwen35Moe
        | Family::Qwen3Next
        | Family::Hunyuan
        | Family::Apertus
        | Family::Olmo3 => Biases { mlp: false, ..all(attention(false)?) },
        Family::Qwen2Moe => Biases { qkv: keys.flag("qkv_bias")?.unwrap_or(true), ..all(false) },
        Family::Mimo | Family::Qwen => Biases { qkv: true, ..all(false) },
        Family::Arcee | Family::Nemotron => {
            Biases { mlp: keys.flag("mlp_bias")?.unwrap_or(false), ..all(attention(false)?) }
        }
        Family::SeedOss => Biases {
            qkv: attention(true)?,
            o: keys.flag("attention_out_bias")?.unwrap_or(false),
            mlp: keys.flag("mlp_bias")?.unwrap_or(false),
            head: false,
        },
        Family::Glm4 => Biases { qkv: attention(true)?, ..all(false) },
        Family::Ernie45 => all(keys.flag("use_bias")?.unwrap_or(false)),
        Family::SmolLm3 => Biases { mlp: keys.flag("mlp_bias")?.unwrap_or(false), ..all(attention(false)?) },
        Family::Glm4Moe => Biases { qkv: attention(false)?, ..all(false) },
        Family::MinimaxM2 | Family::Dbrx => all(false),
        Family::StableLm => {
            if keys.flag("qk_layernorm")?.unwrap_or(false) {
                return Err(keys.unsupported("it normalizes queries and keys with a LayerNorm (`qk_layernorm`)"));
            }
            Biases { qkv: keys.flag("use_qkv_bias")?.unwrap_or(false), ..all(false) }
        }
        Family::Starcoder2 => all(keys.flag("use_bias")?.unwrap_or(true)),
        Family::Cohere2 => Biases { mlp: false, ..all(attention(false)?) },
        Family::GptNeoX => {
            let on = attention(true)?;
            Biases { qkv: on, o: on, mlp: true, head: false }
        }
        Family::GptJ => Biases { qkv: false, o: false, mlp: true, head: true },
        Family::Gpt2 => all(true),
        Family::Mpt => {
            if !keys.flag("no_bias")?.unwrap_or(true) {
                return Err(keys.unsupported("only MPT without biases is known (`no_bias`)"));
            }
            all(false)
        }
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
        Family::Gemma2 | Family::Gemma3 | Family::Glm4 => 4,
        Family::Phi | Family::Falcon | Family::GptJ | Family::Cohere2 => 1,
        _ => 2,
    }
}

/// The kind of norm on the residual stream.
pub(super) fn norm(family: Family) -> Norm {
    match family {
        Family::Phi | Family::Falcon | Family::Nemotron | Family::StableLm | Family::Starcoder2 => Norm::Layer,
        Family::GptNeoX | Family::GptJ | Family::Gpt2 => Norm::Layer,
        Family::Cohere2 | Family::Mpt | Family::Dbrx => Norm::LayerWithoutBias,
        _ => Norm::Rms,
    }
}

/// The MLP has a gate.
pub(super) fn gated_mlp(family: Family) -> bool {
    !matches!(
        family,
        Family::Phi
            | Family::Falcon
            | Family::Arcee
            | Family::Apertus
            | Family::Nemotron
            | Family::Starcoder2
            | Family::GptNeoX
            | Family::GptJ
            | Family::Gpt2
            | Family::Mpt
    )
}

/// Query, key and value are one linear.
pub(super) fn fused_linears(family: Family) -> bool {
    matches!(
        family,
        Family::Phi3 | Family::Falcon | Family::Qwen | Family::GptNeoX | Family::Gpt2 | Family::Mpt | Family::Dbrx
    )
}

/// Attention and MLP read the block's input side by side.
pub(super) fn parallel_residual(family: Family, keys: &Keys) -> Result<bool, ConfigError> {
    Ok(match family {
        Family::Phi | Family::Falcon | Family::GptJ | Family::Cohere2 => true,
        Family::GptNeoX => keys.flag("use_parallel_residual")?.unwrap_or(true),
        Family::StableLm if keys.flag("use_parallel_residual")?.unwrap_or(false) => {
            return Err(keys.unsupported("only StableLM without `use_parallel_residual` is known"));
        }
        _ => false,
    })
}

/// Queries and keys are normalized.
pub(super) fn qk_norm(family: Family, keys: &Keys) -> Result<bool, ConfigError> {
    Ok(match family {
        Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3 | Family::Qwen35 | Family::Qwen35Moe | Family::Qwen3Next => {
            true
        }
        Family::Hunyuan | Family::Apertus | Family::Olmo3 | Family::MinimaxM2 => true,
        Family::Glm4Moe => keys.flag("use_qk_norm")?.unwrap_or(false),
        _ => false,
    })
}
