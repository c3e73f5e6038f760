//! Which linears a block has, by the names that Hugging Face gives them, and how many parameters all of it is.

use super::{Architecture, Experts, Family, LinearAttention, Norm, PublishedQuantization};

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
    pub(super) fn new(module: &str, out_features: u64, in_features: u64, bias: bool) -> Linear {
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
    /// A block with experts has its attention only here; see [`Architecture::router`], [`Architecture::expert_linears`] and
    /// [`Architecture::shared_expert_linears`]. Nor are blocks with linear attention here
    /// ([`Architecture::linear_attention_linears`]).
    pub fn block_linears(&self) -> Vec<Linear> {
        let mut linears = self.attention_linears();
        linears.extend(self.mlp_linears());
        linears
    }

    /// The attention's linears of one block; of one with softmax attention, where others have linear attention.
    pub fn attention_linears(&self) -> Vec<Linear> {
        let (hidden, query, key) = (self.hidden, self.query_width(), self.key_width());
        let (at, fused, out) = match self.family {
            Family::Falcon => ("self_attention", "query_key_value", "dense"),
            Family::GptNeoX => ("attention", "query_key_value", "dense"),
            Family::Gpt2 | Family::Qwen => ("attn", "c_attn", "c_proj"),
            Family::Mpt => ("attn", "Wqkv", "out_proj"),
            Family::Dbrx => ("norm_attn_norm.attn", "Wqkv", "out_proj"),
            Family::GptJ => ("attn", "", "out_proj"),
            Family::Phi => ("self_attn", "", "dense"),
            _ => ("self_attn", "qkv_proj", "o_proj"),
        };
        let linear = |name: &str, rows, columns, bias| Linear::new(&format!("{at}.{name}"), rows, columns, bias);
        let mut linears = if self.fused_linears {
            vec![linear(fused, query.saturating_add(key).saturating_add(key), hidden, self.qkv_bias)]
        } else {
            let query = if self.gated_attention { query.saturating_mul(2) } else { query };
            vec![
                linear("q_proj", query, hidden, self.qkv_bias),
                linear("k_proj", key, hidden, self.qkv_bias),
                linear("v_proj", key, hidden, self.qkv_bias),
            ]
        };
        linears.push(linear(out, hidden, query, self.o_bias));
        linears
    }

    /// The linears of one block with linear attention, before its MLP; none where no block has it.
    pub fn linear_attention_linears(&self) -> Vec<Linear> {
        let Some(linear) = &self.linear_attention else {
            return Vec::new();
        };
        let (hidden, values) = (self.hidden, linear.value_heads.saturating_mul(linear.value_dim));
        let out = Linear::new("linear_attn.out_proj", hidden, values, false);
        if self.family == Family::Qwen3Next {
            let heads = linear.value_heads.saturating_mul(2);
            return vec![
                Linear::new("linear_attn.in_proj_qkvz", linear.conv_width().saturating_add(values), hidden, false),
                Linear::new("linear_attn.in_proj_ba", heads, hidden, false),
                out,
            ];
        }
        vec![
            Linear::new("linear_attn.in_proj_qkv", linear.conv_width(), hidden, false),
            Linear::new("linear_attn.in_proj_z", values, hidden, false),
            Linear::new("linear_attn.in_proj_b", linear.value_heads, hidden, false),
            Linear::new("linear_attn.in_proj_a", linear.value_heads, hidden, false),
            out,
        ]
    }

    /// The MLP's linears of one dense block; none where the MLP is a mixture of experts.
    pub fn mlp_linears(&self) -> Vec<Linear> {
        if self.experts.is_some() { Vec::new() } else { self.dense_mlp_linears() }
    }

    /// The MLP's linears of one dense block, which a model with experts may begin with too.
    pub fn dense_mlp_linears(&self) -> Vec<Linear> {
        let (hidden, inside, bias) = (self.hidden, self.intermediate, self.mlp_bias);
        let up = |name: &str| Linear::new(name, inside, hidden, bias);
        let down = |name: &str| Linear::new(name, hidden, inside, bias);
        match self.family {
            Family::Falcon | Family::GptNeoX => vec![up("mlp.dense_h_to_4h"), down("mlp.dense_4h_to_h")],
            Family::Phi => vec![up("mlp.fc1"), down("mlp.fc2")],
            Family::GptJ => vec![up("mlp.fc_in"), down("mlp.fc_out")],
            Family::Gpt2 | Family::Starcoder2 => vec![up("mlp.c_fc"), down("mlp.c_proj")],
            Family::Mpt => vec![up("ffn.up_proj"), down("ffn.down_proj")],
            Family::Qwen => vec![up("mlp.w1"), up("mlp.w2"), down("mlp.c_proj")],
            _ if !self.gated_mlp => vec![up("mlp.up_proj"), down("mlp.down_proj")],
            _ if self.fused_linears || self.family == Family::Glm4 => {
                vec![Linear::new("mlp.gate_up_proj", inside.saturating_mul(2), hidden, bias), down("mlp.down_proj")]
            }
            _ => vec![up("mlp.gate_proj"), up("mlp.up_proj"), down("mlp.down_proj")],
        }
    }

    /// The linears of the expert that every token goes through, its gate last; none where there is no such expert.
    pub fn shared_expert_linears(&self) -> Vec<Linear> {
        let Some(Experts { shared_intermediate, shared_gate, .. }) = self.experts else {
            return Vec::new();
        };
        if shared_intermediate == 0 {
            return Vec::new();
        }
        let at = if self.family == Family::Glm4Moe { "mlp.shared_experts" } else { "mlp.shared_expert" };
        let linear = |name: &str, rows, columns| Linear::new(&format!("{at}.{name}"), rows, columns, false);
        let mut linears = vec![
            linear("gate_proj", shared_intermediate, self.hidden),
            linear("up_proj", shared_intermediate, self.hidden),
            linear("down_proj", self.hidden, shared_intermediate),
        ];
        if shared_gate {
            linears.push(Linear::new("mlp.shared_expert_gate", 1, self.hidden, false));
        }
        linears
    }

    /// The router of one block with experts.
    pub fn router(&self) -> Option<Linear> {
        let experts = self.experts.as_ref()?;
        let module = match self.family {
            Family::GptOss => "mlp.router",
            Family::Dbrx => "ffn.router.layer",
            _ => "mlp.gate",
        };
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
        let module = if self.family == Family::GptNeoX { "embed_out" } else { "lm_head" };
        Linear::new(module, self.vocab, self.hidden, self.head_bias)
    }

    /// Parameters of one norm on the residual stream.
    pub fn norm_parameters(&self) -> u64 {
        match self.norm {
            Norm::Rms | Norm::LayerWithoutBias => self.hidden,
            Norm::Layer => self.hidden.saturating_mul(2),
        }
    }

    /// Parameters of all norms of one block, those of queries and keys included.
    pub fn norm_parameters_per_block(&self) -> u64 {
        self.stream_norm_parameters().saturating_add(self.qk_norm_parameters())
    }

    fn stream_norm_parameters(&self) -> u64 {
        self.norms_per_block.saturating_mul(self.norm_parameters())
    }

    fn qk_norm_parameters(&self) -> u64 {
        match (self.qk_norm, self.qk_norm_spans_heads) {
            (false, _) => 0,
            (true, false) => self.head_dim.saturating_mul(2),
            (true, true) => self.query_width().saturating_add(self.key_width()),
        }
    }

    /// Parameters of one block: linears, router, experts, norms, sinks. Where blocks differ, of one with softmax attention and
    /// with experts.
    pub fn block_parameters(&self) -> u64 {
        sum([self.attention_parameters(), self.mlp_parameters(), self.stream_norm_parameters()])
    }

    /// Softmax attention with its norms and sinks.
    fn attention_parameters(&self) -> u64 {
        let linears = parameters(&self.attention_linears());
        sum([linears, self.qk_norm_parameters(), if self.attention_sinks { self.heads } else { 0 }])
    }

    /// Linear attention: linears, convolution, a decay and a time step for each value head, the output's norm.
    fn linear_attention_parameters(&self) -> u64 {
        self.linear_attention.as_ref().map_or(0, |linear| {
            let heads = linear.value_heads.saturating_mul(2);
            let conv = linear.conv_width().saturating_mul(linear.conv);
            sum([parameters(&self.linear_attention_linears()), conv, heads, linear.value_dim])
        })
    }

    /// The MLP of a block with experts where there are any, else the dense one.
    fn mlp_parameters(&self) -> u64 {
        let Some(experts) = &self.experts else {
            return self.dense_mlp_parameters();
        };
        let routed = experts.count.saturating_mul(parameters(&self.expert_linears()));
        let router = self.router().map_or(0, |r| r.parameters());
        sum([routed, router, parameters(&self.shared_expert_linears())])
    }

    fn dense_mlp_parameters(&self) -> u64 {
        // Apertus' activation has two learned numbers
        let activation = if self.family == Family::Apertus { 2 } else { 0 };
        parameters(&self.dense_mlp_linears()).saturating_add(activation)
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
        let linear = self.linear_attention.as_ref().map_or(0, |l| self.layers - self.layers / l.full_every.max(1));
        let dense = self.experts.as_ref().map_or(0, |e| e.first_dense.min(self.layers));
        sum([
            self.embedding_parameters(),
            self.learned_positions.saturating_mul(self.hidden),
            self.head_parameters(),
            (self.layers - linear).saturating_mul(self.attention_parameters()),
            linear.saturating_mul(self.linear_attention_parameters()),
            (self.layers - dense).saturating_mul(self.mlp_parameters()),
            dense.saturating_mul(self.dense_mlp_parameters()),
            self.layers.saturating_mul(self.stream_norm_parameters()),
            self.norm_parameters(),
            self.vision.as_ref().map_or(0, |v| v.parameters(self.hidden)),
        ])
    }
}

impl Architecture {
    /// Bytes of the published checkpoint's tensors; `None` where it is quantized in a way whose layout is not known.
    pub fn published_bytes(&self) -> Option<u64> {
        let all = self.parameters().saturating_mul(self.dtype.bytes());
        match &self.published_quantization {
            None => Some(all),
            Some(PublishedQuantization::Other { .. }) => None,
            Some(PublishedQuantization::Mxfp4Experts) => {
                let experts = self.experts.as_ref().map_or(0, |e| e.count);
                let one: u64 = sum(self.expert_linears().iter().map(Linear::weights));
                let weights = [self.layers, experts, one].into_iter().fold(1, u64::saturating_mul);
                let packed = (weights / 2).saturating_add(weights / 32);
                Some(all.saturating_sub(weights.saturating_mul(self.dtype.bytes())).saturating_add(packed))
            }
        }
    }
}

impl LinearAttention {
    /// Width of queries, keys and values together, which the convolution runs over.
    pub fn conv_width(&self) -> u64 {
        let keys = self.key_heads.saturating_mul(self.key_dim);
        self.value_heads.saturating_mul(self.value_dim).saturating_add(keys).saturating_add(keys)
    }
}

fn parameters(linears: &[Linear]) -> u64 {
    sum(linears.iter().map(Linear::parameters))
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}
