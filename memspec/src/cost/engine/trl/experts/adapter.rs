//! LoRA on parameters instead of linears (`peft/tuners/lora/layer.py:2308`, `ParamWrapper`): while the experts run, each adapted parameter is replaced by
//! a whole new one, the sum of both.

use super::super::super::super::torch::{Tape, Tensor};
use super::super::{DENSE, Shape};
use super::weights::Stack;
use super::{ExpertWeights, packed};

/// The factors of the adapted parameters while the wrappers are active.
#[derive(Default)]
pub(super) struct Folded {
    gate_up: Option<[Tensor; 2]>,
    down: Option<[Tensor; 2]>,
}

/// Runs `experts` with its adapters active: the wrapper of the down projections is the outer one.
pub(super) fn with<R>(
    tape: &mut Tape<'_>,
    shape: &Shape,
    weights: &ExpertWeights,
    experts: impl FnOnce(&mut Tape<'_>, &Folded) -> R,
) -> R {
    let down = activate(tape, shape, &weights.down);
    let gate_up = activate(tape, shape, &weights.gate_up);
    experts(tape, &Folded { gate_up, down })
}

/// Registers a parametrization, which tries it once (`torch/nn/utils/parametrize.py:226`).
fn activate(tape: &mut Tape<'_>, shape: &Shape, stack: &Stack) -> Option<[Tensor; 2]> {
    let [a, b] = stack.adapter.as_ref()?;
    let dtype = if stack.packed.is_some() { shape.dtype } else { stack.weight.tensor.dtype };
    // B is (out, rank x experts), and its experts lie innermost.
    let b = tape.permuted(&b.tensor);
    let factors = [tape.cast(&b, dtype), tape.cast(&a.tensor, dtype)];
    tape.tried(|tape| sum(tape, shape, stack, &factors));
    Some(factors)
}

fn sum(tape: &mut Tape<'_>, shape: &Shape, stack: &Stack, [b, a]: &[Tensor; 2]) -> Tensor {
    let base = packed::read(tape, shape, stack);
    tape.labelled(DENSE, |tape| tape.fold(&base, b, a, shape.scaled))
}

impl Folded {
    /// Gate and up of all experts.
    pub(super) fn gate_up(&self, tape: &mut Tape<'_>, shape: &Shape, weights: &ExpertWeights) -> Tensor {
        Self::parameter(tape, shape, &weights.gate_up, self.gate_up.as_ref())
    }

    /// Down of all experts.
    pub(super) fn down(&self, tape: &mut Tape<'_>, shape: &Shape, weights: &ExpertWeights) -> Tensor {
        Self::parameter(tape, shape, &weights.down, self.down.as_ref())
    }

    fn parameter(tape: &mut Tape<'_>, shape: &Shape, stack: &Stack, factors: Option<&[Tensor; 2]>) -> Tensor {
        match factors {
            Some(factors) => sum(tape, shape, stack, factors),
            None => packed::read(tape, shape, stack),
        }
    }
}

/// The router's weight, with its adapter's product on it: one matrix, so the product is made first and then added.
pub(super) fn router(tape: &mut Tape<'_>, shape: &Shape, weights: &ExpertWeights) -> Tensor {
    let Some([a, b]) = &weights.router_adapter else { return weights.router.tensor.clone() };
    let delta = tape.linear(&b.tensor, &a.tensor, None, weights.router_rows(shape));
    let scaled = tape.scale(&delta);
    drop(delta);
    let scaled = tape.cast(&scaled, weights.router.tensor.dtype);
    tape.tried(|tape| tape.add(&weights.router.tensor, &scaled));
    tape.add(&weights.router.tensor, &scaled)
}
