//! Elements of one layer's tensors.

use super::super::trl::Shape;
use super::super::trl::shape::Stored;
use super::super::trl::weights::{DecoderBlock, Linear, Weight};
use super::supported;
use crate::cost::CostError;
use crate::model::{Dtype, Family};
use crate::setup::Setup;

/// cuDNN's attention gets samples of a multiple of this many tokens, so that it plans once for many lengths; the generated code always adds
/// one step, even where none is missing (`unsloth/utils/attention_dispatch.py:138`, `_cudnn_length_bucket_applies`).
const LENGTH_BUCKET: u64 = 128;

/// What the layers' programs read.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) shape: Shape,
    /// Inputs of checkpoints go to the host.
    pub(super) offload: bool,
    /// T tokens of hidden width.
    pub(super) hidden: u64,
    /// T of intermediate width.
    pub(super) inner: u64,
    /// T of all query heads.
    pub(super) query: u64,
    /// T of all key heads.
    pub(super) key: u64,
    /// The same, of samples padded for cuDNN.
    pub(super) query_padded: u64,
    pub(super) key_padded: u64,
    /// Log-sums of attention: padded tokens times heads.
    pub(super) log_sums: u64,
    /// Bytes that cuDNN's attention takes while it computes gradients.
    pub(super) attention_workspace: u64,
    /// Unsloth has no layer of its own for the family: transformers' is compiled.
    pub(super) stock: bool,
    /// Queries, keys and values go through PEFT: a bias, or some without an adapter (`unsloth/models/llama.py:3416`, `_fused_lora_layers`).
    pub(super) separate_qkv: bool,
    /// Elements of a mask of all pairs.
    pub(super) mask: Option<u64>,
    /// Bytes of the card's L2 cache.
    pub(super) l2_cache: u64,
    /// The same for a batch of the evaluation, where there is one.
    pub(super) evaluation: Option<Box<Sizes>>,
}

impl Sizes {
    pub(super) fn new(setup: &Setup) -> Result<Self, CostError> {
        supported::check(setup)?;
        let mut shape = Shape::new(setup)?;
        let evaluation = shape.evaluation.take().map(|shape| Box::new(Self::of(setup, *shape)));
        Ok(Self { evaluation, ..Self::of(setup, shape) })
    }

    fn of(setup: &Setup, mut shape: Shape) -> Self {
        // Unsloth keeps adapters in float32 on quantized models too.
        shape.adapter_dtypes = vec![Dtype::F32];
        if let Stored::Nf4 { .. } = shape.stored {
            // Always with double quantization (`unsloth/models/llama.py:4002`), whatever the plan says.
            shape.stored = Stored::Nf4 { double: true };
        }
        let model = &shape.model;
        let stock = model.family == Family::Phi3;
        if stock && shape.targets.iter().any(|name| name == "o_proj") {
            // Its default names of targets are those of Llama's linears, two of which Phi-3 has.
            shape.targets.retain(|name| name == "o_proj" || name == "down_proj");
        }
        let attention = shape.attention;
        let tokens =
            if stock { attention.tokens } else { attention.tokens - attention.tokens % LENGTH_BUCKET + LENGTH_BUCKET };
        let padded = attention.batch * tokens;
        let (query_width, key_width) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
        // float32 gradients of queries; for shared key heads as much again, gradients of keys and values for every query head; row sums.
        let accumulators = if model.heads == model.kv_heads { 4 } else { 8 };
        let adapted = |name: &str| shape.targets.iter().any(|target| target == name);
        let separate_qkv = model.attention_linears().iter().any(|linear| linear.bias)
            || !["q_proj", "k_proj", "v_proj"].into_iter().all(adapted);
        Self {
            offload: setup.train.activation_offload && shape.checkpointing,
            hidden: shape.rows * model.hidden,
            inner: shape.rows * model.intermediate,
            query: shape.rows * query_width,
            key: shape.rows * key_width,
            query_padded: padded * query_width,
            key_padded: padded * key_width,
            log_sums: padded * model.heads,
            attention_workspace: padded * query_width * accumulators + padded * model.heads * 4 + 256,
            stock,
            separate_qkv,
            mask: shape.window_mask().then(|| attention.batch * attention.tokens * attention.tokens),
            l2_cache: l2_cache(setup),
            evaluation: None,
            shape,
        }
    }

    /// The layer's linear of that name.
    pub(super) fn linear<'m>(&self, block: &'m DecoderBlock, name: &str) -> Option<&'m Linear> {
        block.input.iter().chain(std::iter::once(&block.output)).chain(&block.mlp).find(|linear| linear.name == name)
    }

    /// Elements of a linear's unpacked weight, or nothing where it is not packed.
    pub(super) fn unpacked(&self, block: &DecoderBlock, name: &str) -> Option<u64> {
        self.linear(block, name)
            .filter(|linear| !matches!(linear.weight, Weight::Dense(_)))
            .map(|linear| linear.out_features * linear.in_features)
    }

    /// The linear has an adapter.
    pub(super) fn adapted(&self, name: &str) -> bool {
        self.shape.targets.iter().any(|target| target == name)
    }

    /// Tokens times the rank: an adapter's inner product.
    pub(super) fn low(&self) -> u64 {
        self.shape.rows * self.shape.rank
    }
}

/// L2 caches: 50 MiB on H100, 60 MiB on H200, 40 MiB on A100, 126 MiB on B200 (NVIDIA's architecture papers, `cudaDeviceProp::l2CacheSize`).
fn l2_cache(setup: &Setup) -> u64 {
    match setup.device.compute_capability {
        Some((9, _)) if setup.device.memory.0 > 120_000_000_000 => 60 << 20,
        Some((9, _)) => 50 << 20,
        Some((10, _)) => 126 << 20,
        Some((8, 0)) => 40 << 20,
        Some((8, 9)) => 72 << 20,
        _ => 6 << 20,
    }
}
