//! Elements of one layer's tensors.

use super::super::trl::Shape;
use super::super::trl::shape::Stored;
use super::super::trl::weights::{DecoderBlock, Linear, Weight};
use super::{loss, supported};
use crate::cost::CostError;
use crate::model::{Dtype, Family};
use crate::plan::{Attention, Padding};
use crate::setup::Setup;

/// cuDNN's attention gets samples of a multiple of this many tokens, so that it plans once for many lengths; the generated code always adds
/// one step, even where none is missing (`unsloth/utils/attention_dispatch.py:138`, `_cudnn_length_bucket_applies`).
const LENGTH_BUCKET: u64 = 128;

/// Contexts below this keep the inputs of checkpoints on the card (`unsloth/models/_utils.py:502`, `apply_unsloth_gradient_checkpointing`).
const LEAST_OFFLOADED_CONTEXT: u64 = 512;

/// Cards up to this size compute the loss in tiles whatever the number of rows (`unsloth_zoo/fused_losses/fused_linear.py:87`, `_SMALL_CARD_BYTES`).
const SMALL_CARD_BYTES: f64 = 24.5 * 1024.0 * 1024.0 * 1024.0;

/// The attention kernel that PyTorch picks for the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// cuDNN's, on Hopper; Unsloth pads its samples, and keeps it off Blackwell (`unsloth/utils/attention_dispatch.py:279`).
    Cudnn,
    /// FlashAttention, from Ampere on.
    Flash,
    /// The memory-efficient one, before Ampere: it takes no shared key heads, so they are repeated.
    Efficient,
}

/// How the decoder's layers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    /// Unsloth's own, compiled.
    Fast,
    /// Unsloth's own, as their Python says: batches without padding.
    Eager,
    /// transformers', compiled, of Phi-3.
    Stock,
    /// transformers', of int8 weights: compiled between the products.
    Pieces,
    /// transformers', compiled, with all weights trained.
    Whole,
}

/// What the layers' programs read.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) shape: Shape,
    /// Type of the activations.
    pub(super) dtype: Dtype,
    /// How the layers run.
    pub(super) layers: Layers,
    /// The attention kernel.
    pub(super) kernel: Kernel,
    /// Scored rows from which the loss is computed in tiles of the vocabulary.
    pub(super) tiled_from: Option<u64>,
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
        if shape.full {
            // Weights of 16 bits, without float32 masters (`unsloth/models/vision.py:4026`).
            shape.dtype = Dtype::Bf16;
            shape.autocast = None;
        }
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
        let layers = match setup.data.padding {
            _ if shape.full => Layers::Whole,
            _ if shape.stored == Stored::Int8 => Layers::Pieces,
            _ if model.family == Family::Phi3 => Layers::Stock,
            Padding::None => Layers::Eager,
            Padding::Longest | Padding::Max => Layers::Fast,
        };
        let kernel = kernel(setup);
        if layers == Layers::Stock && shape.targets.iter().any(|name| name == "o_proj") {
            // Its default names of targets are those of Llama's linears, two of which Phi-3 has.
            shape.targets.retain(|name| name == "o_proj" || name == "down_proj");
        }
        let attention = shape.attention;
        let tokens = match kernel {
            Kernel::Cudnn if matches!(layers, Layers::Fast | Layers::Eager) => {
                attention.tokens - attention.tokens % LENGTH_BUCKET + LENGTH_BUCKET
            }
            _ => attention.tokens,
        };
        let padded = attention.batch * tokens;
        let (query_width, key_width) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
        let adapted = |name: &str| shape.targets.iter().any(|target| target == name);
        let separate_qkv = model.attention_linears().iter().any(|linear| linear.bias)
            || !["q_proj", "k_proj", "v_proj"].into_iter().all(adapted);
        Self {
            dtype: shape.autocast.unwrap_or(shape.dtype),
            kernel,
            tiled_from: match setup.device.compute_capability {
                Some((8.., _)) if setup.device.memory.0 as f64 <= SMALL_CARD_BYTES => Some(0),
                Some((8.., _)) => Some(loss::MOST_ROWS),
                // Chunks are faster before Ampere (`fused_linear.py:131`, `_flash_ce_ok`).
                _ => None,
            },
            offload: setup.train.activation_offload
                && shape.checkpointing
                && setup.data.context >= LEAST_OFFLOADED_CONTEXT,
            hidden: shape.rows * model.hidden,
            inner: shape.rows * model.intermediate,
            query: shape.rows * query_width,
            key: shape.rows * key_width,
            query_padded: padded * query_width,
            key_padded: padded * key_width,
            log_sums: match kernel {
                Kernel::Cudnn | Kernel::Flash => padded * model.heads,
                // Rounded for aligned reads (`mem_eff_attention/kernel_forward.h`, `kAlignLSE`).
                Kernel::Efficient => attention.batch * tokens.next_multiple_of(32) * model.heads,
            },
            attention_workspace: workspace(setup, kernel, attention.batch, tokens),
            layers,
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

    /// transformers' layer is compiled.
    pub(super) fn stock(&self) -> bool {
        matches!(self.layers, Layers::Stock | Layers::Pieces | Layers::Whole)
    }

    /// Type of the last norm's output: a float32 weight makes it float32.
    pub(super) fn last_dtype(&self) -> Dtype {
        if self.layers == Layers::Whole { Dtype::F32 } else { self.dtype }
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

/// `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`: cuDNN's comes first on Hopper.
fn kernel(setup: &Setup) -> Kernel {
    let flash = matches!(setup.train.attention, Attention::Flash2 | Attention::Flash3);
    match setup.device.compute_capability {
        _ if setup.train.attention == Attention::Efficient => Kernel::Efficient,
        Some((9, _)) if !flash => Kernel::Cudnn,
        Some((8.., _)) => Kernel::Flash,
        _ => Kernel::Efficient,
    }
}

/// Bytes that the kernel takes while it computes gradients, beside the gradients themselves.
fn workspace(setup: &Setup, kernel: Kernel, batch: u64, tokens: u64) -> u64 {
    let model = &setup.model;
    let shared = model.heads != model.kv_heads;
    let (heads, width) = (batch * model.heads, model.head_dim);
    match kernel {
        // float32 gradients of queries; for shared key heads as much again, gradients of keys and values for every query head; row sums.
        Kernel::Cudnn => heads * tokens * width * if shared { 8 } else { 4 } + heads * tokens * 4 + 256,
        // The same, of rows rounded up (`flash_attn/flash_api.cpp`, `mha_bwd`).
        Kernel::Flash => {
            let rows = heads * tokens.next_multiple_of(128);
            let expanded = if shared { heads * tokens * width * 4 } else { 0 };
            rows * width.next_multiple_of(32) * 4 + rows * 4 + expanded
        }
        Kernel::Efficient => efficient_workspace(setup, heads, tokens),
    }
}

/// `mem_eff_attention/kernel_backward.h`, `Params::workspace_size`, and the row sums: gradients of queries by block; those of keys and values, too,
/// where a head is wider than a block, as often as the keys are split (`attention_backward.cu`, the keys splitting heuristic).
fn efficient_workspace(setup: &Setup, heads: u64, tokens: u64) -> u64 {
    const KEYS: u64 = 64;
    let width = setup.model.head_dim;
    // For wide heads blocks of 128 queries, which Turing's shared memory does not hold (`kernels/cutlassB.h`).
    let queries = if width > 64 && setup.device.compute_capability != Some((7, 5)) { 128 } else { 64 };
    let widest = [32, 64, 128].into_iter().find(|&most| width <= most).unwrap_or(u64::MAX);
    let by_query = tokens.div_ceil(queries) * width.div_ceil(KEYS) * (queries * KEYS + 4);
    let by_key = if widest <= queries {
        0
    } else {
        let splits = tokens.div_ceil(KEYS).min(200 / heads.max(1)).max(1);
        2 * splits * tokens.next_multiple_of(KEYS) * width.next_multiple_of(queries)
    };
    heads * (by_query + by_key) * 4 + heads * tokens * 4
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
