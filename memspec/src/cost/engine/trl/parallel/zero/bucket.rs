//! The bucket in which gradients are reduced.

use super::super::super::super::super::torch::{Leaf, Tape, Tensor};
use super::{BUCKET, BUCKET_ELEMENTS};
use crate::model::Dtype;

/// Gradients are copied into one buffer as they come; what does not fit any more is reduced first, and what never fits stays where it is.
#[derive(Debug)]
pub(super) struct Bucket {
    dtype: Dtype,
    buffer: Option<Tensor>,
    elements: u64,
    /// Elements of the largest gradient in it.
    largest: u64,
    /// A gradient that is larger than the buffer.
    large: Option<Tensor>,
}

impl Bucket {
    pub(super) fn new(dtype: Dtype) -> Self {
        Self { dtype, buffer: None, elements: 0, largest: 0, large: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// The buffer is there from now on.
    pub(super) fn allocate(&mut self, tape: &mut Tape<'_>) {
        if self.buffer.is_none() {
            self.buffer = Some(tape.new_as(BUCKET, BUCKET_ELEMENTS, self.dtype));
        }
    }

    pub(super) fn free(&mut self) {
        self.buffer = None;
    }

    /// A gradient of so many elements fits.
    pub(super) fn has_room(&self, elements: u64) -> bool {
        self.elements + elements <= BUCKET_ELEMENTS
    }

    /// Takes a leaf's gradient.
    pub(super) fn add(&mut self, tape: &mut Tape<'_>, leaf: Leaf, elements: u64) {
        let gradient = tape.take_gradient(leaf);
        if elements > BUCKET_ELEMENTS {
            self.large = gradient;
        }
        self.elements += elements;
        self.largest = self.largest.max(elements);
    }

    /// All gradients are exchanged by way of a flat copy, which ZeRO 3 spares where there is one; returns how many elements the largest has.
    pub(super) fn reduce(&mut self, tape: &mut Tape<'_>, spares: bool) -> u64 {
        if !(spares && self.large.is_some()) {
            drop(tape.new_as(BUCKET, self.elements, self.dtype));
        }
        self.large = None;
        self.elements = 0;
        std::mem::take(&mut self.largest)
    }
}
