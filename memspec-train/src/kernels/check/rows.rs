//! What is done row by row or element by element.

use burn::tensor::{Int, Tensor};

use super::inputs::{Check, Inputs, on_cpu, random};
use crate::kernels::place::fetch;
use crate::kernels::{self, Mask, Product, buffer, product};

impl Inputs {
    fn ids(&self) -> Tensor<1, Int> {
        self.place.integers(&[3, 0, 6, 3, 3, 1, 5, 2])
    }
}

pub(super) const CHECKS: &[Check] = &[
    ("embed", 0.0, 0.0, |at| Ok(vec![fetch(&kernels::embed(&at.active("table", [7, 40]), &at.ids()))?])),
    ("embed_backward", 1e-6, 1e-6, |at| {
        let grad = kernels::embed_backward(at.trained("grad", [7, 40]), &at.ids(), &at.active("g", [8, 40]));
        Ok(vec![fetch(&grad)?])
    }),
    ("embed_backward of odd rows", 1e-6, 1e-6, |at| {
        let grad = kernels::embed_backward(at.trained("grad", [7, 37]), &at.ids(), &at.active("g", [8, 37]));
        Ok(vec![fetch(&grad)?])
    }),
    ("add, add_bias, add_rows", 1e-6, 5e-3, |at| {
        let x = kernels::add(at.active("x", [10, 37]), &at.active("y", [10, 37]));
        let biased = kernels::add_bias(at.active("x", [10, 37]), &at.active("bias", [37]));
        let rows = kernels::add_rows(at.trained("grad", [37]), &at.active("g", [10, 37]));
        Ok(vec![fetch(&x)?, fetch(&biased)?, fetch(&rows)?])
    }),
    ("rms_norm and gradients", 3e-6, 6e-3, |at| {
        let (x, w, g) = (at.active("x", [9, 72]), at.active("w", [72]), at.active("g", [9, 72]));
        let y = kernels::rms_norm(&x, &w, 1e-5);
        let gw = kernels::rms_norm_weight_backward(at.trained("gw", [72]), &g, &x, 1e-5);
        let past = kernels::rms_norm_backward_past(at.active("g", [9, 72]), &x, &w, &at.active("past", [9, 72]), 1e-5);
        let gx = kernels::rms_norm_backward(g, &x, &w, 1e-5);
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&past)?, fetch(&gw)?])
    }),
    ("rms_norm of odd rows", 3e-6, 6e-3, |at| {
        let (x, w, g) = (at.active("x", [9, 37]), at.active("w", [37]), at.active("g", [9, 37]));
        Ok(vec![fetch(&kernels::rms_norm(&x, &w, 1e-5))?, fetch(&kernels::rms_norm_backward(g, &x, &w, 1e-5))?])
    }),
    ("swiglu and gradients", 3e-6, 6e-3, |at| {
        let (gate, up, g) = (at.active("gate", [11, 45]), at.active("up", [11, 45]), at.active("g", [11, 45]));
        let y = kernels::swiglu(&gate, &up);
        let over = kernels::swiglu_over(at.active("gate", [11, 45]), &up);
        let (gg, gu, again) = kernels::swiglu_backward(gate, up, g);
        Ok(vec![fetch(&y)?, fetch(&over)?, fetch(&gg)?, fetch(&gu)?, fetch(&again)?])
    }),
    ("dropout of the same elements", 1e-6, 5e-3, |at| {
        // Some that a vector access does not reach, and a counter beyond 32 bits.
        let mask = Mask { share: 0.3, stream: 0x0123_4567_89ab_cdef, draw: 1 << 33 };
        let x = at.active("x", [11, 37]);
        let added = kernels::add_dropout(at.active("y", [11, 37]), &x, mask);
        let rare = kernels::dropout(&x, Mask { share: 0.05, draw: 7, ..mask });
        Ok(vec![fetch(&kernels::dropout(&x, mask))?, fetch(&rare)?, fetch(&added)?])
    }),
    ("DoRA: norms, magnitudes and gradients", 5e-6, 1e-2, |at| {
        let (w, a, b) = (at.active("w", [72, 40]), at.active("a", [8, 40]), at.active("b", [72, 8]));
        let positive =
            |seed| at.place.full(on_cpu([72], &random(seed, 72, 1.0).iter().map(|x| x + 1.5).collect::<Vec<_>>()));
        let squares = kernels::row_squares(at.full("squares", [80]), &w, 5);
        let of_rows = kernels::row_squares(at.place.zeros([72]), &w, 0);
        let inner = product(buffer(&a, 8, 72), &a, &w, Product::NT);
        let gram = product(buffer(&a, 8, 8), &a, &a, Product::NT);
        let inner = product(inner, &gram, &b, Product::NT.times(0.25).added());
        let norms = kernels::adapted_norms(at.place.zeros([72]), &of_rows, &inner, &b, 0.5);
        let (magnitude, given) = (positive("magnitude"), positive("norms"));
        let scaled = kernels::to_magnitude(at.active("x", [19, 37]), &magnitude, &given, 20);
        let (z, g) = (at.active("z", [19, 37]), at.active("g", [19, 37]));
        let (grad, gz) = kernels::to_magnitude_backward(at.full("grad", [72]), z, &g, &magnitude, &given, 20);
        [squares, norms, grad].iter().map(fetch).chain([scaled, gz].iter().map(fetch)).collect()
    }),
    ("working_copy", 1e-6, 5e-3, |at| {
        let value = at.full("value", [33, 7]);
        // Where activations are f32 there is no copy.
        let copy = at.place.working_zeros([33, 7]).map(|copy| kernels::working_copy(copy, &value));
        Ok(vec![fetch(copy.as_ref().unwrap_or(&value))?])
    }),
    // Sums beyond f16, and the numbers on both sides of what still has room there.
    ("numbers that overflow f16", 1e-6, 5e-3, |at| {
        let half = || at.constant(&[49152.0, -49152.0, 3.0], 11);
        let sum = kernels::add(half(), &half());
        let edge = [65504.0, 65519.996, 65520.0, -65519.996, -65520.0, 1e5, -1e6, 7.0];
        let value = at.place.full(on_cpu([1, 19], &edge.repeat(3)[..19]));
        let copy = at.place.working_zeros([1, 19]).map(|copy| kernels::working_copy(copy, &value));
        Ok(vec![at.kept(&sum)?, at.kept(copy.as_ref().unwrap_or(&value))?])
    }),
];
