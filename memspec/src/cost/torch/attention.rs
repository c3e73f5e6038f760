//! Attention: PyTorch's fused kernels, its math path, and transformers' eager one.

use super::kernels::CUDNN_WIDEST;
use super::ops::Saves;
use super::tape::{Tape, made_by};
use super::tensor::Tensor;
use crate::model::Dtype;

/// Shapes of one attention call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionShape {
    /// Samples.
    pub(crate) batch: u64,
    /// Tokens of each.
    pub(crate) tokens: u64,
    /// Query heads.
    pub(crate) heads: u64,
    /// Key and value heads.
    pub(crate) kv_heads: u64,
    /// Columns of a head.
    pub(crate) head_dim: u64,
    /// Scores are squashed (eager attention alone does it).
    pub(crate) softcap: bool,
    /// Which kernel `scaled_dot_product_attention` takes.
    pub(crate) kernel: Kernel,
}

/// A fused kernel of `scaled_dot_product_attention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// What PyTorch takes from Ampere on, costed as cuDNN's on Hopper.
    Ampere,
    /// The memory-efficient one, the only one before Ampere; it takes no grouped heads.
    Efficient,
    /// The same, where the caller repeats grouped keys and values for it.
    EfficientRepeated,
}

impl AttentionShape {
    /// Tokens of all samples.
    pub(crate) fn rows(&self) -> u64 {
        self.batch * self.tokens
    }

    /// Scores of all heads.
    pub(crate) fn scores(&self) -> u64 {
        self.rows() * self.heads * self.tokens
    }
}

impl<'a> Tape<'a> {
    /// `scaled_dot_product_attention`. PyTorch's memory-efficient kernel takes no grouped heads
    /// (`aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`): scores exist then. In float32 no other fused kernel is there.
    pub(crate) fn fused_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let v = self.autocast_operand(v);
        let k = self.autocast_operand(k);
        let q = self.autocast_operand(q);
        let grouped = shape.heads > shape.kv_heads;
        match shape.kernel {
            Kernel::Ampere if q.dtype != Dtype::F32 && shape.head_dim > CUDNN_WIDEST => match mask {
                None => self.flash_attention([&q, &k, &v], shape),
                Some(mask) => self.wide_efficient_attention([&q, &k, &v], shape, mask),
            },
            Kernel::Ampere if q.dtype != Dtype::F32 => self.cudnn_attention(&q, &k, &v, shape, mask),
            Kernel::Ampere | Kernel::Efficient if grouped => self.math_attention(q, k, v, shape),
            _ if grouped => {
                let (k, v) = (self.repeat(&k, q.elements), self.repeat(&v, q.elements));
                self.efficient_attention(&q, &k, &v, shape, mask)
            }
            _ => self.efficient_attention(&q, &k, &v, shape, mask),
        }
    }

    /// cuDNN's kernel, as PyTorch picks on Hopper. Saves queries, keys, values, output, logsumexp and two words of the random generator's state; a
    /// boolean mask is turned into a floating one and saved.
    fn cudnn_attention(
        &mut self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let bias = mask.map(|mask| self.floating_mask(mask, q.dtype));
        let out = self.new_tensor(q.elements, q.dtype).rows_first(q.rows_first);
        let statistics = shape.rows() * shape.heads;
        // Asked for only where a gradient is (`_scaled_dot_product_cudnn_attention`, `compute_log_sumexp`).
        let differentiated = self.grad_enabled && [q, k, v].into_iter().any(Tensor::requires_grad);
        let logsumexp = self.new_tensor(if differentiated { statistics } else { 0 }, Dtype::F32);
        let (seed, offset) = (self.new_tensor(1, Dtype::I64), self.new_tensor(1, Dtype::I64));
        let mut saved = vec![q, k, v, &out, &logsumexp, &seed, &offset];
        saved.extend(&bias);
        let (queries, keys, dtype, rows_first) = (q.elements, k.elements, q.dtype, q.rows_first);
        let grouped = shape.heads > shape.kv_heads;
        let node = self.node(&[Some(q), Some(k), Some(v)], 1, &saved, move |tape, _, _| {
            let dq = tape.new_tensor(queries, dtype).rows_first(rows_first);
            let dk = tape.new_tensor(keys, dtype).rows_first(true);
            let dv = tape.new_tensor(keys, dtype).rows_first(true);
            // cuDNN's workspace: the queries' gradient in float32, gradients of keys and values for every query head before they are summed over
            // a group, and the row sums.
            let expanded = if grouped { 2 * queries * dtype.bytes() } else { 0 };
            let _workspace = tape.new_tensor(4 * queries + expanded + 4 * statistics + 256, Dtype::U8);
            vec![Some(dq), Some(dk), Some(dv)]
        });
        made_by(out, node, 0)
    }

    /// A mask as numbers of this type: a boolean one is written out (`aten/src/ATen/native/transformers/attention.cpp`, `convert_boolean_attn_mask`),
    /// another type's is cast by autocast.
    pub(super) fn floating_mask(&mut self, mask: &Tensor, dtype: Dtype) -> Tensor {
        if mask.dtype == dtype { mask.view(mask.elements) } else { self.new_tensor(mask.elements, dtype) }
    }

    /// The memory-efficient kernel (`aten/src/ATen/native/transformers/cuda/attention.cu`, `attention_backward.cu`), for equal heads of at most 128.
    /// Saves queries, keys, values, output and a logsumexp of whole 32 rows.
    fn efficient_attention(
        &mut self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let bias = mask.map(|mask| self.floating_mask(mask, q.dtype));
        let out = self.new_tensor(q.elements, q.dtype).rows_first(true);
        let heads = shape.batch * shape.heads;
        let logsumexp = self.new_tensor(heads * shape.tokens.next_multiple_of(32), Dtype::F32);
        let mut saved = vec![q, k, v, &out, &logsumexp];
        saved.extend(&bias);
        let (elements, dtype, statistics) = (q.elements, q.dtype, heads * shape.tokens);
        // One tile of 64 by 64 sums and 16 bytes of locks for each part of the queries' gradient (`kernel_backward.h`, `GradQTempStorage`).
        let width = elements / statistics.max(1);
        let tiles = heads * shape.tokens.div_ceil(64) * width.div_ceil(64);
        let node = self.node(&[Some(q), Some(k), Some(v)], 1, &saved, move |tape, _, _| {
            let gradients = [(); 3].map(|()| Some(tape.new_tensor(elements, dtype).rows_first(true)));
            let delta = if dtype == Dtype::F32 {
                // `(grad_out * out).sum(-1).transpose(-2, -1).contiguous()`
                let products = tape.new_tensor(elements, dtype);
                let sums = tape.new_tensor(statistics, dtype);
                drop(products);
                let delta = tape.new_tensor(statistics, dtype);
                drop(sums);
                delta
            } else {
                tape.new_tensor(statistics, Dtype::F32)
            };
            drop(tape.new_tensor(tiles * (64 * 64 * 4 + 16), Dtype::U8));
            drop(delta);
            gradients.into()
        });
        made_by(out, node, 0)
    }

    /// The math path of `scaled_dot_product_attention` (`aten/src/ATen/native/transformers/attention.cpp`): in float32, whatever comes in.
    fn math_attention(&mut self, q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape) -> Tensor {
        let (queries, dtype) = (q.elements, q.dtype);
        let [q, mut k, mut v] = [q, k, v].map(|x| self.cast(&x, Dtype::F32));
        if shape.heads != shape.kv_heads {
            k = self.repeat(&k, queries);
            v = self.repeat(&v, queries);
        }
        let _mask = self.new_tensor(shape.tokens * shape.tokens, q.dtype);
        let scaled = [self.scale(&q), self.scale(&k)];
        let scores = self.batched_product(&scaled[0], &scaled[1], shape.scores());
        drop(scaled);
        let weights = self.softmax(&scores);
        drop(scores);
        let out = self.batched_product(&weights, &v, queries);
        let out = self.cast(&out, dtype);
        // The weights are an output too, which nobody takes.
        if dtype != Dtype::F32 {
            drop(self.new_tensor(weights.elements, dtype));
        }
        out
    }

    /// transformers' `eager_attention_forward`: output and weights, which the layer keeps in a local until it returns.
    pub(crate) fn eager_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> (Tensor, Tensor) {
        let (queries, dtype) = (q.elements, q.dtype);
        let (mut k, mut v) = (k.clone(), v.clone());
        if shape.kv_heads == 1 && shape.heads > 1 {
            // A single head is only seen so often; each product then copies it.
            [k, v] = [self.expand(&k, queries), self.expand(&v, queries)];
        } else if shape.heads != shape.kv_heads {
            k = self.repeat(&k, queries);
            v = self.repeat(&v, queries);
        }
        let mut weights = self.heads_product(q, &k, shape.batch, shape.scores());
        weights = self.scale(&weights);
        if shape.softcap {
            weights = self.scale(&weights);
            weights = self.elementwise(&weights, Saves::Output);
            weights = self.scale(&weights);
        }
        if let Some(mask) = mask {
            weights = self.add(&weights, mask);
        }
        weights = self.softmax_in_f32(&weights);
        let out = self.heads_product(&weights, &v, shape.batch, queries);
        let seen = out.view(queries);
        let seen = self.custom(seen, &[&out], &[], move |tape, _, _| {
            // The product's gradient is copied heads first before its backward.
            vec![Some(tape.new_tensor(queries, dtype))]
        });
        drop(out);
        let out = self.copy(&seen);
        (out.rows_first(true), weights)
    }

    /// `softmax(weights, dim=-1, dtype=torch.float32).to(weights.dtype)`. From float16 the kernel converts itself (`aten/src/ATen/native/SoftMax.cpp`,
    /// `half_to_float`); of other types a float32 copy is made first.
    fn softmax_in_f32(&mut self, weights: &Tensor) -> Tensor {
        let (elements, dtype) = (weights.elements, weights.dtype);
        let probabilities = if dtype == Dtype::F16 {
            let y = self.new_tensor(elements, Dtype::F32);
            let node = self.node(&[Some(weights)], 1, &[&y], move |tape, _, _| {
                let _product = tape.new_tensor(elements, Dtype::F32);
                vec![Some(tape.new_tensor(elements, dtype))]
            });
            made_by(y, node, 0)
        } else {
            let wide = self.cast(weights, Dtype::F32);
            self.softmax(&wide)
        };
        self.cast(&probabilities, dtype)
    }

    /// `torch.matmul` of four axes, which reshapes what is stored rows first: without a graph the copies live as long as the product.
    fn heads_product(&mut self, a: &Tensor, b: &Tensor, batch: u64, elements: u64) -> Tensor {
        let [a, b] = [a, b].map(|x| if batch > 1 && x.rows_first { self.copy(x) } else { x.clone() });
        self.batched_product(&a, &b, elements)
    }
}
