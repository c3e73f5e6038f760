//! Liger's fused linear cross-entropy (`liger_kernel/ops/fused_linear_cross_entropy.py`), as transformers' `Trainer` runs it: the head on a few rows at a time, and the gradients
//! of the hidden states and of the head's weight made at once in forward.
//!
//! TRL 1.15 itself turns it off (`trl/trainer/sft_trainer.py:1127`), because it replaces the forward that TRL's own loss needs.

use super::super::super::super::torch::{Tape, Tensor};
use super::{GRADIENTS, Model, Shape};
use crate::model::Dtype;

/// The loss of the decoder's output `last`, a scalar.
pub(super) fn loss(tape: &mut Tape<'_>, shape: &Shape, model: &Model, last: Tensor) -> Tensor {
    let (rows, width, vocab) = (shape.rows, shape.model.hidden, shape.model.vocab);
    let head = &model.projection().tensor;
    // Every position has a label: the last of each sample is padded with "none" (`transformers/model/loss_utils.py:91`).
    let _labels = [(); 2].map(|()| tape.new_tensor(rows + shape.attention.batch, Dtype::I64));
    let compute = tape.autocast.unwrap_or(last.dtype);
    let chunk = rows.div_ceil(vocab.div_ceil(width)).next_power_of_two().min(rows);
    let gradient = tape.new_tensor(last.elements, last.dtype);
    let (trained, words) = (head.requires_grad(), head.elements);
    let head_gradient = trained.then(|| tape.new_as(GRADIENTS, words, head.dtype));
    let _losses = tape.new_tensor(rows, Dtype::F32);
    let _mask = tape.new_tensor(rows, Dtype::Bool);
    // Written into one buffer where nothing has to be cast, else made anew for each chunk.
    let plain = last.dtype == compute && head.dtype == compute;
    let buffer = plain.then(|| tape.new_tensor(chunk * vocab, compute));
    for first in (0..rows).step_by(chunk as usize) {
        let rows = chunk.min(rows - first);
        if plain {
            tape.product();
            continue;
        }
        // `_input_chunk @ weight.t()`: a view of the weight, whose copy autocast does not keep.
        let logits = {
            let _transposed = (head.dtype != compute).then(|| tape.new_tensor(words, compute));
            let _input = (last.dtype != compute).then(|| tape.new_tensor(rows * width, compute));
            let logits = tape.new_tensor(rows * vocab, compute);
            tape.product();
            logits
        };
        // `grad_logits_chunk @ weight`: the parameter itself, whose copy it keeps.
        let _whole = tape.autocast_operand(head);
        drop(tape.new_tensor(rows * width, compute));
        if trained && last.dtype != compute {
            drop(tape.new_tensor(rows * width, compute));
        }
        drop(logits);
    }
    drop(buffer);
    let root = tape.new_tensor(1, Dtype::F32);
    let mut saved = vec![&gradient];
    saved.extend(&head_gradient);
    let (elements, dtype, head_dtype) = (last.elements, last.dtype, head.dtype);
    let root = tape.custom(root, &[&last, head], &saved, move |_, saved, _| {
        // Both are scaled where they are.
        let made = |at: usize, elements, dtype| saved.get(at).map(|storage| Tensor::of(storage, elements, dtype));
        vec![made(0, elements, dtype), made(1, words, head_dtype)]
    });
    // Divided by the number of labels.
    tape.scale(&root)
}
