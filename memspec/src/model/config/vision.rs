//! A config's vision tower.
//!
//! An absent key has the value of transformers' config class. What the processor does to an image is not in `config.json`:
//! the bounds are those that the models were published with.

use super::super::{Resize, Vision, VisionKind};
use super::keys::Keys;
use super::{ConfigError, Nonsense};

/// Qwen2-VL's and Qwen2.5-VL's `preprocessor_config.json`: 4 to 16384 tokens of 28 x 28 pixels.
const QWEN2: Resize = Resize::Area { min_pixels: 3136, max_pixels: 12_845_056 };
/// Qwen3-VL's and Qwen 3.5's: 64 to 16384 tokens of 32 x 32 pixels.
const QWEN3: Resize = Resize::Area { min_pixels: 65_536, max_pixels: 16_777_216 };

/// Types of models with a tower that is known.
pub(super) fn is_known(model_type: &str) -> bool {
    matches!(
        model_type,
        "qwen2_vl"
            | "qwen2_5_vl"
            | "qwen3_vl"
            | "qwen3_vl_moe"
            | "qwen3_5"
            | "qwen3_5_moe"
            | "gemma3"
            | "llava"
            | "mistral3"
    )
}

/// The tower, where the type has one.
pub(super) fn read(top: &Keys, text_hidden: u64) -> Result<Option<Vision>, ConfigError> {
    if !is_known(top.model_type) {
        return Ok(None);
    }
    let Some(keys) = top.object("vision_config")? else {
        return Err(top.missing("vision_config"));
    };
    let vision = match top.model_type {
        "qwen2_vl" => qwen2(&keys, text_hidden)?,
        "qwen2_5_vl" => qwen25(&keys, text_hidden)?,
        "gemma3" => gemma3(top, &keys)?,
        "llava" | "mistral3" => llava(top, &keys)?,
        _ => qwen3(&keys, text_hidden)?,
    };
    Ok(Some(vision))
}

/// The count, or what transformers has where it is absent.
fn count(keys: &Keys, key: &str, default: u64) -> Result<u64, ConfigError> {
    Ok(keys.count(key)?.unwrap_or(default))
}

/// Indices of blocks.
fn indices(keys: &Keys, key: &str) -> Option<Vec<u64>> {
    Some(keys.list(key)?.iter().filter_map(serde_json::Value::as_u64).collect())
}

fn reaches(keys: &Keys, key: &'static str, name: &'static str, text_hidden: u64) -> Result<(), ConfigError> {
    match keys.count(key)?.filter(|out| *out != text_hidden) {
        None => Ok(()),
        Some(out) => {
            let why = format!("it must be the language model's hidden_size = {text_hidden}");
            Err(Nonsense::new(name, out, why).into())
        }
    }
}

fn qwen2(keys: &Keys, text_hidden: u64) -> Result<Vision, ConfigError> {
    reaches(keys, "hidden_size", "vision_config.hidden_size", text_hidden)?;
    let width = count(keys, "embed_dim", 1280)?;
    Ok(Vision {
        kind: VisionKind::Qwen2Vl,
        layers: count(keys, "depth", 32)?,
        hidden: width,
        heads: count(keys, "num_heads", 16)?,
        intermediate: width.saturating_mul(count(keys, "mlp_ratio", 4)?),
        patch: keys.count("patch_size")?.or(keys.count("spatial_patch_size")?).unwrap_or(14),
        temporal_patch: count(keys, "temporal_patch_size", 2)?,
        channels: channels(keys)?,
        merge: count(keys, "spatial_merge_size", 2)?,
        resize: QWEN2,
    })
}

fn channels(keys: &Keys) -> Result<u64, ConfigError> {
    Ok(keys.count("in_channels")?.or(keys.count("in_chans")?).or(keys.count("num_channels")?).unwrap_or(3))
}

fn qwen25(keys: &Keys, text_hidden: u64) -> Result<Vision, ConfigError> {
    reaches(keys, "out_hidden_size", "vision_config.out_hidden_size", text_hidden)?;
    Ok(Vision {
        kind: VisionKind::Qwen25Vl {
            window: count(keys, "window_size", 112)?,
            full_blocks: indices(keys, "fullatt_block_indexes").unwrap_or_else(|| vec![7, 15, 23, 31]),
        },
        layers: count(keys, "depth", 32)?,
        hidden: count(keys, "hidden_size", 3584)?,
        heads: count(keys, "num_heads", 16)?,
        intermediate: count(keys, "intermediate_size", 3420)?,
        patch: keys.count("patch_size")?.or(keys.count("spatial_patch_size")?).unwrap_or(14),
        temporal_patch: count(keys, "temporal_patch_size", 2)?,
        channels: channels(keys)?,
        merge: count(keys, "spatial_merge_size", 2)?,
        resize: QWEN2,
    })
}

fn qwen3(keys: &Keys, text_hidden: u64) -> Result<Vision, ConfigError> {
    reaches(keys, "out_hidden_size", "vision_config.out_hidden_size", text_hidden)?;
    // Qwen 3.5's tower has one merger only
    let deepstack = if keys.model_type.starts_with("qwen3_vl") { vec![8, 16, 24] } else { Vec::new() };
    Ok(Vision {
        kind: VisionKind::Qwen3Vl {
            positions: count(keys, "num_position_embeddings", 2304)?,
            deepstack: indices(keys, "deepstack_visual_indexes").unwrap_or(deepstack),
        },
        layers: count(keys, "depth", 27)?,
        hidden: count(keys, "hidden_size", 1152)?,
        heads: count(keys, "num_heads", 16)?,
        intermediate: count(keys, "intermediate_size", 4304)?,
        patch: count(keys, "patch_size", 16)?,
        temporal_patch: count(keys, "temporal_patch_size", 2)?,
        channels: channels(keys)?,
        merge: count(keys, "spatial_merge_size", 2)?,
        resize: QWEN3,
    })
}

fn gemma3(top: &Keys, keys: &Keys) -> Result<Vision, ConfigError> {
    let (edge, patch) = (count(keys, "image_size", 224)?, count(keys, "patch_size", 16)?);
    // the projector pools the grid down to a square of this many tokens
    let tokens = count(top, "mm_tokens_per_image", 256)?;
    let merge = (edge / patch.max(1)) / tokens.isqrt().max(1);
    Ok(Vision {
        kind: VisionKind::Gemma3,
        layers: count(keys, "num_hidden_layers", 12)?,
        hidden: count(keys, "hidden_size", 768)?,
        heads: count(keys, "num_attention_heads", 12)?,
        intermediate: count(keys, "intermediate_size", 3072)?,
        patch,
        temporal_patch: 1,
        channels: channels(keys)?,
        merge,
        resize: Resize::Square { edge },
    })
}

/// CLIP (LLaVA 1.5) or Pixtral behind LLaVA's projector.
fn llava(top: &Keys, keys: &Keys) -> Result<Vision, ConfigError> {
    let merger = top.model_type == "mistral3";
    let tower = keys.text("model_type")?.unwrap_or(if merger { "pixtral" } else { "clip_vision_model" });
    if tower == "pixtral" {
        return Ok(Vision {
            kind: VisionKind::Pixtral { merger, bias: top.flag("multimodal_projector_bias")?.unwrap_or(!merger) },
            layers: count(keys, "num_hidden_layers", 24)?,
            hidden: count(keys, "hidden_size", 1024)?,
            heads: count(keys, "num_attention_heads", 16)?,
            intermediate: count(keys, "intermediate_size", 4096)?,
            patch: count(keys, "patch_size", 16)?,
            temporal_patch: 1,
            channels: channels(keys)?,
            merge: if merger { count(top, "spatial_merge_size", 2)? } else { 1 },
            resize: Resize::LongestEdge { edge: count(keys, "image_size", 1024)? },
        });
    }
    if tower != "clip_vision_model" {
        return Err(top.unsupported(format!("its vision tower `{tower}` is not known")));
    }
    Ok(Vision {
        kind: VisionKind::Llava,
        layers: count(keys, "num_hidden_layers", 24)?,
        hidden: count(keys, "hidden_size", 1024)?,
        heads: count(keys, "num_attention_heads", 16)?,
        intermediate: count(keys, "intermediate_size", 4096)?,
        patch: count(keys, "patch_size", 14)?,
        temporal_patch: 1,
        channels: channels(keys)?,
        merge: 1,
        resize: Resize::Square { edge: count(keys, "image_size", 336)? },
    })
}
