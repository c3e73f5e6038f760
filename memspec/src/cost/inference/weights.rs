//! Bytes of a model's weights in each precision.

use super::{CostError, Interval, exactly, gguf};
use crate::model::{Architecture, Linear};
use crate::plan::ServePrecision;

/// Weights that share one maximum in bitsandbytes' 4 bit layout (`blocksize` of `Params4bit`), and maxima that share one of their
/// own under double quantization.
const NF4_BLOCK: u64 = 64;
const NF4_DOUBLE_BLOCK: u64 = 256;
/// Weights of an MXFP4 block, which share one 8 bit exponent (OCP Microscaling Formats 1.0; GPT-OSS's `*_blocks` and `*_scales`).
const MXFP4_BLOCK: u64 = 32;

/// The weights of a model in a precision. Embedding, head, norms, biases and routers keep 16 bits, but for GGUF, which has rules
/// of its own.
///
/// # Errors
/// mxfp4 for a model without experts.
pub(super) fn weights(model: &Architecture, precision: ServePrecision) -> Result<Interval, CostError> {
    let all = model.parameters();
    let parts = Parts::of(model);
    Ok(match precision {
        ServePrecision::F32 => exactly(4 * all),
        ServePrecision::F16 | ServePrecision::Bf16 => exactly(2 * all),
        // one f32 scale a row, as vLLM's and compressed-tensors' per-channel layout
        ServePrecision::F8 => exactly(packed(all, &parts.linears().chain(parts.experts()).collect::<Vec<_>>(), by_row)),
        // bitsandbytes packs `nn.Linear`s, and experts are no such (transformers keeps them as one parameter)
        ServePrecision::Int8 => exactly(packed(all, &parts.linears().collect::<Vec<_>>(), by_row)),
        ServePrecision::Nf4 => {
            let linears: Vec<_> = parts.linears().collect();
            let single = packed(all, &linears, |linear| nf4(linear, false));
            Interval { bytes: single, low: packed(all, &linears, |linear| nf4(linear, true)), high: single }
        }
        ServePrecision::Mxfp4 if model.experts.is_none() => {
            return Err(CostError::Unsupported {
                setting: "serve.precision",
                what: format!("mxfp4 packs experts, and `{}` has none", model.name),
            });
        }
        ServePrecision::Mxfp4 => exactly(packed(all, &parts.experts().collect::<Vec<_>>(), |linear| {
            linear.out_features * (linear.in_features / 2 + linear.in_features.div_ceil(MXFP4_BLOCK))
        })),
        ServePrecision::Q4_0
        | ServePrecision::Q4KM
        | ServePrecision::Q5KM
        | ServePrecision::Q6K
        | ServePrecision::Q8_0 => gguf::weights(model, precision),
    })
}

/// int8 or fp8 with an f32 scale for each row (bitsandbytes' `SCB`).
fn by_row(linear: &Linear) -> u64 {
    linear.weights() + 4 * linear.out_features
}

/// bitsandbytes' `Linear4bit`: half a byte a weight, `absmax` (f32 a block, or a byte a block with an f32 for each 256 of them and an
/// f32 offset), and the table of its 16 values (`quant_map`); with double quantization a table of 256 more.
fn nf4(linear: &Linear, double: bool) -> u64 {
    let weights = linear.weights();
    let blocks = weights.div_ceil(NF4_BLOCK);
    let scales = if double { blocks + 4 * blocks.div_ceil(NF4_DOUBLE_BLOCK) + 4 + 256 * 4 } else { 4 * blocks };
    weights.div_ceil(2) + scales + 16 * 4
}

/// Bytes with these linears packed, so many times each, and all else in 16 bits.
fn packed(all: u64, linears: &[(Linear, u64)], bytes: impl Fn(&Linear) -> u64) -> u64 {
    let weights: u64 = linears.iter().map(|(linear, count)| linear.weights() * count).sum();
    2 * all.saturating_sub(weights) + linears.iter().map(|(linear, count)| bytes(linear) * count).sum::<u64>()
}

/// The linears of a model by how quantizers see them, each with how often it is there.
struct Parts<'a>(&'a Architecture);

impl<'a> Parts<'a> {
    fn of(model: &'a Architecture) -> Self {
        Parts(model)
    }

    /// Of blocks, the experts and routers apart; routers stay whole.
    fn linears(&self) -> impl Iterator<Item = (Linear, u64)> + '_ {
        let model = self.0;
        let recurrent = (0..model.layers).filter(|layer| model.is_linear(*layer)).count() as u64;
        let times = |linears: Vec<Linear>, count: u64| linears.into_iter().map(move |linear| (linear, count));
        times(model.attention_linears(), model.layers - recurrent)
            .chain(times(model.linear_attention_linears(), recurrent))
            .chain(times(model.mlp_linears(), model.layers))
    }

    fn experts(&self) -> impl Iterator<Item = (Linear, u64)> + '_ {
        let count = self.0.experts.as_ref().map_or(0, |experts| experts.count) * self.0.layers;
        self.0.expert_linears().into_iter().map(move |linear| (linear, count))
    }
}
