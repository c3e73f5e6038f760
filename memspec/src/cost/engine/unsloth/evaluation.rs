//! Evaluation: outside training the layers are not compiled (`unsloth/models/_block_compile.py:901`), so Unsloth's functions run as they are written.
//! The loss is the fused one, without the gradient that training makes in forward (`unsloth/models/rl.py:355`).

use super::super::super::Block;
use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::DecoderBlock;
use super::super::trl::{DENSE, EVALUATION, POSITIONS};
use super::{ADAPTER_COPIES, Sizes};
use crate::model::Dtype;

const BF16: Dtype = Dtype::Bf16;

/// What lives beyond a layer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The buffer that weights are unpacked into outside compiled code: one for the process, as large as the largest weight yet
    /// (`unsloth/kernels/utils.py:649`, `_scratch`).
    buffer: Option<Tensor>,
    /// Smaller ones before it, which the plans of weights hold until those are unpacked again.
    outgrown: Vec<Tensor>,
    /// Autocast's copies of matrices that PEFT multiplies with, until the model's forward is over.
    casts: Vec<(Option<Block>, Tensor)>,
}

impl Scratch {
    fn unpack(&mut self, tape: &mut Tape<'_>, elements: Option<u64>) {
        let Some(elements) = elements else { return };
        if self.buffer.as_ref().is_none_or(|buffer| buffer.elements < elements) {
            let block = tape.block();
            tape.at(None);
            let buffer = tape.new_as(DENSE, elements, BF16);
            self.outgrown.extend(self.buffer.replace(buffer));
            tape.at(block);
        }
    }

    /// The forward pass is over. The next batch unpacks every weight again.
    pub(super) fn settle(&mut self, tape: &mut Tape<'_>) {
        for (block, cast) in self.casts.drain(..) {
            tape.at(block);
            drop(cast);
        }
        tape.at(None);
        self.outgrown.clear();
    }
}

/// A layer of Llama's kind (`unsloth/models/llama.py:1163`); returns its output.
pub(super) fn layer(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, scratch: &mut Scratch) -> Tensor {
    let (new, rows) = (|tape: &mut Tape<'_>, elements| tape.new_as(EVALUATION, elements, BF16), sizes.shape.rows);
    let residual = {
        let (normed, inverse) = (new(tape, sizes.hidden), tape.new_as(EVALUATION, rows, Dtype::F32));
        let project = |tape: &mut Tape<'_>, scratch: &mut Scratch, name, elements| {
            if sizes.separate_qkv {
                through_peft(tape, sizes, block, scratch, name, elements)
            } else {
                product(tape, sizes, block, scratch, name, elements)
            }
        };
        let mut queries = project(tape, scratch, "q_proj", sizes.query);
        let mut keys = project(tape, scratch, "k_proj", sizes.key);
        let values = project(tape, scratch, "v_proj", sizes.key);
        if sizes.shape.model.qk_norm {
            queries = new(tape, sizes.query);
            keys = new(tape, sizes.key);
        }
        // Rotated in place. Samples are padded for cuDNN (`utils/attention_dispatch.py:235`).
        let padded = [sizes.query_padded, sizes.key_padded, sizes.key_padded].map(|elements| new(tape, elements));
        let output = new(tape, sizes.query_padded);
        drop(padded);
        let attended = new(tape, sizes.query);
        let projected = product(tape, sizes, block, scratch, "o_proj", sizes.hidden);
        drop((attended, queries, keys, values, output, normed, inverse));
        let sum = new(tape, sizes.hidden);
        drop(projected);
        sum
    };
    let (normed, inverse) = (new(tape, sizes.hidden), tape.new_as(EVALUATION, rows, Dtype::F32));
    let gate = product(tape, sizes, block, scratch, "gate_proj", sizes.inner);
    let up = product(tape, sizes, block, scratch, "up_proj", sizes.inner);
    let active = new(tape, sizes.inner);
    let down = product(tape, sizes, block, scratch, "down_proj", sizes.hidden);
    drop((gate, up, active, normed, inverse));
    let sum = new(tape, sizes.hidden);
    drop((down, residual));
    sum
}

/// `matmul_lora` (`unsloth/kernels/utils.py:1891`): the base product, to which the adapter's is added in place.
fn product(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    scratch: &mut Scratch,
    name: &str,
    elements: u64,
) -> Tensor {
    scratch.unpack(tape, sizes.unpacked(block, name));
    let output = tape.new_as(EVALUATION, elements, BF16);
    if let Some(linear) = sizes.linear(block, name).filter(|_| sizes.adapted(name)) {
        let down = tape.new_as(ADAPTER_COPIES, sizes.shape.rank * linear.in_features, BF16);
        let low = tape.new_as(EVALUATION, sizes.low(), BF16);
        drop(down);
        drop(tape.new_as(ADAPTER_COPIES, sizes.shape.rank * linear.out_features, BF16));
        drop(low);
    }
    output
}

/// A linear that PEFT runs: with bitsandbytes' product (`bitsandbytes/backends/cuda/ops.py:904`), and the adapter's scaled and added out of place.
fn through_peft(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    scratch: &mut Scratch,
    name: &str,
    elements: u64,
) -> Tensor {
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(EVALUATION, elements, BF16);
    let packed = sizes.unpacked(block, name);
    let product = packed_product(tape, packed, elements);
    let Some(linear) = sizes.linear(block, name).filter(|_| sizes.adapted(name)) else { return product };
    // PEFT clones a packed linear's (`peft/tuners/lora/bnb.py:533`).
    let product = if packed.is_some() { new(tape, elements) } else { product };
    // A 16 bit model's input is widened (`peft/tuners/lora/layer.py:1100`), and narrowed again by autocast.
    let _wide = packed.is_none().then(|| tape.new_as(EVALUATION, sizes.hidden, Dtype::F32));
    let cast = |tape: &mut Tape<'_>, scratch: &mut Scratch, width| {
        let copy = tape.new_as(ADAPTER_COPIES, sizes.shape.rank * width, BF16);
        scratch.casts.push((tape.block(), copy));
    };
    cast(tape, scratch, linear.in_features);
    let low = {
        let _narrow = packed.is_none().then(|| new(tape, sizes.hidden));
        new(tape, sizes.low())
    };
    cast(tape, scratch, linear.out_features);
    let outer = new(tape, elements);
    drop(low);
    let scaled = new(tape, elements);
    drop(outer);
    let output = new(tape, elements);
    drop((scaled, product));
    output
}

fn packed_product(tape: &mut Tape<'_>, packed: Option<u64>, elements: u64) -> Tensor {
    let _unpacked = packed.map(|weights| {
        let maxima = [(); 2].map(|()| tape.new_as(DENSE, weights / 64, Dtype::F32));
        (tape.new_as(DENSE, weights, BF16), maxima)
    });
    tape.new_as(EVALUATION, elements, BF16)
}

/// Phi-3's layer (`transformers/models/phi3/modeling_phi3.py:300`), whose modules are compiled one by one.
pub(super) fn stock_layer(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock) -> Tensor {
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(EVALUATION, elements, BF16);
    let linear = |tape: &mut Tape<'_>, name: &str, elements| {
        let output = packed_product(tape, sizes.unpacked(block, name), elements);
        if !sizes.adapted(name) {
            return output;
        }
        // A compiled function makes the sum of both products.
        let _low = new(tape, sizes.low());
        new(tape, elements)
    };
    let residual = {
        let normed = new(tape, sizes.hidden);
        let joint = linear(tape, "qkv_proj", sizes.query + 2 * sizes.key);
        let rotated = [sizes.query, sizes.key].map(|elements| new(tape, elements));
        let _mask = sizes.mask.map(|elements| tape.new_as(POSITIONS, elements, BF16));
        let attended = new(tape, sizes.query);
        let projected = linear(tape, "o_proj", sizes.hidden);
        drop((attended, rotated, joint, normed));
        let sum = new(tape, sizes.hidden);
        drop(projected);
        sum
    };
    let normed = new(tape, sizes.hidden);
    let gate_up = linear(tape, "gate_up_proj", 2 * sizes.inner);
    let product = new(tape, sizes.inner);
    drop(gate_up);
    let down = linear(tape, "down_proj", sizes.hidden);
    drop((product, normed));
    let sum = new(tape, sizes.hidden);
    drop((down, residual));
    sum
}
