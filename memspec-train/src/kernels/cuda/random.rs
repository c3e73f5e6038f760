//! Random weights made on the device, for measuring: no host has to make them, and none has to send them.

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, Number};
use super::tensor::{elements, uninitialized};
use super::typed;
use crate::kernels::compile::Source;

/// Numbers within `spread` of `mean`, on the card with this number.
pub(crate) fn numbers(
    card: usize,
    shape: impl Into<Shape>,
    dtype: DType,
    seed: u64,
    spread: f32,
    mean: f32,
) -> CubeTensor {
    let out = uninitialized(card, shape, dtype);
    let n = elements(&out);
    let numbers = [Number::U64(n as u64), Number::U64(seed), Number::F32(spread), Number::F32(mean)];
    Kernel::flat(Source::Elementwise, typed!(dtype, "random"), n).run([&out], 1, numbers);
    out
}

/// So many bytes, any.
pub(crate) fn bytes(card: usize, count: usize, seed: u64) -> CubeTensor {
    let out = uninitialized(card, [count.next_multiple_of(4)], DType::U8);
    let words = count.div_ceil(4);
    Kernel::flat(Source::Elementwise, "random_bytes", words).run(
        [&out],
        1,
        [Number::U64(words as u64), Number::U64(seed)],
    );
    out
}
