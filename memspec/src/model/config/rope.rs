//! RoPE's keys, in the layout before and after transformers 5.

use super::super::{Rope, RopeScaling};
use super::family::Defaults;
use super::keys::Keys;
use super::{ConfigError, Nonsense};

/// `rope_theta` + `rope_scaling` + `partial_rotary_factor`, or all of them in `rope_parameters`.
pub(super) fn read(keys: &Keys, defaults: &Defaults) -> Result<Rope, ConfigError> {
    let parameters = keys.object("rope_parameters")?;
    // Gemma 3 has one object for each kind of layer
    let full = parameters.as_ref().map(|p| p.object("full_attention")).transpose()?.flatten();
    let sliding = parameters.as_ref().map(|p| p.object("sliding_attention")).transpose()?.flatten();
    let parameters = full.or(parameters);
    let inside = |key: &str| parameters.as_ref().map(|p| p.number(key)).transpose().map(Option::flatten);

    let theta = inside("rope_theta")?.or(keys.number("rope_theta")?).unwrap_or(defaults.theta);
    let local = match &sliding {
        Some(sliding) => sliding.number("rope_theta")?,
        None => keys.number("rope_local_base_freq")?,
    };
    let fraction = inside("partial_rotary_factor")?.or(keys.number("partial_rotary_factor")?);
    let fraction = fraction.unwrap_or(defaults.rope_fraction);
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(Nonsense::new("partial_rotary_factor", fraction, "it must be above 0 and at most 1").into());
    }
    let scaling = match (&parameters, keys.object("rope_scaling")?) {
        (Some(parameters), _) => scaling(parameters, keys, defaults)?,
        (None, Some(old)) => scaling(&old, keys, defaults)?,
        (None, None) => match defaults.rope_kind.filter(|_| !keys.is_null("rope_scaling")) {
            Some(kind) => RopeScaling::Other { kind: kind.to_owned() },
            None => RopeScaling::None,
        },
    };
    let local_theta = local.or(defaults.local_theta).filter(|l| *l != theta);
    Ok(Rope { theta, local_theta, fraction, scaling })
}

fn scaling(keys: &Keys, config: &Keys, defaults: &Defaults) -> Result<RopeScaling, ConfigError> {
    let kind = keys.text("rope_type")?.or(keys.text("type")?).unwrap_or("default");
    let need = |key: &'static str| match keys.number(key)? {
        Some(number) if number > 0.0 => Ok(number),
        Some(number) => Err(ConfigError::from(Nonsense::new(key, number, "it must be positive"))),
        None => Err(config.missing(&format!("rope_scaling.{key}"))),
    };
    Ok(match kind {
        // Qwen2-VL's three-dimensional positions have plain frequencies; what differs is named
        "default" if keys.has("mrope_section") => RopeScaling::Other { kind: "mrope".to_owned() },
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: need("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_max_positions: keys.need("original_max_position_embeddings")?,
        },
        // What Phi-3's first files called it (`configuration_phi3.py`).
        "su" | "yarn" if config.model_type == "phi3" => long_rope(keys, config, defaults)?,
        "longrope" => long_rope(keys, config, defaults)?,
        kind => RopeScaling::Other { kind: kind.to_owned() },
    })
}

/// `_compute_longrope_parameters` of transformers' `modeling_rope_utils.py`; what the factors are divided by is left to who rotates.
fn long_rope(keys: &Keys, config: &Keys, defaults: &Defaults) -> Result<RopeScaling, ConfigError> {
    let (short, long) = (factors(keys, "short_factor")?, factors(keys, "long_factor")?);
    let (Some(short_factors), Some(long_factors)) = (short, long) else {
        return Ok(RopeScaling::Other { kind: "longrope".to_owned() });
    };
    let key = "original_max_position_embeddings";
    let most = config.count("max_position_embeddings")?.unwrap_or(defaults.max_positions);
    // Phi-3 has it beside the scaling, and what stands there, or its class's default, goes before what stands inside.
    let original = match config.count(key)?.or(defaults.original_max_positions) {
        Some(original) => original,
        None => keys.count(key)?.unwrap_or(most),
    };
    if original < 2 {
        return Err(Nonsense::new(key, original, "it must be at least 2").into());
    }
    let factor = keys.number("factor")?.unwrap_or(most as f64 / original as f64);
    let stretched = (1.0 + factor.ln() / (original as f64).ln()).sqrt();
    let attention_factor = keys.number("attention_factor")?.unwrap_or(if factor <= 1.0 { 1.0 } else { stretched });
    Ok(RopeScaling::LongRope { short_factors, long_factors, original_max_positions: original, attention_factor })
}

/// A list of numbers.
fn factors(keys: &Keys, key: &str) -> Result<Option<Vec<f64>>, ConfigError> {
    if !keys.has(key) {
        return Ok(None);
    }
    let numbers = keys.list(key).and_then(|list| list.iter().map(serde_json::Value::as_f64).collect());
    numbers.map(Some).ok_or_else(|| keys.wrong_type(key, "a list of numbers"))
}
