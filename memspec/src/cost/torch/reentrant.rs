//! Reentrant checkpoints (`torch/utils/checkpoint.py`, `CheckpointFunction`): the forward pass runs a function without gradients; backward runs it
//! again with them, and at once goes back through what it recorded.

use std::rc::Rc;

use super::tape::Tape;
use super::tensor::Tensor;
use crate::model::Dtype;

/// A function of one tensor that is run twice.
type Rerun<'a> = Rc<dyn Fn(&mut Tape<'a>, &Tensor) -> Tensor + 'a>;

impl<'a> Tape<'a> {
    /// Runs `run` on `x` as one reentrant checkpoint. `keeps`: it holds `x`; else the input comes back from elsewhere.
    pub(crate) fn reentrant(&mut self, x: &Tensor, keeps: bool, run: Rerun<'a>) -> Tensor {
        let grad_enabled = std::mem::replace(&mut self.grad_enabled, false);
        let output = run(self, x).detached();
        self.grad_enabled = grad_enabled;
        let (elements, dtype, autocast) = (x.elements, x.dtype, self.autocast);
        let saved: &[&Tensor] = if keeps { &[x] } else { &[] };
        self.custom(output, &[x], saved, move |tape, saved, gradients| {
            let storage = saved.first().map_or_else(|| tape.elsewhere(), Rc::clone);
            let input = Tensor::of(&storage, elements, dtype);
            vec![gradients[0].as_ref().and_then(|gradient| tape.rerun(input, gradient, autocast, &run))]
        })
    }

    /// Runs `run` on `x` with gradients, for nothing.
    pub(crate) fn trial(&mut self, x: &Tensor, run: &dyn Fn(&mut Tape<'a>, &Tensor) -> Tensor) {
        let (nodes, leaves, pins) = (self.nodes.len(), self.leaves.len(), self.pins.len());
        let part = std::mem::replace(&mut self.part, self.recompute_part);
        let mut input = x.clone();
        self.leaf(&mut input, self.gradient_part, false);
        drop(run(self, &input));
        self.part = part;
        self.nodes.truncate(nodes);
        self.leaves.truncate(leaves);
        drop(self.pins.split_off(pins));
    }

    /// Runs the function with gradients and back; returns the gradient of its input.
    fn rerun(
        &mut self,
        mut input: Tensor,
        gradient: &Tensor,
        autocast: Option<Dtype>,
        run: &Rerun<'a>,
    ) -> Option<Tensor> {
        let (nodes, leaves, pins) = (self.nodes.len(), self.leaves.len(), self.pins.len());
        let part = std::mem::replace(&mut self.part, self.recompute_part);
        let autocast = std::mem::replace(&mut self.autocast, autocast);
        let casts = std::mem::take(&mut self.casts);
        let leaf = self.leaf(&mut input, self.gradient_part, false);
        let output = run(self, &input);
        drop(std::mem::replace(&mut self.casts, casts));
        self.autocast = autocast;
        self.part = part;
        // The outputs are a local of the function while backward runs; the inputs are, too.
        self.backward_through(&output, gradient.clone());
        let gradient = self.take_gradient(leaf);
        drop((output, input));
        self.nodes.truncate(nodes);
        self.leaves.truncate(leaves);
        drop(self.pins.split_off(pins));
        gradient
    }
}
