//! `Architecture` from the text of a Hugging Face `config.json`.
//!
//! A key that is absent has the value that transformers gives it for that `model_type` (`family.rs`). Both layouts are
//! read: `rope_theta` and `rope_scaling` or transformers 5's `rope_parameters`, `torch_dtype` or `dtype`.

mod family;
mod keys;
mod rope;

use serde_json::Value;

use super::check::Nonsense;
use super::{Activation, Architecture, Dtype, Experts, Family, Norm, SlidingLayers, Vision};
use family::Defaults;
use keys::Keys;

/// What is wrong with a `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// A key that cannot be done without.
    #[error("`{key}` is missing; a `{model_type}` config needs it")]
    Missing {
        /// The key, with the one that holds it in front of a dot.
        key: String,
        /// The config's `model_type`.
        model_type: String,
    },
    /// A key with a value of the wrong type.
    #[error("`{key}` = {value} should be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// Its value as JSON, shortened.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A shape that no model has.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    /// A model that is built in a way that memspec does not know.
    #[error("model_type `{model_type}` is not supported: {why}")]
    Unsupported {
        /// The config's `model_type`.
        model_type: String,
        /// What it has that is not known.
        why: String,
    },
}

/// Reads the text of a `config.json`. The result passed [`Architecture::check`].
///
/// # Errors
/// Text that is not JSON, a missing key, a value of the wrong type, or shapes that no model has.
pub fn from_json(text: &str) -> Result<Architecture, ConfigError> {
    let value: Value = serde_json::from_str(text).map_err(|e| ConfigError::Json(e.to_string()))?;
    from_value(&value)
}

/// The same from JSON that is already read.
///
/// # Errors
/// As [`from_json`].
pub fn from_value(value: &Value) -> Result<Architecture, ConfigError> {
    let Value::Object(top) = value else {
        return Err(ConfigError::Json("a config is an object: { \"model_type\": ... }".to_owned()));
    };
    let model_type = match top.get("model_type") {
        Some(Value::String(name)) => name.as_str(),
        _ => {
            return Err(ConfigError::Missing { key: "model_type".to_owned(), model_type: "transformers".to_owned() });
        }
    };
    let top = Keys::new(top, "", model_type);
    // Qwen2-VL keeps its language model's keys in `text_config` since transformers 4.52
    let text = match (model_type, top.object("text_config")?) {
        ("qwen2_vl" | "gemma3_text", Some(text)) => text.or(&top),
        (_, Some(_)) if !top.has("hidden_size") => {
            let why = "it has more than a language model (its text_config is one of several parts); \
                       give a folder with the language model's own config.json";
            return Err(top.unsupported(why));
        }
        _ => top.clone(),
    };
    let architecture = build(&text, &top)?;
    architecture.check()?;
    Ok(architecture)
}

fn build(keys: &Keys, top: &Keys) -> Result<Architecture, ConfigError> {
    let family = family::of(keys.model_type);
    let defaults = Defaults::of(family);
    let hidden = keys.need("hidden_size")?;
    let layers = keys.need("num_hidden_layers")?;
    let heads = keys.need("num_attention_heads")?;
    // both are divisors and sizes below; `check` says it again for architectures made elsewhere
    for (key, value) in [("hidden_size", hidden), ("num_attention_heads", heads)] {
        if value == 0 {
            return Err(Nonsense::new(key, value, "it must be at least 1").into());
        }
    }
    let head_dim = match keys.count("head_dim")?.or(defaults.head_dim) {
        Some(head_dim) => head_dim,
        None if hidden % heads == 0 => hidden / heads,
        None => {
            let why = format!("it must divide hidden_size = {hidden}, or head_dim must be given");
            return Err(Nonsense::new("num_attention_heads", heads, why).into());
        }
    };
    let bias = family::biases(family, keys)?;
    let epsilon = match keys.number(defaults.epsilon_key)? {
        Some(epsilon) => epsilon,
        // an unknown type without RMSNorm (GPT-NeoX, StarCoder2) is not built like Llama, whatever other keys it shares
        None if family == Family::Other => return Err(keys.missing(defaults.epsilon_key)),
        None => defaults.epsilon,
    };
    let (sliding_window, sliding_layers) = sliding(family, keys, &defaults, layers)?;
    let layer_norm = matches!(family, Family::Phi | Family::Falcon);
    let name = top.text("_name_or_path")?.filter(|n| !n.is_empty()).unwrap_or(keys.model_type);
    Ok(Architecture {
        name: name.to_owned(),
        model_type: keys.model_type.to_owned(),
        family,
        hidden,
        layers,
        heads,
        kv_heads: kv_heads(family, keys, &defaults, heads)?,
        head_dim,
        intermediate: intermediate(family, keys, hidden)?,
        vocab: keys.need("vocab_size")?,
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(defaults.max_positions),
        tied_embeddings: top
            .flag("tie_word_embeddings")?
            .or(keys.flag("tie_word_embeddings")?)
            .unwrap_or(defaults.tied),
        qkv_bias: bias.qkv,
        o_bias: bias.o,
        mlp_bias: bias.mlp,
        head_bias: bias.head,
        qk_norm: matches!(family, Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3),
        gated_mlp: !layer_norm,
        fused_linears: matches!(family, Family::Phi3 | Family::Falcon),
        attention_sinks: family == Family::GptOss,
        norm: if layer_norm { Norm::Layer } else { Norm::Rms },
        norms_per_block: family::norms_per_block(family),
        norm_epsilon: epsilon,
        parallel_residual: layer_norm,
        rope: rope::read(keys, &defaults)?,
        sliding_window,
        sliding_layers,
        activation: activation(keys, &defaults)?,
        query_scalar: keys.number("query_pre_attn_scalar")?.or(defaults.query_scalar),
        attention_softcap: keys.number_or("attn_logit_softcapping", defaults.attention_softcap)?,
        logit_softcap: keys.number_or("final_logit_softcapping", defaults.logit_softcap)?,
        experts: experts(family, keys)?,
        vision: if family == Family::Qwen2Vl { vision(top, hidden)? } else { None },
        dtype: dtype(keys, top)?,
        source: "config.json".to_owned(),
    })
}

fn kv_heads(family: Family, keys: &Keys, defaults: &Defaults, heads: u64) -> Result<u64, ConfigError> {
    if family == Family::Falcon {
        let multi_query = keys.flag("multi_query")?.unwrap_or(true);
        return Ok(if multi_query { 1 } else { heads });
    }
    // null means as many as query heads; an absent key has the class's own default
    if keys.is_null("num_key_value_heads") {
        return Ok(heads);
    }
    Ok(keys.count("num_key_value_heads")?.or(defaults.kv_heads).unwrap_or(heads))
}

fn intermediate(family: Family, keys: &Keys, hidden: u64) -> Result<u64, ConfigError> {
    match family {
        Family::Falcon => Ok(keys.count("ffn_hidden_size")?.unwrap_or(hidden.saturating_mul(4))),
        _ => keys.need("intermediate_size"),
    }
}

fn experts(family: Family, keys: &Keys) -> Result<Option<Experts>, ConfigError> {
    let count = match family {
        Family::Mixtral | Family::GptOss => keys.need("num_local_experts")?,
        Family::Qwen3Moe => match keys.count("num_experts")? {
            Some(count) => count,
            None => keys.need("num_local_experts")?,
        },
        Family::Other => {
            for key in ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"] {
                if keys.count(key).ok().flatten().unwrap_or(0) > 1 {
                    return Err(keys.unsupported(format!("it has experts (`{key}`) whose layout is not known")));
                }
            }
            return Ok(None);
        }
        _ => return Ok(None),
    };
    let key = if family == Family::Qwen3Moe { "moe_intermediate_size" } else { "intermediate_size" };
    if family == Family::Qwen3Moe {
        let step = keys.count("decoder_sparse_step")?.unwrap_or(1);
        if step != 1 || keys.list("mlp_only_layers").is_some_and(|l| !l.is_empty()) {
            let why = "only some of its blocks have experts (`decoder_sparse_step`, `mlp_only_layers`)";
            return Err(keys.unsupported(why));
        }
    }
    let own = family == Family::GptOss;
    Ok(Some(Experts {
        count,
        per_token: keys.need("num_experts_per_tok")?,
        intermediate: keys.need(key)?,
        bias: own,
        router_bias: own,
    }))
}

fn sliding(
    family: Family,
    keys: &Keys,
    defaults: &Defaults,
    layers: u64,
) -> Result<(Option<u64>, SlidingLayers), ConfigError> {
    let window = keys.count_or("sliding_window", defaults.sliding_window)?;
    let optional = matches!(family, Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe | Family::Qwen2Vl);
    if optional && !keys.flag("use_sliding_window")?.unwrap_or(false) {
        return Ok((None, SlidingLayers::All));
    }
    if let Some(types) = keys.list("layer_types").filter(|t| !t.is_empty() && t.len() as u64 == layers) {
        let slides: Vec<bool> = types.iter().map(|t| t.as_str() == Some("sliding_attention")).collect();
        let window = if slides.contains(&true) { window } else { None };
        return Ok((window, SlidingLayers::Listed(slides)));
    }
    let which = match family {
        Family::Gemma2 | Family::GptOss => SlidingLayers::AllButEvery(2),
        Family::Gemma3 => {
            let every = keys.count("sliding_window_pattern")?.or(keys.count("_sliding_window_pattern")?);
            SlidingLayers::AllButEvery(every.unwrap_or(6))
        }
        Family::Qwen3Moe => SlidingLayers::All,
        _ if optional => {
            let default = if family == Family::Qwen2Vl { 80 } else { 28 };
            SlidingLayers::From(keys.count("max_window_layers")?.unwrap_or(default))
        }
        _ => SlidingLayers::All,
    };
    Ok((window, which))
}

fn activation(keys: &Keys, defaults: &Defaults) -> Result<Activation, ConfigError> {
    let gemma = keys.text("hidden_activation")?;
    let name = gemma.or(keys.text("hidden_act")?).or(keys.text("activation")?).unwrap_or(defaults.activation);
    Ok(match name {
        "silu" | "swish" => Activation::Silu,
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Activation::GeluTanh,
        "gelu" => Activation::Gelu,
        "relu" => Activation::Relu,
        _ => Activation::Other,
    })
}

fn dtype(keys: &Keys, top: &Keys) -> Result<Dtype, ConfigError> {
    for keys in [keys, top] {
        for key in ["dtype", "torch_dtype"] {
            let Some(name) = keys.text(key)? else {
                continue;
            };
            return match name.trim_start_matches("torch.") {
                "float64" => Ok(Dtype::F64),
                "float32" => Ok(Dtype::F32),
                "float16" => Ok(Dtype::F16),
                "bfloat16" => Ok(Dtype::Bf16),
                "float8_e4m3fn" | "float8_e5m2" => Ok(Dtype::F8),
                _ => Err(keys.wrong_type(key, "float32, float16 or bfloat16")),
            };
        }
    }
    // what transformers falls back to
    Ok(Dtype::F32)
}

fn vision(top: &Keys, hidden: u64) -> Result<Option<Vision>, ConfigError> {
    let Some(keys) = top.object("vision_config")? else {
        return Err(top.missing("vision_config"));
    };
    let width = keys.count("embed_dim")?.unwrap_or(1280);
    if let Some(out) = keys.count("hidden_size")?.filter(|out| *out != hidden) {
        let why = format!("it must be the language model's hidden_size = {hidden}");
        return Err(Nonsense::new("vision_config.hidden_size", out, why).into());
    }
    Ok(Some(Vision {
        layers: keys.count("depth")?.unwrap_or(32),
        hidden: width,
        heads: keys.count("num_heads")?.unwrap_or(16),
        intermediate: width.saturating_mul(keys.count("mlp_ratio")?.unwrap_or(4)),
        patch: keys.count("patch_size")?.or(keys.count("spatial_patch_size")?).unwrap_or(14),
        temporal_patch: keys.count("temporal_patch_size")?.unwrap_or(2),
        channels: keys.count("in_channels")?.or(keys.count("in_chans")?).unwrap_or(3),
        merge: keys.count("spatial_merge_size")?.unwrap_or(2),
    }))
}

#[cfg(test)]
mod tests;
