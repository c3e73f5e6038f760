//! What serving a model takes: its weights, its cache of keys and values, the workspace of a prompt, and the context.
//!
//! Nothing is replayed here. A server takes its cache once and each pass has the same few buffers, so these are sums, each with
//! its source. What servers do differently is the interval: it ends where the frugal and the generous ones are.

mod gguf;
mod weights;

use serde::Serialize;

use super::{CostError, Interval};
use crate::device::Device;
use crate::model::Architecture;
use crate::plan::{CachePrecision, ServePrecision};
use crate::setup::Serve;

/// Tokens of one page of vLLM's cache (`CacheConfig.block_size` on CUDA); a conversation's last page is not full.
const PAGE_TOKENS: u64 = 16;
/// Tokens that llama.cpp computes together (`n_ubatch` of `llama_context_default_params`), the least of the common servers.
const LEAST_CHUNK: u64 = 512;
/// Values that share one 16 bit scale in an int8 cache: ggml's `Q8_0`, what llama.cpp's `--cache-type-k q8_0` stores.
const CACHE_BLOCK: u64 = 32;

/// What serving takes on one device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inference {
    /// The weights with their scales. Lower end: with double quantization (nf4), or with the embedding left in host memory, as
    /// llama.cpp does (GGUF).
    pub weights: Interval,
    /// Keys and values of every conversation at its full context. Upper end: whole pages of 16 tokens.
    pub cache: Interval,
    /// What a pass over prompts holds beside them. Lower end: 512 tokens at a time; estimate: one whole prompt; upper end: the
    /// prompts of all conversations together.
    pub workspace: Interval,
    /// The process's context on the device.
    pub context: Interval,
    /// All of it.
    pub total: Interval,
}

/// What serving a model takes on a device.
///
/// - weights: `weights`, by the precision's layout.
/// - cache: for each layer 2 x kv_heads x head_dim x tokens x bytes of a value, for each conversation; a layer with a sliding
///   window keeps the window's tokens only.
/// - workspace: for each token that is computed together the residual stream twice, and the widest of what stands beside it: the
///   feed-forward part's gate, up and product (of all experts of a token), or queries, keys, values and attention's output, in the
///   16 bit type of compute (32 bit for f32); the last token's logits of each conversation in 32 bit; the largest matrix unpacked,
///   where a product unpacks it (nf4: bitsandbytes' `matmul_4bit` for more than one row); and cuBLAS's workspace.
/// - context: the device's.
///
/// # Errors
/// A precision that the model has no weights in (mxfp4 without experts), or sizes that no machine holds.
pub fn inference(model: &Architecture, serve: &Serve, device: &Device) -> Result<Inference, CostError> {
    check(model, serve)?;
    let weights = weights::weights(model, serve.precision)?;
    let cache = Interval {
        bytes: cache(model, serve, serve.context),
        low: cache(model, serve, serve.context),
        high: cache(model, serve, serve.context.next_multiple_of(PAGE_TOKENS)),
    };
    let together = serve.context * u64::from(serve.concurrency);
    let fixed = unpacked(model, serve.precision) + logits(model, serve) + device.workspace_bytes();
    let workspace = |tokens: u64| fixed + tokens * token_bytes(model, serve.precision);
    let workspace = Interval {
        bytes: workspace(serve.context),
        low: workspace(serve.context.min(LEAST_CHUNK)),
        high: workspace(together),
    };
    let context = exactly(device.occupied().0);
    let parts = [weights, cache, workspace, context];
    let sum = |each: fn(&Interval) -> u64| parts.iter().map(each).sum();
    let total = Interval { bytes: sum(|part| part.bytes), low: sum(|part| part.low), high: sum(|part| part.high) };
    Ok(Inference { weights, cache, workspace, context, total })
}

impl Inference {
    /// Whether the upper end is within so many bytes.
    pub fn fits(&self, bytes: u64) -> bool {
        self.total.high <= bytes
    }
}

fn exactly(bytes: u64) -> Interval {
    Interval { bytes, low: bytes, high: bytes }
}

/// Beyond these no machine goes, and below them nothing overflows.
fn check(model: &Architecture, serve: &Serve) -> Result<(), CostError> {
    let width = (model.hidden + model.intermediate + model.query_width() + model.key_width()) as f64;
    let tokens = serve.context as f64 * f64::from(serve.concurrency);
    if tokens * width * model.layers as f64 > (1u64 << 54) as f64 || model.parameters() > 1 << 54 {
        let what = format!(
            "{} conversations of {} tokens with `{}` are more than any machine holds",
            serve.concurrency, serve.context, model.name
        );
        return Err(CostError::Unsupported { setting: "serve.context", what });
    }
    Ok(())
}

/// Bytes of the keys and values of every conversation with so many tokens.
fn cache(model: &Architecture, serve: &Serve, tokens: u64) -> u64 {
    let layer = |layer: u64| match model.sliding_window {
        // its state does not grow with the tokens
        _ if model.is_linear(layer) => 0,
        Some(window) if model.slides(layer) => tokens.min(window),
        _ => tokens,
    };
    let kept: u64 = (0..model.layers).map(layer).sum();
    let values = 2 * model.key_width() * kept * u64::from(serve.concurrency);
    match serve.cache {
        CachePrecision::F16 | CachePrecision::Bf16 => 2 * values,
        CachePrecision::F32 => 4 * values,
        CachePrecision::F8 => values,
        CachePrecision::Int8 => values + values.div_ceil(CACHE_BLOCK) * 2,
    }
}

/// Bytes that one token of a prompt holds in the widest moment of a block.
fn token_bytes(model: &Architecture, precision: ServePrecision) -> u64 {
    let inside = match &model.experts {
        Some(experts) => experts.per_token * experts.intermediate,
        None => model.intermediate,
    };
    let mlp = if model.gated_mlp { 3 * inside } else { 2 * inside };
    let attention = 2 * model.query_width() + 2 * model.key_width();
    (2 * model.hidden + mlp.max(attention)) * compute_bytes(precision)
}

/// Bytes of a number that is computed with.
fn compute_bytes(precision: ServePrecision) -> u64 {
    if precision == ServePrecision::F32 { 4 } else { 2 }
}

/// Bytes of the last token's logits, which samplers read in 32 bit.
fn logits(model: &Architecture, serve: &Serve) -> u64 {
    4 * model.vocab * u64::from(serve.concurrency)
}

/// Bytes of the largest matrix that a product unpacks first.
fn unpacked(model: &Architecture, precision: ServePrecision) -> u64 {
    let packed = matches!(precision, ServePrecision::Nf4);
    let largest = model.block_linears().iter().map(crate::model::Linear::weights).max();
    if packed { 2 * largest.unwrap_or(0) } else { 0 }
}
