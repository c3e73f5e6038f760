//! The vision tower in front of a language model, and how many tokens it makes of an image.

use serde::{Deserialize, Serialize};

use super::Nonsense;

/// A vision tower with the projector that turns its output into tokens of the language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vision {
    /// How blocks and projector are built.
    pub kind: VisionKind,
    /// Blocks of the tower.
    pub layers: u64,
    /// Width of the tower.
    pub hidden: u64,
    /// Attention heads; key and value have as many.
    pub heads: u64,
    /// Width inside the tower's MLP.
    pub intermediate: u64,
    /// Edge of a patch, in pixels.
    pub patch: u64,
    /// Frames in a patch.
    pub temporal_patch: u64,
    /// Channels of the image.
    pub channels: u64,
    /// Edge, in patches, of the square that becomes one token.
    pub merge: u64,
    /// To what size the processor brings an image.
    pub resize: Resize,
}

/// How a tower and its projector are built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisionKind {
    /// Qwen2-VL: LayerNorm, a fused query-key-value linear, a plain MLP.
    Qwen2Vl,
    /// Qwen2.5-VL: RMSNorm, a gated MLP, and all but a few blocks see a window only.
    Qwen25Vl {
        /// Edge of the window, in pixels.
        window: u64,
        /// Indices of the blocks that see the whole image.
        full_blocks: Vec<u64>,
    },
    /// Qwen3-VL and Qwen 3.5: as Qwen2-VL with learned positions and, for some blocks, a merger of their own.
    Qwen3Vl {
        /// Rows of the learned positions.
        positions: u64,
        /// Indices of the blocks whose output is merged and added to the language model's first layers too.
        deepstack: Vec<u64>,
    },
    /// Gemma 3: SigLIP with learned positions, pooled to a fixed number of tokens.
    Gemma3,
    /// LLaVA 1.5: CLIP with a class token, which is left out of what the projector sees.
    Llava,
    /// Pixtral: RMSNorm, a gated MLP, two-dimensional RoPE.
    Pixtral {
        /// The projector merges squares of patches and has a norm (Mistral Small 3.1), or has neither (Pixtral 12B).
        merger: bool,
        /// The projector's linears have a bias.
        bias: bool,
    },
}

/// To what size a processor brings an image before it is cut into patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Edges become multiples of a token's edge, and the area stays between two bounds, in pixels (Qwen's `smart_resize`).
    /// The bounds are settings of the processor (`preprocessor_config.json`), not of `config.json`.
    Area {
        /// Least area.
        min_pixels: u64,
        /// Most area.
        max_pixels: u64,
    },
    /// Every image becomes a square.
    Square {
        /// Its edge, in pixels.
        edge: u64,
    },
    /// Shrunk until no edge is longer than this (Pixtral).
    LongestEdge {
        /// In pixels.
        edge: u64,
    },
}

impl Vision {
    /// Patches of one image: the length of the sequence that the tower's blocks see, a class token not counted.
    ///
    /// # Errors
    /// An image without pixels, or one that the processor refuses.
    pub fn patches(&self, width: u64, height: u64) -> Result<u64, Nonsense> {
        let (columns, rows) = self.grid(width, height)?;
        Ok(columns.saturating_mul(rows))
    }

    /// Tokens that one image takes in the language model's sequence; the markers around it (and, for Pixtral, at the end of
    /// its rows) are text.
    ///
    /// # Errors
    /// As [`Vision::patches`].
    pub fn tokens(&self, width: u64, height: u64) -> Result<u64, Nonsense> {
        let (columns, rows) = self.grid(width, height)?;
        let merge = self.merge.max(1);
        Ok((columns / merge).saturating_mul(rows / merge))
    }

    /// Patches of each window of one image, in the order that the tower sees them; one window where its blocks see the whole image.
    ///
    /// # Errors
    /// As [`Vision::patches`].
    pub fn windows(&self, width: u64, height: u64) -> Result<Vec<u64>, Nonsense> {
        let (columns, rows) = self.grid(width, height)?;
        let VisionKind::Qwen25Vl { window, .. } = self.kind else { return Ok(vec![columns.saturating_mul(rows)]) };
        // Windows are squares of tokens, cut off at the right and at the bottom (`vision_utils.py:128`, `get_vision_window_index`).
        let merge = self.merge.max(1);
        let edge = (window / merge / self.patch.max(1)).max(1);
        let cut = |tokens: u64| (0..tokens).step_by(edge as usize).map(move |first| edge.min(tokens - first));
        let of_row = |height: u64| cut(columns / merge).map(move |width| height * width * merge * merge);
        Ok(cut(rows / merge).flat_map(of_row).collect())
    }

    /// Whether the block at `index` sees a whole image.
    pub fn sees_all(&self, index: u64) -> bool {
        match &self.kind {
            VisionKind::Qwen25Vl { full_blocks, .. } => full_blocks.contains(&index),
            _ => true,
        }
    }

    /// Indices of the blocks that have a merger of their own.
    pub fn deepstack(&self) -> &[u64] {
        match &self.kind {
            VisionKind::Qwen3Vl { deepstack, .. } => deepstack,
            _ => &[],
        }
    }

    /// Columns and rows of patches of one image.
    fn grid(&self, width: u64, height: u64) -> Result<(u64, u64), Nonsense> {
        for (what, pixels) in [("image width", width), ("image height", height)] {
            if pixels == 0 || pixels > 1 << 20 {
                return Err(Nonsense::new(what, pixels, "it must be from 1 to 2^20 pixels"));
            }
        }
        let patch = self.patch.max(1);
        let token = patch.saturating_mul(self.merge.max(1));
        let (width, height) = match self.resize {
            Resize::Area { min_pixels, max_pixels } => smart_resize(width, height, token, min_pixels, max_pixels)?,
            Resize::Square { edge } => (edge, edge),
            Resize::LongestEdge { edge } => longest_edge(width, height, token, edge),
        };
        Ok((width / patch, height / patch))
    }
}

/// `smart_resize` of transformers' `image_processing_qwen2_vl.py`, in its own floating point: edges rounded to multiples of
/// `factor` (halves to even, as Python rounds), then shrunk or grown to the bounds.
fn smart_resize(width: u64, height: u64, factor: u64, min: u64, max: u64) -> Result<(u64, u64), Nonsense> {
    let (w, h, f) = (width as f64, height as f64, factor as f64);
    if w.max(h) / w.min(h) > 200.0 {
        let why = "the processor takes no image whose one edge is over 200 times the other";
        return Err(Nonsense::new("image size", format!("{width}x{height}"), why));
    }
    let rounded = |edge: f64| (edge / f).round_ties_even() * f;
    let area = rounded(w) * rounded(h);
    let (w, h) = if area > max as f64 {
        let beta = (h * w / max as f64).sqrt();
        let shrunk = |edge: f64| f.max((edge / beta / f).floor() * f);
        (shrunk(w), shrunk(h))
    } else if area < min as f64 {
        let beta = (min as f64 / (h * w)).sqrt();
        let grown = |edge: f64| (edge * beta / f).ceil() * f;
        (grown(w), grown(h))
    } else {
        (rounded(w), rounded(h))
    };
    Ok((w as u64, h as u64))
}

/// `get_resize_output_image_size` of transformers' `image_processing_pixtral.py`: shrunk to the edge, then up to whole tokens.
fn longest_edge(width: u64, height: u64, token: u64, edge: u64) -> (u64, u64) {
    let ratio = (width as f64 / edge.max(1) as f64).max(height as f64 / edge.max(1) as f64);
    let fit = |pixels: u64| {
        let pixels = if ratio > 1.0 { (pixels as f64 / ratio).floor() as u64 } else { pixels };
        pixels.max(1).div_ceil(token.max(1)).saturating_mul(token)
    };
    (fit(width), fit(height))
}

#[cfg(test)]
mod tests;
