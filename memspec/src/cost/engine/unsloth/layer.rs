//! A compiled decoder layer of Llama's kind with gradients: what its generated forward allocates, and what it leaves for backward.
//!
//! The source is `LlamaDecoderLayer_fast_forward` (`unsloth/models/llama.py:1163`) with `LoRA_QKV`, `LoRA_W` and `LoRA_MLP`
//! (`unsloth/kernels/fast_lora.py`). Inductor reuses buffers of equal size, so several names below share one tensor; the comments say which.

use super::super::super::Part;
use super::super::super::torch::{Tape, Tensor};
use super::super::trl::DENSE;
use super::super::trl::weights::DecoderBlock;
use super::sizes::Kernel;
use super::{ADAPTER_COPIES, Sizes, compile};
use crate::model::Dtype;

/// What the backward of a layer needs; a field goes when its last reader has run.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// The normed input, for adapters of queries, keys and values.
    pub(super) normed: Option<Tensor>,
    /// Reciprocal norms of both layer norms.
    pub(super) norms: Vec<Tensor>,
    /// The second norm's output, for adapters of gate and up (first the queries, then the attention's projection).
    pub(super) normed_2: Option<Tensor>,
    /// The attention's output by rows, for its projection's adapter (first the rotated queries).
    pub(super) attended: Option<Tensor>,
    /// Queries and keys before their norms, and those norms (Qwen3).
    pub(super) head_norms: Vec<Tensor>,
    /// Padded queries, keys, values, the attention's output, log-sums and two random words.
    pub(super) attention: Vec<Tensor>,
    /// Copies and inner products of adapters that PEFT's forward keeps.
    pub(super) adapters: Vec<Tensor>,
    /// The sum before the second norm.
    pub(super) residual: Option<Tensor>,
    pub(super) gate: Option<Tensor>,
    pub(super) up: Option<Tensor>,
}

/// Runs the layer; `part`: what its activations are for.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    part: Part,
    first: bool,
) -> (Tensor, Saved) {
    let mut saved = Saved::default();
    attention(tape, sizes, block, part, first, &mut saved);
    let output = mlp(tape, sizes, block, part, first, &mut saved);
    (output, saved)
}

fn attention(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, part: Part, first: bool, saved: &mut Saved) {
    let shape = &sizes.shape;
    let model = &shape.model;
    let dtype = sizes.dtype;
    let qkv = ["q_proj", "k_proj", "v_proj"].into_iter().any(|name| sizes.adapted(name));
    let normed = tape.new_as(part, sizes.hidden, dtype);
    saved.norms.push(tape.new_as(part, shape.rows, Dtype::F32));
    let unpacked_query = sizes.unpacked(block, "q_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    let queries = tape.new_as(part, sizes.query, dtype);
    let low = lower(tape, sizes, block, "q_proj", part);
    if block.input.iter().any(|linear| linear.bias.is_some()) {
        tape.biased_product();
    }
    compile::time_a_kernel(tape, sizes, first);
    if sizes.separate_qkv {
        saved.adapters.extend(low);
    }
    let unpacked_key = sizes.unpacked(block, "k_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    let keys = tape.new_as(part, sizes.key, dtype);
    if sizes.separate_qkv {
        saved.adapters.extend(lower(tape, sizes, block, "k_proj", part));
    }
    let values = tape.new_as(part, sizes.key, dtype);
    drop(unpacked_key);
    if sizes.separate_qkv {
        saved.adapters.extend(lower(tape, sizes, block, "v_proj", part));
    }
    let rotated = tape.new_as(part, sizes.query, dtype);
    let rotated_keys = tape.new_as(part, sizes.key, dtype);
    if model.qk_norm {
        saved.head_norms.extend([
            tape.new_as(part, shape.rows * model.heads, Dtype::F32),
            tape.new_as(part, shape.rows * model.kv_heads, Dtype::F32),
        ]);
        saved.head_norms.push(keys);
    } else {
        drop(keys);
    }
    // Queries of which only the rotated ones are read again leave their buffer.
    let spare = if model.qk_norm {
        saved.head_norms.push(queries);
        None
    } else {
        Some(queries)
    };
    let attended = attend(tape, sizes, part, Projected { rotated, rotated_keys, values, spare });
    saved.attention = attended.saved;
    drop(unpacked_query);
    let second_norm = match attended.spare.filter(|spare| spare.elements == sizes.hidden) {
        Some(spare) => spare,
        None => tape.new_as(part, sizes.hidden, dtype),
    };
    saved.residual = Some(tape.new_as(part, sizes.hidden, dtype));
    saved.norms.push(tape.new_as(part, shape.rows, Dtype::F32));
    saved.normed_2 = Some(second_norm);
    saved.attended = attended.by_rows.filter(|_| sizes.adapted("o_proj"));
    saved.normed = qkv.then_some(normed);
}

/// What attention reads, and a buffer of the queries' size that nothing needs.
struct Projected {
    rotated: Tensor,
    rotated_keys: Tensor,
    values: Tensor,
    spare: Option<Tensor>,
}

/// What attention leaves.
struct Attended {
    saved: Vec<Tensor>,
    /// The output by rows, where it is a tensor of its own.
    by_rows: Option<Tensor>,
    /// The buffer for what follows: the attention's projection, then the second norm's output.
    spare: Option<Tensor>,
}

fn attend(tape: &mut Tape<'_>, sizes: &Sizes, part: Part, projected: Projected) -> Attended {
    let Projected { rotated, rotated_keys, values, spare } = projected;
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(part, elements, sizes.dtype);
    let (mut saved, by_rows, spare) = match sizes.kernel {
        Kernel::Cudnn => {
            let queries = new(tape, sizes.query_padded);
            let keys = new(tape, sizes.key_padded);
            drop(rotated_keys);
            let padded_values = new(tape, sizes.key_padded);
            drop(values);
            // The rotated queries' buffer takes the output by rows.
            (vec![queries, keys, padded_values], Some(rotated), spare)
        }
        // The output is stored by rows already.
        Kernel::Flash => (vec![rotated, rotated_keys, values], None, spare),
        Kernel::Efficient => {
            let keys = spare.unwrap_or_else(|| new(tape, sizes.query));
            drop(rotated_keys);
            let repeated_values = new(tape, sizes.query);
            drop(values);
            (vec![new(tape, sizes.query), keys, repeated_values], None, Some(rotated))
        }
    };
    let words = [(); 2].map(|()| tape.new_as(part, 1, Dtype::I64));
    saved.push(new(tape, sizes.query_padded));
    saved.push(tape.new_as(part, sizes.log_sums, Dtype::F32));
    Attended { saved: words.into_iter().chain(saved).collect(), by_rows, spare }
}

fn mlp(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, part: Part, first: bool, saved: &mut Saved) -> Tensor {
    let dtype = sizes.dtype;
    let unpacked = sizes.unpacked(block, "gate_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    let gate = tape.new_as(part, sizes.inner, dtype);
    let low = lower(tape, sizes, block, "gate_proj", part);
    if sizes.adapted("gate_proj") {
        compile::time_a_kernel(tape, sizes, first);
    }
    let up = tape.new_as(part, sizes.inner, dtype);
    drop(low);
    let product = tape.new_as(part, sizes.inner, dtype);
    saved.gate = Some(gate);
    saved.up = Some(up);
    if sizes.adapted("gate_proj") || sizes.adapted("up_proj") {
        let down = tape.new_as(part, sizes.hidden, dtype);
        drop(unpacked);
        let low = lower(tape, sizes, block, "down_proj", part);
        drop((product, low));
        let output = tape.new_as(part, sizes.hidden, dtype);
        drop(down);
        output
    } else {
        // Nothing needs the second norm's output: the layer's takes its buffer.
        compile::time_a_kernel(tape, sizes, first);
        drop((unpacked, product));
        saved.normed_2.take().unwrap_or_else(|| tape.new_as(part, sizes.hidden, dtype))
    }
}

/// An adapter's product: the 16 bit copy of A and what it makes of the input.
pub(super) fn lower(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, name: &str, part: Part) -> Vec<Tensor> {
    match sizes.linear(block, name).filter(|_| sizes.adapted(name)) {
        Some(linear) => vec![
            tape.new_as(ADAPTER_COPIES, sizes.shape.rank * linear.in_features, sizes.dtype),
            tape.new_as(part, sizes.low(), sizes.dtype),
        ],
        None => Vec::new(),
    }
}
