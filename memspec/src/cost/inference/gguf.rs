//! Bytes of a model's weights as llama.cpp's `llama-quantize` writes them: a type for each tensor.
//!
//! Source: `llama_tensor_get_type` of `src/llama-quant.cpp`, without an importance matrix. Bytes of a block are [`GgmlType`]'s.

use super::Interval;
use crate::model::gguf::GgmlType;
use crate::model::{Architecture, Family, Linear};
use crate::plan::ServePrecision;

/// The weights; lower end without the embedding, which llama.cpp leaves in host memory where the head has a matrix of its own.
pub(super) fn weights(model: &Architecture, precision: ServePrecision) -> Interval {
    let mixture = Mixture { model, precision };
    let (vocab, hidden) = (model.vocab, model.hidden);
    let output = bytes(mixture.output(), vocab, hidden);
    let embedding = if model.tied_embeddings { 0 } else { bytes(mixture.base(), vocab, hidden) };
    let blocks: u64 = (0..model.layers).map(|layer| mixture.block(layer)).sum();
    // norms, biases, routers and sinks stay f32
    let linears: u64 = model.block_linears().iter().map(Linear::weights).sum();
    let expert: u64 = model.expert_linears().iter().map(Linear::weights).sum();
    let experts = model.experts.as_ref().map_or(0, |experts| experts.count);
    let tables = model.embedding_parameters() * if model.tied_embeddings { 1 } else { 2 };
    let vision = model.vision.as_ref().map_or(0, |vision| vision.parameters(hidden));
    let counted = model.layers * (linears + expert * experts) + tables + vision;
    // a tower is a file of its own (`mmproj`), in 16 bits
    let rest = 4 * model.parameters().saturating_sub(counted) + 2 * vision;
    let all = output + embedding + blocks + rest;
    Interval { bytes: all, low: all - embedding, high: all }
}

/// Which type each tensor gets.
struct Mixture<'a> {
    model: &'a Architecture,
    precision: ServePrecision,
}

impl Mixture<'_> {
    /// What a tensor gets that no rule names.
    fn base(&self) -> GgmlType {
        match self.precision {
            ServePrecision::Q4_0 => GgmlType::Q4_0,
            ServePrecision::Q4KM => GgmlType::Q4K,
            ServePrecision::Q5KM => GgmlType::Q5K,
            ServePrecision::Q6K => GgmlType::Q6K,
            _ => GgmlType::Q8_0,
        }
    }

    /// The head, or the embedding where it is the head too.
    fn output(&self) -> GgmlType {
        if self.base() == GgmlType::Q8_0 { GgmlType::Q8_0 } else { GgmlType::Q6K }
    }

    fn block(&self, layer: u64) -> u64 {
        let linear = |linear: &Linear| bytes(self.of(linear, layer), linear.out_features, linear.in_features);
        let dense: u64 = self.model.block_linears().iter().map(linear).sum();
        let expert = |expert: &Linear| match self.model.family {
            // published so, and kept so whatever the mixture
            Family::GptOss => bytes(GgmlType::Mxfp4, expert.out_features, expert.in_features),
            _ => linear(expert),
        };
        let expert: u64 = self.model.expert_linears().iter().map(expert).sum();
        dense + expert * self.model.experts.as_ref().map_or(0, |experts| experts.count)
    }

    /// The type of a linear of a layer, counted from zero.
    fn of(&self, linear: &Linear, layer: u64) -> GgmlType {
        let base = self.base();
        let mixed = matches!(self.precision, ServePrecision::Q4KM | ServePrecision::Q5KM);
        let eight = self.model.experts.as_ref().is_some_and(|experts| experts.count == 8);
        let more = mixed && more_bits(layer, self.model.layers);
        match linear.leaf() {
            "v_proj" | "k_proj" if eight => GgmlType::Q8_0,
            "v_proj" if more => GgmlType::Q6K,
            "v_proj" if base == GgmlType::Q4K && self.is_70b() => GgmlType::Q5K,
            "o_proj" if eight && base == GgmlType::Q4K => GgmlType::Q5K,
            "qkv_proj" | "query_key_value" if base == GgmlType::Q4K => GgmlType::Q5K,
            "qkv_proj" | "query_key_value" if base == GgmlType::Q5K => GgmlType::Q6K,
            "down_proj" | "fc2" if more => GgmlType::Q6K,
            _ => base,
        }
    }

    /// Llama 2 or 3 of 70 billion parameters, by which llama.cpp knows it: 80 layers and grouped heads.
    fn is_70b(&self) -> bool {
        self.model.family == Family::Llama && self.model.layers == 80 && self.model.heads != self.model.kv_heads
    }
}

/// Layers that a mixture gives more bits: the first and last eighth, and every third between.
fn more_bits(layer: u64, layers: u64) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// Bytes of a matrix, in the type that its rows allow: those that are no whole number of blocks fall back.
fn bytes(kind: GgmlType, rows: u64, columns: u64) -> u64 {
    let fits = |kind: GgmlType| columns.is_multiple_of(kind.block_size());
    let kind = match kind {
        kind if fits(kind) => kind,
        GgmlType::Q4K if fits(GgmlType::Q5_0) => GgmlType::Q5_0,
        GgmlType::Q5K if fits(GgmlType::Q5_1) => GgmlType::Q5_1,
        GgmlType::Q6K if fits(GgmlType::Q8_0) => GgmlType::Q8_0,
        _ => GgmlType::F16,
    };
    rows * (columns / kind.block_size()) * kind.block_bytes()
}
