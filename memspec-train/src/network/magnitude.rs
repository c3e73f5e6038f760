//! DoRA (Liu et al., 2024): the rows of an adapted weight have trained norms, `W' = m (W + s B A) / ‖W + s B A‖`.
//!
//! Works in activation space like the adapter itself: a layer's outputs are multiplied with `m / ‖W + s B A‖`. For the gradient the norms are
//! constants, as the paper and PEFT have it. They change with A and B only, so they are computed once a step, without the adapted weight:
//! `‖w + s b A‖² = ‖w‖² + 2 s b · (A w + s / 2 A Aᵀ b)` for a row `w` of W and a row `b` of B.

use burn::tensor::Tensor;

use super::linear::{Linear, LowRank, Onto, Rows};
use super::parameter::{OptimizerStates, Parameter, Slot};
use crate::kernels::place::Place;
use crate::kernels::{self, Product, product};

/// The norms of an adapted weight's rows.
#[derive(Debug)]
pub struct Magnitude {
    /// `[out]`: what they are trained to be.
    pub value: Parameter<1>,
    /// `[out]`: the squared norms of the base's rows.
    squares: Tensor<1>,
    /// `[out]`: what they would be without the above; see [`Linear::renew_norms`].
    norms: Slot<1>,
}

impl Magnitude {
    /// Outputs of the layer, from number `first` on, scaled in place.
    pub fn scale(&self, y: Tensor<2>, first: usize) -> Tensor<2> {
        kernels::to_magnitude(y, self.value.value.get(), self.norms.get(), first)
    }

    /// The gradient of unscaled outputs `z`, over them, from that of the scaled ones; adds its own.
    fn backward(&mut self, z: Tensor<2>, g: &Tensor<2>, first: usize) -> Tensor<2> {
        let Parameter { value, training, .. } = &mut self.value;
        let Some(training) = training else { unreachable!("a magnitude is made to be trained") };
        let grad = training.grad.take();
        let (grad, gz) = kernels::to_magnitude_backward(grad, z, g, value.get(), self.norms.get(), first);
        training.grad = Slot::new(grad);
        gz
    }
}

impl Linear {
    /// The magnitude of its adapter.
    pub(super) fn magnitude(&self) -> Option<&Magnitude> {
        self.adapter.as_ref()?.magnitude.as_ref()
    }

    /// Makes the adapter a DoRA. Its magnitudes begin as the norms that the rows have, so it changes nothing yet.
    pub fn add_magnitude(&mut self, states: OptimizerStates, place: Place) {
        let Some(adapter) = &self.adapter else { return };
        let out = self.rows().count;
        let mut squares = Some(place.zeros([out]));
        self.weight.panels(adapter.a.used(), self.rows(), None, |piece| {
            // All rows are asked for, so a piece is all of its matrix.
            squares = squares.take().map(|squares| kernels::row_squares(squares, piece.matrix, piece.outputs.first));
        });
        let Some(squares) = squares else { unreachable!("the sums are given back") };
        // Computed twice rather than copied through the host: nothing waits for a card.
        let [norms, begin] = [(); 2].map(|()| self.norms(adapter, &squares, place.zeros([out])));
        // It decays: of transformers' Trainer's names that do not, `lora_magnitude_vector` is none.
        let value = Parameter::trained_alone(begin, states, true, place);
        if let Some(adapter) = &mut self.adapter {
            adapter.magnitude = Some(Magnitude { value, squares, norms: Slot::new(norms) });
        }
    }

    /// Computes the norms anew: to be called whenever A or B has changed.
    pub fn renew_norms(&mut self) {
        let Some(mut magnitude) = self.adapter.as_mut().and_then(|adapter| adapter.magnitude.take()) else { return };
        if let Some(adapter) = &self.adapter {
            magnitude.norms.change(|norms| self.norms(adapter, &magnitude.squares, norms));
        }
        if let Some(adapter) = &mut self.adapter {
            adapter.magnitude = Some(magnitude);
        }
    }

    /// The norms of the adapted rows, written over `norms`.
    fn norms(&self, adapter: &LowRank, squares: &Tensor<1>, norms: Tensor<1>) -> Tensor<1> {
        let (a, b) = (adapter.a.used(), adapter.b.used());
        let [rank, _] = a.dims();
        // What the layer makes of the rows of A.
        let inner = self.base(kernels::buffer(a, rank, self.rows().count), a, self.rows(), None, Onto::Nothing);
        let gram = product(kernels::buffer(a, rank, rank), a, a, Product::NT);
        let inner = product(inner, &gram, b, Product::NT.times(adapter.scale / 2.0).added());
        kernels::adapted_norms(norms, squares, &inner, b, adapter.scale)
    }

    /// The gradient of some outputs before they were scaled, from that of the scaled ones, where there are magnitudes; adds theirs.
    /// The unscaled outputs are computed again: to keep those of all linears would double what a block keeps.
    pub(super) fn magnitude_backward(
        &mut self,
        x: &Tensor<2>,
        rows: Rows,
        low: &Option<Tensor<2>>,
        g: &Tensor<2>,
    ) -> Option<Tensor<2>> {
        self.magnitude()?;
        let z = self.adapted(x, rows, &mut low.clone(), None);
        let magnitude = self.adapter.as_mut()?.magnitude.as_mut()?;
        Some(magnitude.backward(z, g, rows.first))
    }

    /// The same for all outputs, where the input is made only for this.
    pub(super) fn late_magnitude_backward(
        &mut self,
        x: impl FnOnce() -> Tensor<2>,
        g: &Tensor<2>,
    ) -> Option<Tensor<2>> {
        self.magnitude()?;
        self.magnitude_backward(&x(), self.rows(), &None, g)
    }
}
