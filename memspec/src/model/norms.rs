//! Which norms a block has, and what Hugging Face calls them.

use super::{Architecture, Family, Norm};

/// A norm: one scale for each of `width` columns, and as many biases if it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormModule {
    /// Name within its block.
    pub module: &'static str,
    /// Columns.
    pub width: u64,
    /// Whether it has a bias.
    pub bias: bool,
}

/// The norms of a block on the residual stream, by place; `None`: nothing is normalized there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNorms {
    /// Of the attention's input; with [`Architecture::parallel_residual`] also the MLP's, unless that has its own.
    pub before_attention: Option<NormModule>,
    /// Of the attention's output.
    pub after_attention: Option<NormModule>,
    /// Of the MLP's input.
    pub before_mlp: Option<NormModule>,
    /// Of the MLP's output.
    pub after_mlp: Option<NormModule>,
}

impl Architecture {
    /// The norms of one block on the residual stream.
    pub fn stream_norms(&self) -> StreamNorms {
        let norm = |module| Some(NormModule { module, width: self.hidden, bias: self.norm == Norm::Layer });
        let before = |attention, mlp| StreamNorms {
            before_attention: norm(attention),
            after_attention: None,
            before_mlp: if self.norms_per_block == 1 { None } else { norm(mlp) },
            after_mlp: None,
        };
        match self.family {
            Family::Gemma2 | Family::Gemma3 => StreamNorms {
                before_attention: norm("input_layernorm"),
                after_attention: norm("post_attention_layernorm"),
                before_mlp: norm("pre_feedforward_layernorm"),
                after_mlp: norm("post_feedforward_layernorm"),
            },
            Family::Glm4 => StreamNorms {
                before_attention: norm("input_layernorm"),
                after_attention: norm("post_self_attn_layernorm"),
                before_mlp: norm("post_attention_layernorm"),
                after_mlp: norm("post_mlp_layernorm"),
            },
            Family::Olmo3 => StreamNorms {
                before_attention: None,
                after_attention: norm("post_attention_layernorm"),
                before_mlp: None,
                after_mlp: norm("post_feedforward_layernorm"),
            },
            Family::Apertus => before("attention_layernorm", "feedforward_layernorm"),
            Family::Gpt2 | Family::GptJ => before("ln_1", "ln_2"),
            Family::Mpt => before("norm_1", "norm_2"),
            _ => before("input_layernorm", "post_attention_layernorm"),
        }
    }

    /// The norms of queries and of keys, where they are normalized: over each head, or over all heads together
    /// ([`Architecture::qk_norm_spans_heads`]).
    pub fn query_key_norms(&self) -> Option<[NormModule; 2]> {
        let (query, key) = match self.family {
            Family::Hunyuan => ("self_attn.query_layernorm", "self_attn.key_layernorm"),
            _ => ("self_attn.q_norm", "self_attn.k_norm"),
        };
        let widths = if self.qk_norm_spans_heads { [self.query_width(), self.key_width()] } else { [self.head_dim; 2] };
        let norm = |module, width| NormModule { module, width, bias: false };
        self.qk_norm.then(|| [norm(query, widths[0]), norm(key, widths[1])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog;

    #[test]
    fn norms_count_to_what_the_architecture_counts() {
        for name in catalog::names() {
            let model = catalog::get(name).unwrap();
            let StreamNorms { before_attention, after_attention, before_mlp, after_mlp } = model.stream_norms();
            let stream = [before_attention, after_attention, before_mlp, after_mlp].into_iter().flatten();
            let all = stream.chain(model.query_key_norms().into_iter().flatten());
            let counted: u64 = all.map(|norm| if norm.bias { 2 * norm.width } else { norm.width }).sum();
            assert_eq!(counted, model.norm_parameters_per_block(), "{name}");
        }
    }
}
