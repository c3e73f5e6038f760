//! Which linears a block has, by the names that Hugging Face gives them, and how many parameters all of it is.

use super::{Architecture, Experts, Family, Norm, Vision};

/// A linear layer: `out_features` rows of `in_features` weights, and as many biases as rows if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Name within its block (`self_attn.q_proj`), or whole for the head.
    pub module: String,
    /// Rows.
    pub out_features: u64,
    /// Columns.
    pub in_features: u64,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Linear {
    fn new(module: &str, out_features: u64, in_features: u64, bias: bool) -> Linear {
        Linear { module: module.to_owned(), out_features, in_features, bias }
    }

    /// The last part of the name: `q_proj`.
    pub fn leaf(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }

    /// Weights, without the bias.
    pub fn weights(&self) -> u64 {
        self.out_features.saturating_mul(self.in_features)
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        self.weights().saturating_add(if self.bias { self.out_features } else { 0 })
    }
}

impl Architecture {
    /// The linears of one block in the order that a forward pass reaches them: attention, then MLP.
    ///
    /// A block with experts has its attention only here; see [`Architecture::router`] and [`Architecture::expert_linears`].
    pub fn block_linears(&self) -> Vec<Linear> {
        let mut linears = self.attention_linears();
        linears.extend(self.mlp_linears());
        linears
    }

    /// The attention's linears of one block.
    pub fn attention_linears(&self) -> Vec<Linear> {
        let (hidden, query, key) = (self.hidden, self.query_width(), self.key_width());
        let fused = query.saturating_add(key).saturating_add(key);
        match self.family {
            Family::Falcon => vec![
                Linear::new("self_attention.query_key_value", fused, hidden, self.qkv_bias),
                Linear::new("self_attention.dense", hidden, query, self.o_bias),
            ],
            _ if self.fused_linears => vec![
                Linear::new("self_attn.qkv_proj", fused, hidden, self.qkv_bias),
                Linear::new("self_attn.o_proj", hidden, query, self.o_bias),
            ],
            _ => {
                let out = if self.family == Family::Phi { "self_attn.dense" } else { "self_attn.o_proj" };
                vec![
                    Linear::new("self_attn.q_proj", query, hidden, self.qkv_bias),
                    Linear::new("self_attn.k_proj", key, hidden, self.qkv_bias),
                    Linear::new("self_attn.v_proj", key, hidden, self.qkv_bias),
                    Linear::new(out, hidden, query, self.o_bias),
                ]
            }
        }
    }

    /// The MLP's linears of one dense block; none where the MLP is a mixture of experts.
    pub fn mlp_linears(&self) -> Vec<Linear> {
        let (hidden, inside, bias) = (self.hidden, self.intermediate, self.mlp_bias);
        if self.experts.is_some() {
            return Vec::new();
        }
        match self.family {
            Family::Falcon => vec![
                Linear::new("mlp.dense_h_to_4h", inside, hidden, bias),
                Linear::new("mlp.dense_4h_to_h", hidden, inside, bias),
            ],
            Family::Phi => {
                vec![Linear::new("mlp.fc1", inside, hidden, bias), Linear::new("mlp.fc2", hidden, inside, bias)]
            }
            _ if !self.gated_mlp => vec![
                Linear::new("mlp.up_proj", inside, hidden, bias),
                Linear::new("mlp.down_proj", hidden, inside, bias),
            ],
            _ if self.fused_linears => vec![
                Linear::new("mlp.gate_up_proj", inside.saturating_mul(2), hidden, bias),
                Linear::new("mlp.down_proj", hidden, inside, bias),
            ],
            _ => vec![
                Linear::new("mlp.gate_proj", inside, hidden, bias),
                Linear::new("mlp.up_proj", inside, hidden, bias),
                Linear::new("mlp.down_proj", hidden, inside, bias),
            ],
        }
    }

    /// The router of one block with experts.
    pub fn router(&self) -> Option<Linear> {
        let experts = self.experts.as_ref()?;
        let module = if self.family == Family::GptOss { "mlp.router" } else { "mlp.gate" };
        Some(Linear::new(module, experts.count, self.hidden, experts.router_bias))
    }

    /// The linears of one expert. transformers 5 keeps those of all experts of a block in one parameter of three
    /// dimensions, `mlp.experts.gate_up_proj` and `mlp.experts.down_proj`; these are one expert's slices of it.
    pub fn expert_linears(&self) -> Vec<Linear> {
        let Some(Experts { intermediate, bias, .. }) = self.experts else {
            return Vec::new();
        };
        vec![
            Linear::new("mlp.experts.gate_up_proj", intermediate.saturating_mul(2), self.hidden, bias),
            Linear::new("mlp.experts.down_proj", self.hidden, intermediate, bias),
        ]
    }

    /// The head: from the residual stream to the vocabulary. Its weight is the embedding's where those are tied.
    pub fn head_linear(&self) -> Linear {
        Linear::new("lm_head", self.vocab, self.hidden, self.head_bias)
    }

    /// Parameters of one norm on the residual stream.
    pub fn norm_parameters(&self) -> u64 {
        match self.norm {
            Norm::Rms => self.hidden,
            Norm::Layer => self.hidden.saturating_mul(2),
        }
    }

    /// Parameters of all norms of one block, those of queries and keys included.
    pub fn norm_parameters_per_block(&self) -> u64 {
        let stream = self.norms_per_block.saturating_mul(self.norm_parameters());
        stream.saturating_add(if self.qk_norm { self.head_dim.saturating_mul(2) } else { 0 })
    }

    /// Parameters of one block: linears, router, experts, norms, sinks.
    pub fn block_parameters(&self) -> u64 {
        let linears = sum(self.block_linears().iter().map(Linear::parameters));
        let router = self.router().map_or(0, |r| r.parameters());
        let expert = sum(self.expert_linears().iter().map(Linear::parameters));
        let experts = self.experts.as_ref().map_or(0, |e| e.count.saturating_mul(expert));
        let sinks = if self.attention_sinks { self.heads } else { 0 };
        sum([linears, router, experts, self.norm_parameters_per_block(), sinks])
    }

    /// Parameters of the embedding.
    pub fn embedding_parameters(&self) -> u64 {
        self.vocab.saturating_mul(self.hidden)
    }

    /// Parameters that the head adds: its bias alone where its weight is the embedding's.
    pub fn head_parameters(&self) -> u64 {
        let head = self.head_linear();
        if self.tied_embeddings { head.parameters() - head.weights() } else { head.parameters() }
    }

    /// Parameters of the whole model, exactly, a tied weight counted once. Never overflows: an architecture that did not
    /// pass [`Architecture::check`] may give `u64::MAX`.
    pub fn parameters(&self) -> u64 {
        sum([
            self.embedding_parameters(),
            self.head_parameters(),
            self.layers.saturating_mul(self.block_parameters()),
            self.norm_parameters(),
            self.vision.as_ref().map_or(0, |v| v.parameters(self.hidden)),
        ])
    }
}

impl Vision {
    /// The linears of one block of the tower, in forward order.
    pub fn block_linears(&self) -> Vec<Linear> {
        vec![
            Linear::new("attn.qkv", self.hidden.saturating_mul(3), self.hidden, true),
            Linear::new("attn.proj", self.hidden, self.hidden, true),
            Linear::new("mlp.fc1", self.intermediate, self.hidden, true),
            Linear::new("mlp.fc2", self.hidden, self.intermediate, true),
        ]
    }

    /// The linears of the merger, which makes one token of width `text_hidden` of a square of patches.
    pub fn merger_linears(&self, text_hidden: u64) -> Vec<Linear> {
        let square = self.merge.saturating_mul(self.merge).saturating_mul(self.hidden);
        vec![Linear::new("merger.mlp.0", square, square, true), Linear::new("merger.mlp.2", text_hidden, square, true)]
    }

    /// Numbers in one patch: what the patch embedding reads.
    pub fn patch_width(&self) -> u64 {
        [self.channels, self.temporal_patch, self.patch, self.patch].into_iter().fold(1, u64::saturating_mul)
    }

    /// Parameters of the tower with its merger.
    pub fn parameters(&self, text_hidden: u64) -> u64 {
        let norm = self.hidden.saturating_mul(2);
        let block = sum(self.block_linears().iter().map(Linear::parameters).chain([norm, norm]));
        let merger = sum(self.merger_linears(text_hidden).iter().map(Linear::parameters).chain([norm]));
        sum([self.patch_width().saturating_mul(self.hidden), self.layers.saturating_mul(block), merger])
    }
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}
