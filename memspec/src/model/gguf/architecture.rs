//! `Architecture` from a GGUF header, for the architectures whose GGUF layout is Llama's.

use super::super::{Activation, Architecture, Dtype, Family, Norm, Rope, RopeScaling, SlidingLayers};
use super::{GgmlType, GgufError, Header, Nonsense, Value};

impl Header {
    /// What the model is made of, of `general.architecture` `llama`, `qwen2` or `qwen3`.
    ///
    /// Tensors keep GGUF's own names and layout (the rows of a `llama` query and key are permuted); this says shapes only.
    ///
    /// # Errors
    /// An architecture that is not known, metadata that is missing or wrong, or shapes that no model has.
    pub fn architecture(&self) -> Result<Architecture, GgufError> {
        let kind = self.text("general.architecture")?;
        let kind = kind.ok_or_else(|| GgufError::Missing("general.architecture".to_owned()))?;
        let family = match kind {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            _ => {
                let why = format!("GGUF architecture `{}` is not supported; llama, qwen2 and qwen3 are", shorten(kind));
                return Err(GgufError::Unsupported(why));
            }
        };
        let key = |rest: &str| format!("{kind}.{rest}");
        if self.count(&key("expert_count"))?.unwrap_or(0) > 0 {
            return Err(GgufError::Unsupported("a GGUF file with experts is not supported".to_owned()));
        }
        let hidden = self.need(&key("embedding_length"))?;
        let heads = self.need(&key("attention.head_count"))?;
        let head_dim = match self.count(&key("attention.key_length"))? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden % heads == 0 => hidden / heads,
            None => {
                let why = format!("it must divide embedding_length = {hidden}");
                return Err(Nonsense::new("attention.head_count", heads, why).into());
            }
        };
        let rotated = self.count(&key("rope.dimension_count"))?.unwrap_or(head_dim);
        if rotated > head_dim || (rotated == 0 && head_dim > 0) {
            return Err(Nonsense::new("rope.dimension_count", rotated, format!("a head has {head_dim}")).into());
        }
        let epsilon = key("attention.layer_norm_rms_epsilon");
        let has = |name: &str| self.tensor(name).is_some();
        let architecture = Architecture {
            name: self.text("general.name")?.map_or_else(|| kind.to_owned(), shorten),
            model_type: kind.to_owned(),
            family,
            hidden,
            layers: self.need(&key("block_count"))?,
            heads,
            kv_heads: self.count(&key("attention.head_count_kv"))?.unwrap_or(heads),
            head_dim,
            intermediate: self.need(&key("feed_forward_length"))?,
            vocab: self.vocab(&key("vocab_size"))?,
            max_positions: self.need(&key("context_length"))?,
            tied_embeddings: !has("output.weight"),
            qkv_bias: has("blk.0.attn_q.bias"),
            o_bias: has("blk.0.attn_output.bias"),
            mlp_bias: has("blk.0.ffn_up.bias"),
            head_bias: has("output.bias"),
            qk_norm: has("blk.0.attn_q_norm.weight"),
            qk_norm_spans_heads: false,
            gated_attention: false,
            linear_attention: None,
            gated_mlp: true,
            fused_linears: false,
            attention_sinks: false,
            norm: Norm::Rms,
            norms_per_block: 2,
            norm_epsilon: self.number(&epsilon)?.ok_or(GgufError::Missing(epsilon))?,
            parallel_residual: false,
            rope: Rope {
                theta: self.number(&key("rope.freq_base"))?.unwrap_or(10_000.0),
                local_theta: None,
                fraction: rotated as f64 / head_dim.max(1) as f64,
                scaling: self.rope_scaling(kind)?,
            },
            learned_positions: 0,
            sliding_window: None,
            sliding_layers: SlidingLayers::All,
            activation: Activation::Silu,
            query_scalar: None,
            attention_softcap: None,
            logit_softcap: None,
            experts: None,
            vision: None,
            dtype: self.dtype(),
            published_quantization: None,
            source: "GGUF header".to_owned(),
        };
        architecture.check()?;
        Ok(architecture)
    }

    /// Rows of the embedding; without one (a file of the vocabulary alone) what the metadata says.
    fn vocab(&self, key: &str) -> Result<u64, GgufError> {
        if let Some(rows) = self.tensor("token_embd.weight").and_then(|t| t.shape.first()) {
            return Ok(*rows);
        }
        if let Some(vocab) = self.count(key)? {
            return Ok(vocab);
        }
        let tokens = "tokenizer.ggml.tokens";
        let list = self.metadata.get(tokens).and_then(Value::as_strings);
        list.map(|t| t.len() as u64).ok_or_else(|| GgufError::Missing(tokens.to_owned()))
    }

    fn rope_scaling(&self, kind: &str) -> Result<RopeScaling, GgufError> {
        // Llama 3.1's stretch is written as a tensor of factors instead of by its parameters
        if self.tensor("rope_freqs.weight").is_some() {
            return Ok(RopeScaling::Other { kind: "rope_freqs".to_owned() });
        }
        Ok(match self.text(&format!("{kind}.rope.scaling.type"))? {
            None | Some("none") => RopeScaling::None,
            Some("linear") => {
                let key = format!("{kind}.rope.scaling.factor");
                match self.number(&key)? {
                    Some(factor) if factor > 0.0 => RopeScaling::Linear { factor },
                    _ => {
                        return Err(GgufError::Metadata { key, expected: "a positive float" });
                    }
                }
            }
            Some(other) => RopeScaling::Other { kind: shorten(other) },
        })
    }

    /// The type of the first block's down projection, and half precision where that is quantized: GGUF does not say what
    /// it was quantized from, and its scales are halves.
    fn dtype(&self) -> Dtype {
        match self.tensor("blk.0.ffn_down.weight").map(|t| t.kind) {
            Some(GgmlType::F32) => Dtype::F32,
            Some(GgmlType::BF16) => Dtype::Bf16,
            _ => Dtype::F16,
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, Value::as_str, "text")
    }

    fn count(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, Value::as_u64, "a whole number that is not negative, the same for every block")
    }

    fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, Value::as_f64, "a float")
    }

    fn need(&self, key: &str) -> Result<u64, GgufError> {
        self.count(key)?.ok_or_else(|| GgufError::Missing(key.to_owned()))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        get: impl Fn(&'a Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(value) => get(value).map(Some).ok_or_else(|| GgufError::Metadata { key: key.to_owned(), expected }),
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}
