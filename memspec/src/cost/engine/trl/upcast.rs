//! Parameters that are cast to float32 once the model is loaded (`peft/utils/other.py:205`, `prepare_model_for_kbit_training`).

use super::super::super::torch::Tape;
use super::weights::{Model, Weight};
use super::{EMBEDDING, Shape, WEIGHTS, adapter};
use crate::model::Dtype;
use crate::plan::Upcast;

/// Casts them, one after the other in the model's order.
pub(super) fn cast(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) {
    let (embeddings, linears) = match shape.upcast {
        Upcast::None => return,
        Upcast::Norms => (false, false),
        Upcast::Embeddings => (true, false),
        Upcast::Unpacked => (true, true),
    };
    if embeddings {
        adapter::cast(tape, &mut model.embedding, Dtype::F32, EMBEDDING);
    }
    for block in &mut model.blocks {
        tape.at(Some(block.block));
        for linear in block.input.iter_mut().chain([&mut block.output]).chain(&mut block.mlp).filter(|_| linears) {
            if let Weight::Dense(weight) = &mut linear.weight {
                adapter::cast(tape, weight, Dtype::F32, WEIGHTS);
            }
            linear.bias.iter_mut().for_each(|bias| adapter::cast(tape, bias, Dtype::F32, WEIGHTS));
        }
        for norm in block.small_mut() {
            adapter::cast(tape, norm, Dtype::F32, WEIGHTS);
        }
    }
    tape.at(None);
    model.norm.parameters_mut().for_each(|norm| adapter::cast(tape, norm, Dtype::F32, WEIGHTS));
    if embeddings {
        model.head.iter_mut().for_each(|head| adapter::cast(tape, head, Dtype::F32, EMBEDDING));
    }
    if linears {
        // `auto_clear_cache`
        tape.empty_cache();
    }
}
