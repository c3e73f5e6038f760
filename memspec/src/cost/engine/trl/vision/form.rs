//! How a tower is put together, where that is not in the numbers of its [`Vision`]: read from `transformers/models/NAME/modeling_NAME.py`.

use super::super::form::NormKind;
use crate::model::{Vision, VisionKind};

/// How a tower computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Its blocks' norms.
    pub(super) norm: NormKind,
    /// The nonlinearity is `quick_gelu`, three operations (`activations.py:123`); elsewhere it is one kernel.
    pub(super) quick_gelu: bool,
    /// How queries and keys are rotated.
    pub(super) rotation: Rotation,
    /// What attends to what.
    pub(super) attention: Attention,
    /// The module that PEFT asks input gradients of is the patch embedding (`modeling_utils.py:2134`); Qwen3-VL's tower names none (`modeling_qwen3_vl.py`,
    /// `Qwen3VLVisionModel`).
    pub(super) hooked: bool,
    /// All blocks' outputs are asked for (`modeling_llava.py:155`, `modeling_mistral3.py:241`).
    pub(super) keeps_states: bool,
    /// The residual stream is stored channels first, as the convolution left it, so that each norm copies it (`modeling_siglip.py:178`).
    pub(super) channels_first: bool,
    /// Pixels in the model's type are a local of the caller (`get_image_features`); elsewhere they go once they are patches.
    pub(super) keeps_pixels: bool,
}

/// How queries and keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// They are not: positions are learned.
    None,
    /// In float32 (`apply_rotary_pos_emb_vision`).
    Wide,
    /// In their own type (`modeling_pixtral.py:117`).
    Own,
}

/// What attends to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// All images' patches are one sequence, which each call splits into images or windows, and joins again.
    Split,
    /// Images are a batch.
    Batch,
    /// All images' patches are one sequence with a mask (`modeling_pixtral.py:374`).
    Masked,
}

impl Form {
    /// That of a tower's kind.
    pub(super) fn of(vision: &Vision) -> Self {
        let qwen = Self {
            norm: NormKind::Layer,
            quick_gelu: false,
            rotation: Rotation::Wide,
            attention: Attention::Split,
            hooked: true,
            keeps_states: false,
            channels_first: false,
            keeps_pixels: true,
        };
        let learned = Self { rotation: Rotation::None, attention: Attention::Batch, keeps_pixels: false, ..qwen };
        match vision.kind {
            VisionKind::Qwen2Vl => Self { quick_gelu: true, ..qwen },
            VisionKind::Qwen25Vl { .. } => Self { norm: NormKind::Rms, ..qwen },
            VisionKind::Qwen3Vl { .. } => Self { hooked: false, ..qwen },
            VisionKind::Gemma3 => Self { channels_first: true, ..learned },
            VisionKind::Llava => Self { quick_gelu: true, keeps_states: true, ..learned },
            VisionKind::Pixtral { .. } => Self {
                norm: NormKind::Rms,
                rotation: Rotation::Own,
                attention: Attention::Masked,
                keeps_states: true,
                ..learned
            },
        }
    }
}

/// Blocks whose output is read by what comes behind the tower: all but LLaVA's last (`vision_feature_layer = -2`), to which no gradient comes.
pub(super) fn read_blocks(vision: &Vision, blocks: usize) -> usize {
    blocks - usize::from(vision.kind == VisionKind::Llava && blocks > 1)
}
