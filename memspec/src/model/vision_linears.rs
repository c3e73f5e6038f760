//! Which linears a vision tower and its projector have, and how many parameters they are. Names are transformers' own.

use super::{Linear, Resize, Vision, VisionKind};

impl Vision {
    /// The linears of one block of the tower, in forward order.
    pub fn block_linears(&self) -> Vec<Linear> {
        let (hidden, inside) = (self.hidden, self.intermediate);
        let square = |name: &str, bias| Linear::new(name, hidden, hidden, bias);
        let up = |name: &str, bias| Linear::new(name, inside, hidden, bias);
        let down = |name: &str, bias| Linear::new(name, hidden, inside, bias);
        let qkv = Linear::new("attn.qkv", hidden.saturating_mul(3), hidden, true);
        match self.kind {
            VisionKind::Qwen2Vl => vec![qkv, square("attn.proj", true), up("mlp.fc1", true), down("mlp.fc2", true)],
            VisionKind::Qwen25Vl { .. } => vec![
                qkv,
                square("attn.proj", true),
                up("mlp.gate_proj", true),
                up("mlp.up_proj", true),
                down("mlp.down_proj", true),
            ],
            VisionKind::Qwen3Vl { .. } => {
                vec![qkv, square("attn.proj", true), up("mlp.linear_fc1", true), down("mlp.linear_fc2", true)]
            }
            VisionKind::Gemma3 | VisionKind::Llava => vec![
                square("self_attn.q_proj", true),
                square("self_attn.k_proj", true),
                square("self_attn.v_proj", true),
                square("self_attn.out_proj", true),
                up("mlp.fc1", true),
                down("mlp.fc2", true),
            ],
            VisionKind::Pixtral { .. } => vec![
                square("attention.q_proj", false),
                square("attention.k_proj", false),
                square("attention.v_proj", false),
                square("attention.o_proj", false),
                up("feed_forward.gate_proj", false),
                up("feed_forward.up_proj", false),
                down("feed_forward.down_proj", false),
            ],
        }
    }

    /// The linears of the projector, which makes tokens of width `text_hidden`; of Qwen3-VL without the further mergers.
    pub fn merger_linears(&self, text_hidden: u64) -> Vec<Linear> {
        let square = self.merged_width();
        let (first, second) = match self.kind {
            VisionKind::Qwen2Vl | VisionKind::Qwen25Vl { .. } => ("merger.mlp.0", "merger.mlp.2"),
            VisionKind::Qwen3Vl { .. } => ("merger.linear_fc1", "merger.linear_fc2"),
            // a bare parameter, no linear that an adapter could go on
            VisionKind::Gemma3 => {
                return vec![Linear::new(
                    "multi_modal_projector.mm_input_projection_weight",
                    text_hidden,
                    self.hidden,
                    false,
                )];
            }
            VisionKind::Llava => return self.projector(text_hidden, true),
            VisionKind::Pixtral { merger, bias } => {
                let mut linears = Vec::new();
                if merger {
                    let name = "multi_modal_projector.patch_merger.merging_layer";
                    linears.push(Linear::new(name, self.hidden, square, false));
                }
                linears.extend(self.projector(text_hidden, bias));
                return linears;
            }
        };
        vec![Linear::new(first, square, square, true), Linear::new(second, text_hidden, square, true)]
    }

    fn projector(&self, text_hidden: u64, bias: bool) -> Vec<Linear> {
        vec![
            Linear::new("multi_modal_projector.linear_1", text_hidden, self.hidden, bias),
            Linear::new("multi_modal_projector.linear_2", text_hidden, text_hidden, bias),
        ]
    }

    /// Width of the square of patches that becomes one token.
    pub(crate) fn merged_width(&self) -> u64 {
        self.merge.saturating_mul(self.merge).saturating_mul(self.hidden)
    }

    /// Numbers in one patch: what the patch embedding reads.
    pub fn patch_width(&self) -> u64 {
        [self.channels, self.temporal_patch, self.patch, self.patch].into_iter().fold(1, u64::saturating_mul)
    }

    /// Projectors: Qwen3-VL has one for each of its depths.
    pub(crate) fn mergers(&self) -> u64 {
        1 + self.deepstack().len() as u64
    }

    /// Parameters of the tower with its projector.
    pub fn parameters(&self, text_hidden: u64) -> u64 {
        let block = sum(self.block_linears().iter().map(Linear::parameters));
        let norms = self.norm_parameters(self.hidden).saturating_mul(2);
        sum([
            self.embedding_parameters(),
            self.layers.saturating_mul(block.saturating_add(norms)),
            self.projector_parameters(text_hidden),
        ])
    }

    /// Patch embedding, learned positions, class token, and the norms around the blocks.
    fn embedding_parameters(&self) -> u64 {
        let (hidden, norm) = (self.hidden, self.norm_parameters(self.hidden));
        let patches = self.patch_width().saturating_mul(hidden);
        let positions = self.positions().saturating_mul(hidden);
        match self.kind {
            VisionKind::Qwen2Vl | VisionKind::Qwen25Vl { .. } => patches,
            VisionKind::Qwen3Vl { .. } => sum([patches, hidden, positions]),
            VisionKind::Gemma3 => sum([patches, hidden, positions, norm]),
            // the class token; a norm before the blocks and one after
            VisionKind::Llava => sum([patches, hidden, positions, norm, norm]),
            VisionKind::Pixtral { .. } => sum([patches, norm]),
        }
    }

    /// Rows of the learned positions; 0: there are none.
    pub(crate) fn positions(&self) -> u64 {
        let edge = match self.resize {
            Resize::Square { edge } => edge / self.patch.max(1),
            _ => 0,
        };
        let patches = edge.saturating_mul(edge);
        match self.kind {
            VisionKind::Qwen3Vl { positions, .. } => positions,
            VisionKind::Gemma3 => patches,
            // and the class token
            VisionKind::Llava => patches.saturating_add(1),
            VisionKind::Qwen2Vl | VisionKind::Qwen25Vl { .. } | VisionKind::Pixtral { .. } => 0,
        }
    }

    fn projector_parameters(&self, text_hidden: u64) -> u64 {
        let linears = sum(self.merger_linears(text_hidden).iter().map(Linear::parameters));
        let square = self.merged_width();
        let norms = match &self.kind {
            VisionKind::Qwen2Vl | VisionKind::Qwen25Vl { .. } => self.norm_parameters(self.hidden),
            VisionKind::Qwen3Vl { deepstack, .. } => {
                // the further mergers normalize the whole square
                let further = linears.saturating_add(self.norm_parameters(square));
                self.norm_parameters(self.hidden).saturating_add((deepstack.len() as u64).saturating_mul(further))
            }
            VisionKind::Gemma3 => self.hidden,
            VisionKind::Llava | VisionKind::Pixtral { merger: false, .. } => 0,
            VisionKind::Pixtral { merger: true, .. } => self.hidden,
        };
        linears.saturating_add(norms)
    }

    /// A norm of this width: RMSNorm, or LayerNorm with its bias.
    fn norm_parameters(&self, width: u64) -> u64 {
        match self.kind {
            VisionKind::Qwen25Vl { .. } | VisionKind::Pixtral { .. } => width,
            _ => width.saturating_mul(2),
        }
    }
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}
