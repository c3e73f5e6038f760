//! The routers' auxiliary loss (`transformers/models/mixtral/modeling_mixtral.py:479`, `load_balancing_loss_func`), which TRL adds wherever a model's
//! config has a coefficient for it (`trl/trainer/sft_trainer.py:1203`).

use super::super::super::super::torch::{Tape, Tensor};
use super::super::Shape;
use crate::model::Dtype;

/// `loss` with the auxiliary loss of the routers' logits that this pass has collected, layer by layer.
pub(in super::super) fn add(tape: &mut Tape<'_>, shape: &Shape, loss: Tensor) -> Tensor {
    let routers = tape.take_captured();
    let Some(experts) = shape.model.experts.as_ref().filter(|_| !routers.is_empty()) else { return loss };
    let (rows, count, chosen) = (shape.rows, experts.count, shape.rows * experts.per_token);
    let mask = tape.new_tensor(rows, Dtype::F32);
    let mut counted = tape.new_tensor(count, Dtype::F32);
    let mut probability = tape.new_tensor(count, Dtype::F32);
    // Locals of the loop live until the next layer's are there.
    let mut locals: Option<(Tensor, Tensor, Tensor)> = None;
    for (block, logits) in &routers {
        tape.at(*block);
        // Autocast runs softmax in float32.
        let wide = tape.cast(logits, Dtype::F32);
        let probabilities = tape.softmax(&wide);
        drop(wide);
        let (values, indices) = tape.top(&probabilities, chosen);
        {
            let assigned = tape.new_tensor(count, Dtype::F32);
            let _weights = tape.new_tensor(chosen, Dtype::F32);
            counted = tape.add(&counted, &assigned);
        }
        let weighted = tape.multiply(&probabilities, &mask);
        let sum = tape.new_tensor(count, Dtype::F32);
        drop(tape.reduction_staging(count, rows));
        let sum = tape.custom(sum, &[&weighted], &[], move |_, _, gradients| {
            vec![gradients[0].as_ref().map(|gradient| gradient.view(rows * count))]
        });
        drop(weighted);
        probability = tape.add(&probability, &sum);
        locals = Some((probabilities, values, indices));
    }
    tape.at(None);
    drop(locals);
    let total = tape.new_tensor(1, Dtype::F32);
    let total = tape.custom(total, &[&loss, &probability], &[&counted], move |tape, _, gradients| {
        vec![gradients[0].clone(), Some(tape.new_tensor(count, Dtype::F32))]
    });
    drop((counted, probability));
    // The backbone's outputs hold the logits until the model returns.
    for (block, logits) in routers {
        tape.at(block);
        drop(logits);
    }
    tape.at(None);
    total
}
