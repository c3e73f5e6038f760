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
        (Some(parameters), _) => scaling(parameters, keys)?,
        (None, Some(old)) => scaling(&old, keys)?,
        (None, None) => match defaults.rope_kind.filter(|_| !keys.is_null("rope_scaling")) {
            Some(kind) => RopeScaling::Other { kind: kind.to_owned() },
            None => RopeScaling::None,
        },
    };
    let local_theta = local.or(defaults.local_theta).filter(|l| *l != theta);
    Ok(Rope { theta, local_theta, fraction, scaling })
}

fn scaling(keys: &Keys, config: &Keys) -> Result<RopeScaling, ConfigError> {
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
        kind => RopeScaling::Other { kind: kind.to_owned() },
    })
}
