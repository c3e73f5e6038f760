//! How activations go to host memory and come back, beside what the device computes: [`Home`] on the CPU, `cuda/offload.rs` on a card.

use std::fmt::Debug;

use burn::tensor::Tensor;

/// Copies between a device and numbered places in host memory, beside what the device computes.
pub(crate) trait Lane {
    /// An input in its place.
    type Away: Debug;
    /// An input on its way back, which nothing may read yet.
    type Coming: Debug;

    /// Begins to copy `x`, over which nothing is written until it is released, to a place.
    fn store(&mut self, x: &Tensor<2>, place: usize) -> Self::Away;
    /// Frees `x` once it is copied: what is queued from now on comes after that.
    fn release(&mut self, x: Tensor<2>, away: &Self::Away);
    /// Begins to copy an input back, into a new tensor.
    fn load(&mut self, away: Self::Away) -> Self::Coming;
    /// The input that was copied back: what is queued from now on comes after that.
    fn arrive(&mut self, coming: Self::Coming) -> Tensor<2>;
}

/// The lane of the CPU, whose tensors are in host memory: there is nothing to copy.
#[derive(Debug)]
pub(crate) struct Home;

impl Lane for Home {
    type Away = Tensor<2>;
    type Coming = Tensor<2>;

    fn store(&mut self, x: &Tensor<2>, _place: usize) -> Tensor<2> {
        x.clone()
    }

    fn release(&mut self, _x: Tensor<2>, _away: &Tensor<2>) {}

    fn load(&mut self, away: Tensor<2>) -> Tensor<2> {
        away
    }

    fn arrive(&mut self, coming: Tensor<2>) -> Tensor<2> {
        coming
    }
}
