//! Random weights of the right shapes on a card: for measuring memory and speed, not for words.

use burn::backend::Cube;
use burn::tensor::{DType, Tensor};
use memspec::plan::QuantizeKind;
use memspec::setup::Quantize;

use super::linear::{AbsMax, Weight};
use crate::kernels::cuda::random::{bytes, numbers};
use crate::kernels::place::Format;
use crate::quantize::nf4;

/// About the spread of a fresh model's weights.
const SPREAD: f32 = 0.05;

/// Random weights of one model.
pub(super) struct Random {
    /// Where they are made.
    pub(super) card: usize,
    /// Of the generator.
    pub(super) seed: u64,
}

impl Random {
    fn seed(&self, name: &str) -> u64 {
        name.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// A dense weight; norms start at one.
    pub(super) fn weight<const D: usize>(&self, name: &str, shape: [usize; D], format: Format) -> Tensor<D> {
        let (spread, mean) = if name.ends_with("norm.weight") { (0.0, 1.0) } else { (SPREAD, 0.0) };
        Tensor::from_primitive::<Cube>(numbers(self.card, shape, format.dtype(), self.seed(name), spread, mean))
    }

    /// A packed weight: any codes, and scales that make it as large as a dense one.
    pub(super) fn packed(&self, name: &str, shape: [usize; 2], quantize: &Quantize) -> Weight {
        let elements = shape[0] * shape[1];
        let seed = self.seed(name);
        let codes = |count| Tensor::from_primitive::<Cube>(bytes(self.card, count, seed));
        let scales = |count: usize, value| {
            Tensor::from_primitive::<Cube>(numbers(self.card, [count], DType::F32, 0, 0.0, value))
        };
        if quantize.kind == QuantizeKind::Int8 {
            return Weight::Int8 { codes: codes(elements), scales: scales(shape[0], SPREAD / 127.0), shape };
        }
        let blocks = elements.div_ceil(nf4::BLOCK);
        let absmax = if quantize.double {
            AbsMax::Double {
                codes: codes(blocks),
                scales: scales(blocks.div_ceil(nf4::SCALE_BLOCK), SPREAD / 4.0),
                offset: SPREAD,
            }
        } else {
            AbsMax::Plain(scales(blocks, SPREAD))
        };
        Weight::Nf4 { codes: codes(elements.div_ceil(2)), absmax, shape }
    }
}
