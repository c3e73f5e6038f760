//! Attention: PyTorch's fused kernel, its math path, and transformers' eager one.

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
    /// `scaled_dot_product_attention` by cuDNN's kernel, as PyTorch picks on Hopper. Saves queries, keys, values, output, logsumexp and two words of the random generator's
    /// state; a boolean mask is turned into a floating one and saved. In float32 no fused kernel takes grouped heads: scores exist then.
    pub(crate) fn fused_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let v = self.autocast_operand(v);
        let k = self.autocast_operand(k);
        let q = self.autocast_operand(q);
        if q.dtype == Dtype::F32 {
            return self.math_attention(q, k, v, shape);
        }
        match mask {
            None if shape.head_dim > CUDNN_WIDEST => return self.flash_attention([&q, &k, &v], shape),
            Some(mask) if shape.head_dim > CUDNN_WIDEST => {
                return self.efficient_attention([&q, &k, &v], shape, mask);
            }
            _ => {}
        }
        let bias = mask.map(|mask| self.new_tensor(mask.elements, q.dtype));
        let out = self.new_tensor(q.elements, q.dtype).rows_first(q.rows_first);
        let statistics = shape.rows() * shape.heads;
        let logsumexp = self.new_tensor(statistics, Dtype::F32);
        let (seed, offset) = (self.new_tensor(1, Dtype::I64), self.new_tensor(1, Dtype::I64));
        let mut saved = vec![&q, &k, &v, &out, &logsumexp, &seed, &offset];
        saved.extend(&bias);
        let (queries, keys, dtype, rows_first) = (q.elements, k.elements, q.dtype, q.rows_first);
        let grouped = shape.heads > shape.kv_heads;
        let node = self.node(&[Some(&q), Some(&k), Some(&v)], 1, &saved, move |tape, _, _| {
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

    /// The math path of `scaled_dot_product_attention`.
    fn math_attention(&mut self, q: Tensor, mut k: Tensor, mut v: Tensor, shape: AttentionShape) -> Tensor {
        let queries = q.elements;
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
        self.batched_product(&weights, &v, queries)
    }

    /// transformers' `eager_attention_forward`: output and weights, which the layer keeps in a local until it returns.
    pub(crate) fn eager_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> (Tensor, Tensor) {
        let (queries, dtype) = (q.elements, q.dtype);
        let (mut q, mut k, mut v) = (q.clone(), k.clone(), v.clone());
        // A single head is only seen so often; each product then copies it.
        let single = shape.kv_heads == 1 && shape.heads > 1;
        if single {
            [k, v] = [self.expand(&k, queries), self.expand(&v, queries)];
        } else if shape.heads != shape.kv_heads {
            k = self.repeat(&k, queries);
            v = self.repeat(&v, queries);
        }
        if shape.batch > 1 {
            q = self.copy(&q);
        }
        let mut weights = {
            let k = if single { self.copy(&k) } else { k };
            self.batched_product(&q, &k, shape.scores())
        };
        weights = self.scale(&weights);
        if shape.softcap {
            weights = self.scale(&weights);
            weights = self.elementwise(&weights, Saves::Output);
            weights = self.scale(&weights);
        }
        if let Some(mask) = mask {
            weights = self.add(&weights, mask);
        }
        let wide = self.cast(&weights, Dtype::F32);
        let probabilities = self.softmax(&wide);
        drop(wide);
        weights = self.cast(&probabilities, dtype);
        drop(probabilities);
        let out = {
            let v = if single { self.copy(&v) } else { v };
            self.batched_product(&weights, &v, queries)
        };
        let seen = out.view(queries);
        let seen = self.custom(seen, &[&out], &[], move |tape, _, _| {
            // The product's gradient is copied heads first before its backward.
            vec![Some(tape.new_tensor(queries, dtype))]
        });
        drop(out);
        let out = self.copy(&seen);
        (out.rows_first(true), weights)
    }
}
