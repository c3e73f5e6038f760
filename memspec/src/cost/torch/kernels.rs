//! Attention kernels beside cuDNN's: FlashAttention 2, which takes heads wider than cuDNN's without a mask, and CUTLASS' memory-efficient one, which
//! takes them with a mask (`aten/src/ATen/native/transformers/cuda/sdp_utils.cpp` has what each refuses).

use super::attention::AttentionShape;
use super::tape::{Tape, made_by};
use super::tensor::Tensor;
use crate::model::Dtype;

/// Columns of a head that cuDNN's kernel takes (`sdp_utils.cpp`, `check_cudnn_tensor_shapes`).
pub(super) const CUDNN_WIDEST: u64 = 128;
/// Rows and columns of a tile of the memory-efficient backward for the widest heads (`cutlassB_bf16_aligned_128x64_k65536_sm80`).
const TILE: (u64, u64) = (128, 64);

impl Tape<'_> {
    /// FlashAttention 2 (`flash_attn/flash_api.cpp`): all is stored rows first. Saves queries, keys, values, output and log-sums.
    pub(super) fn flash_attention(&mut self, [q, k, v]: [&Tensor; 3], shape: AttentionShape) -> Tensor {
        let dtype = q.dtype;
        let out = self.new_tensor(q.elements, dtype).rows_first(true);
        let log_sums = self.new_tensor(shape.rows() * shape.heads, Dtype::F32);
        let splits = shape.flash_splits(self.multiprocessors);
        let parts = (splits > 1).then(|| {
            let rows = splits * shape.rows() * shape.heads;
            [self.new_tensor(rows, Dtype::F32), self.new_tensor(rows * shape.flash_width(), Dtype::F32)]
        });
        let [seed, unused] = [2, 1].map(|elements| self.new_tensor(elements, Dtype::I64));
        drop(parts);
        let (queries, keys) = (q.elements, k.elements);
        let node = self.node(&[Some(q), Some(k), Some(v)], 1, &[q, k, v, &out, &log_sums, &seed, &unused], {
            move |tape, _, _| {
                let mut gradient = |elements| tape.new_tensor(elements, dtype).rows_first(true);
                let [dq, dk, dv] = [gradient(queries), gradient(keys), gradient(keys)];
                // Products of outputs and their gradients, queries' gradients in float32, and those of keys and values for every query head.
                let rows = shape.batch * shape.tokens.next_multiple_of(128) * shape.heads;
                let _row_sums = tape.new_tensor(rows, Dtype::F32);
                let _wide = tape.new_tensor(rows * shape.flash_width(), Dtype::F32);
                if shape.heads != shape.kv_heads {
                    let _expanded = [0, 1].map(|_| tape.new_tensor(queries, dtype));
                }
                vec![Some(dq), Some(dk), Some(dv)]
            }
        });
        made_by(out, node, 0)
    }

    /// The memory-efficient kernel with a mask as numbers (`attention.cu`, `attention_backward.cu`): saves queries, keys, values, mask, output and
    /// log-sums. Its random state is on the host.
    pub(super) fn wide_efficient_attention(
        &mut self,
        [q, k, v]: [&Tensor; 3],
        shape: AttentionShape,
        mask: &Tensor,
    ) -> Tensor {
        let dtype = q.dtype;
        let mask = self.floating_mask(mask, dtype);
        let out = self.new_tensor(q.elements, dtype).rows_first(true);
        let log_sums = shape.batch * shape.heads * shape.tokens.next_multiple_of(32);
        let log_sums = self.new_tensor(log_sums, Dtype::F32);
        // Outputs of heads this wide are summed in memory.
        drop(self.new_tensor(q.elements, Dtype::F32));
        let (queries, keys) = (q.elements, k.elements);
        let node = self.node(&[Some(q), Some(k), Some(v)], 1, &[q, k, v, &mask, &out, &log_sums], move |tape, _, _| {
            let mut gradient = |elements| tape.new_tensor(elements, dtype).rows_first(true);
            let gradients = [gradient(queries), gradient(keys), gradient(keys)];
            let _row_sums = tape.new_tensor(shape.rows() * shape.heads, Dtype::F32);
            let _workspace = tape.new_tensor(shape.efficient_workspace(), Dtype::U8);
            gradients.map(Some).into()
        });
        made_by(out, node, 0)
    }
}

impl AttentionShape {
    /// Columns of a head that FlashAttention computes with.
    fn flash_width(&self) -> u64 {
        self.head_dim.next_multiple_of(if self.head_dim <= 128 { 32 } else { 64 })
    }

    /// In how many parts the keys are, so that the card is full (`flash_api.cpp`, `num_splits_heuristic`): each part has an output of its own.
    fn flash_splits(&self, multiprocessors: u64) -> u64 {
        let places = 2 * multiprocessors;
        let blocks = self.batch * self.heads * self.tokens.div_ceil(64);
        if blocks as f64 >= 0.8 * places as f64 {
            return 1;
        }
        let key_block = match self.head_dim {
            ..=64 => 256,
            65..=128 => 128,
            _ => 64,
        };
        let key_blocks = self.tokens.div_ceil(key_block);
        let eligible = |splits: u64| splits == 1 || key_blocks.div_ceil(splits) != key_blocks.div_ceil(splits - 1);
        let efficiency = |splits: u64| {
            let waves = (blocks * splits) as f64 / places as f64;
            waves / waves.ceil()
        };
        let candidates = || (1..=key_blocks.min(places).min(128)).filter(|splits| eligible(*splits));
        let best = candidates().map(efficiency).fold(0.0, f64::max);
        candidates().find(|splits| efficiency(*splits) >= 0.85 * best).unwrap_or(1)
    }

    /// Bytes of the memory-efficient backward's workspace (`mem_eff_attention/kernel_backward.h`, `workspace_size`): gradients of keys and values
    /// for as many parts as run side by side, and tiles of the queries'.
    fn efficient_workspace(&self) -> u64 {
        let (rows, columns) = TILE;
        let heads = (self.batch * self.heads).max(1);
        let splits = self.tokens.div_ceil(columns).min(200 / heads).max(1);
        let keys = splits * columns * self.head_dim.next_multiple_of(rows);
        // A lock, a counter and their padding are beside each tile.
        let tiles = self.tokens.div_ceil(rows) * self.head_dim.div_ceil(columns);
        let queries = tiles * (rows * columns + 4);
        heads * (2 * keys + queries).next_multiple_of(4) * 4
    }
}
