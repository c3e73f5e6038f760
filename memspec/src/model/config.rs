//! `Architecture` from the text of a Hugging Face `config.json`.
//!
//! A key that is absent has the value that transformers gives it for that `model_type` (`family.rs`). Both layouts are
//! read: `rope_theta` and `rope_scaling` or transformers 5's `rope_parameters`, `torch_dtype` or `dtype`.

mod experts;
mod family;
mod keys;
mod rope;
mod vision;

use serde_json::Value;

use super::check::Nonsense;
use super::{Activation, Architecture, Dtype, Family, LinearAttention, PublishedQuantization, Rope, SlidingLayers};
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
    let parts = top.object("text_config")?;
    // of a model of several parts the language model says what it is; older files say it at the top only
    let inner = parts.as_ref().map(|text| text.text("model_type")).transpose()?.flatten();
    let family = family::of(inner.unwrap_or(match model_type {
        "llava" => "llama",
        "mistral3" => "mistral",
        other => other,
    }));
    for name in [Some(model_type), inner].into_iter().flatten() {
        if let Some(why) = family::refusal(name) {
            return Err(top.unsupported(why));
        }
    }
    // Qwen2-VL keeps its language model's keys in `text_config` since transformers 4.52
    let text = match parts {
        Some(text) if vision::is_known(model_type) || model_type == "gemma3_text" => text.or(&top),
        Some(_) if !top.has("hidden_size") => {
            let why = "it has more than a language model (its text_config is one of several parts); \
                       give a folder with the language model's own config.json";
            return Err(top.unsupported(why));
        }
        _ => top.clone(),
    };
    let architecture = build(family, &text, &top)?;
    architecture.check()?;
    Ok(architecture)
}

fn build(family: Family, keys: &Keys, top: &Keys) -> Result<Architecture, ConfigError> {
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
        qk_norm: family::qk_norm(family, keys)?,
        qk_norm_spans_heads: matches!(family, Family::Olmo3 | Family::MinimaxM2),
        gated_attention: matches!(family, Family::Qwen35 | Family::Qwen35Moe | Family::Qwen3Next),
        linear_attention: linear_attention(family, keys, layers)?,
        gated_mlp: family::gated_mlp(family),
        fused_linears: family::fused_linears(family),
        attention_sinks: family == Family::GptOss,
        norm: family::norm(family),
        norms_per_block: family::norms_per_block(family),
        norm_epsilon: epsilon,
        parallel_residual: family::parallel_residual(family, keys)?,
        rope: rope(family, keys, &defaults, head_dim)?,
        learned_positions: if family == Family::Gpt2 { keys.count("n_positions")?.unwrap_or(1024) } else { 0 },
        sliding_window,
        sliding_layers,
        activation: activation(keys, &defaults)?,
        query_scalar: keys.number("query_pre_attn_scalar")?.or(defaults.query_scalar),
        attention_softcap: keys.number_or("attn_logit_softcapping", defaults.attention_softcap)?,
        logit_softcap: keys.number_or("final_logit_softcapping", defaults.logit_softcap)?,
        experts: experts::read(family, keys)?,
        vision: vision::read(top, hidden)?,
        dtype: dtype(keys, top)?,
        published_quantization: quantization(family, top)?,
        source: "config.json".to_owned(),
    })
}

fn kv_heads(family: Family, keys: &Keys, defaults: &Defaults, heads: u64) -> Result<u64, ConfigError> {
    if family == Family::Falcon {
        let multi_query = keys.flag("multi_query")?.unwrap_or(true);
        return Ok(if multi_query { 1 } else { heads });
    }
    if family == Family::Dbrx {
        return nested(keys, "attn_config", "kv_n_heads");
    }
    // null means as many as query heads; an absent key has the class's own default
    if keys.is_null("num_key_value_heads") {
        return Ok(heads);
    }
    Ok(keys.count("num_key_value_heads")?.or(defaults.kv_heads).unwrap_or(heads))
}

fn intermediate(family: Family, keys: &Keys, hidden: u64) -> Result<u64, ConfigError> {
    let four = hidden.saturating_mul(4);
    match family {
        Family::Falcon => Ok(keys.count("ffn_hidden_size")?.unwrap_or(four)),
        Family::GptJ | Family::Gpt2 => Ok(keys.count("intermediate_size")?.unwrap_or(four)),
        // `expansion_ratio` is not read by transformers' own code
        Family::Mpt => Ok(four),
        Family::Dbrx => nested(keys, "ffn_config", "ffn_hidden_size"),
        // the file counts gate and up together
        Family::Qwen => Ok(keys.need("intermediate_size")? / 2),
        // every block has experts, and the file may leave out what a dense one would have
        Family::Qwen35Moe | Family::Qwen3Next => match keys.count("intermediate_size")? {
            Some(width) => Ok(width),
            None => keys.need("moe_intermediate_size"),
        },
        _ => keys.need("intermediate_size"),
    }
}

/// A count inside an object that the family keeps it in.
fn nested(keys: &Keys, object: &'static str, key: &str) -> Result<u64, ConfigError> {
    match keys.object(object)? {
        Some(inner) => inner.need(key),
        None => Err(keys.missing(object)),
    }
}

/// RoPE, and the older ways to say how much of a head it rotates.
fn rope(family: Family, keys: &Keys, defaults: &Defaults, head_dim: u64) -> Result<Rope, ConfigError> {
    let mut rope = rope::read(keys, defaults)?;
    match family {
        Family::Gpt2 | Family::Mpt => rope.fraction = 0.0,
        Family::GptJ | Family::MinimaxM2 => {
            if let Some(rotated) = keys.count("rotary_dim")?.filter(|r| *r > 0 && *r <= head_dim) {
                rope.fraction = rotated as f64 / head_dim as f64;
            }
        }
        Family::Dbrx => {
            if let Some(theta) = keys.object("attn_config")?.map(|a| a.number("rope_theta")).transpose()?.flatten() {
                rope.theta = theta;
            }
        }
        _ => {}
    }
    Ok(rope)
}

fn linear_attention(family: Family, keys: &Keys, layers: u64) -> Result<Option<LinearAttention>, ConfigError> {
    if !matches!(family, Family::Qwen35 | Family::Qwen35Moe | Family::Qwen3Next) {
        return Ok(None);
    }
    let full_every = keys.count("full_attention_interval")?.unwrap_or(4).max(1);
    if let Some(types) = keys.list("layer_types").filter(|t| t.len() as u64 == layers) {
        let regular =
            (1..).zip(types).all(|(at, kind)| (kind.as_str() == Some("full_attention")) == (at % full_every == 0));
        if !regular {
            return Err(keys.unsupported("its `layer_types` do not repeat every `full_attention_interval` layers"));
        }
    }
    let count = |key: &str, default| Ok::<u64, ConfigError>(keys.count(key)?.unwrap_or(default));
    Ok(Some(LinearAttention {
        key_heads: count("linear_num_key_heads", 16)?,
        key_dim: count("linear_key_head_dim", 128)?,
        value_heads: count("linear_num_value_heads", 32)?,
        value_dim: count("linear_value_head_dim", 128)?,
        conv: count("linear_conv_kernel_dim", 4)?,
        full_every,
    }))
}

fn quantization(family: Family, top: &Keys) -> Result<Option<PublishedQuantization>, ConfigError> {
    let Some(settings) = top.object("quantization_config")? else {
        return Ok(None);
    };
    let method = settings.text("quant_method")?.ok_or_else(|| settings.missing("quant_method"))?;
    Ok(Some(match (method, family) {
        ("mxfp4", Family::GptOss) => PublishedQuantization::Mxfp4Experts,
        (other, _) => PublishedQuantization::Other { method: other.to_owned() },
    }))
}

fn sliding(
    family: Family,
    keys: &Keys,
    defaults: &Defaults,
    layers: u64,
) -> Result<(Option<u64>, SlidingLayers), ConfigError> {
    let window = keys.count_or("sliding_window", defaults.sliding_window)?;
    let optional = matches!(
        family,
        Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe | Family::Qwen2Vl | Family::Qwen2Moe | Family::Mimo
    );
    if keys.model_type == "olmo2" {
        return Ok((None, SlidingLayers::All));
    }
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
        Family::Olmo3 => SlidingLayers::AllButEvery(4),
        Family::Cohere2 => SlidingLayers::AllButEvery(keys.count("sliding_window_pattern")?.unwrap_or(4)),
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
        "gelu_pytorch_tanh" => Activation::GeluTanh,
        "gelu_new" => Activation::GeluNew,
        "gelu" => Activation::Gelu,
        "relu" => Activation::Relu,
        "relu2" => Activation::ReluSquared,
        "xielu" => Activation::Xielu,
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

#[cfg(test)]
mod tests;
