//! Attention: PyTorch's fused kernel, its math path, and transformers' eager one.

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
    /// `scaled_dot_product_attention` by its flash kernel. Saves queries, keys, values, output, logsumexp and two words of the random generator's
    /// state; a boolean mask is turned into a floating one and saved. In float32 no fused kernel takes grouped heads: scores exist then.
    pub(crate) fn fused_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let (q, k, v) = (self.autocast_operand(q), self.autocast_operand(k), self.autocast_operand(v));
        if q.dtype == Dtype::F32 {
            return self.math_attention(q, k, v, shape);
        }
        let out = self.new_tensor(q.elements, q.dtype).rows_first(q.rows_first);
        let statistics = shape.rows() * shape.heads;
        let logsumexp = self.new_tensor(statistics, Dtype::F32);
        let (seed, offset) = (self.new_tensor(1, Dtype::I64), self.new_tensor(1, Dtype::I64));
        let bias = mask.map(|mask| self.new_tensor(mask.elements, q.dtype));
        let mut saved = vec![&q, &k, &v, &out, &logsumexp, &seed, &offset];
        saved.extend(&bias);
        let (queries, keys, dtype, rows_first) = (q.elements, k.elements, q.dtype, q.rows_first);
        let grouped = shape.heads > shape.kv_heads;
        let node = self.node(&[Some(&q), Some(&k), Some(&v)], 1, &saved, move |tape, _, _| {
            let dq = tape.new_tensor(queries, dtype).rows_first(rows_first);
            let dk = tape.new_tensor(keys, dtype).rows_first(true);
            let dv = tape.new_tensor(keys, dtype).rows_first(true);
            let _accumulator = tape.new_tensor(queries, Dtype::F32);
            let _softmax_d = tape.new_tensor(statistics, Dtype::F32);
            // Gradients of keys and values for every query head, before they are summed over a group.
            let _expanded = grouped.then(|| [tape.new_tensor(queries, dtype), tape.new_tensor(queries, dtype)]);
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
        if shape.heads != shape.kv_heads {
            k = self.repeat(&k, queries);
            v = self.repeat(&v, queries);
        }
        if shape.batch > 1 {
            q = self.copy(&q);
        }
        let mut weights = self.batched_product(&q, &k, shape.scores());
        weights = self.scale(&weights);
        if let Some(mask) = mask {
            weights = self.add(&weights, mask);
        }
        let wide = self.cast(&weights, Dtype::F32);
        let probabilities = self.softmax(&wide);
        drop(wide);
        weights = self.cast(&probabilities, dtype);
        drop(probabilities);
        let out = self.batched_product(&weights, &v, queries);
        let out = self.copy(&out);
        (out.rows_first(true), weights)
    }
}
