//! AdamW over all trained tensors in one launch, and their gradients' norm in two: the host has nothing to wait for in between.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::sys;

use super::launch::{Kernel, Number, checked, submit_all};
use super::tensor::{elements, unfilled};
use super::{typed, u32_of};
use crate::kernels::AdamW;
use crate::kernels::compile::Source;

/// Elements of one block (`CHUNK` in `source/optimizer.cu`).
const CHUNK: usize = 8192;
/// Words of one tensor's line in the table (`Trained` in `source/optimizer.cu`).
const LINE: usize = 10;

/// The tensors of one trained parameter.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    /// The weight: f32, or bf16 as all that is trained.
    pub(crate) value: CubeTensor,
    /// Its gradient, in the same type.
    pub(crate) grad: CubeTensor,
    /// The first moment: f32, bf16 as the weight, or codes.
    pub(crate) first: CubeTensor,
    /// The second moment, likewise.
    pub(crate) second: CubeTensor,
    /// The largest magnitudes of both moments' blocks, where they are codes.
    pub(crate) largest: Option<[CubeTensor; 2]>,
    /// The value in the 16 bits in which products read it, where they do.
    pub(crate) copy: Option<CubeTensor>,
    /// Weight decay holds for it.
    pub(crate) decays: bool,
}

/// One AdamW step of all, with their gradients clipped to the norm `clip` (0: not). Nothing but the gradients is changed where their norm
/// is no number. The squared norm of the gradients as they are, before anything is multiplied, as `[1]`.
pub(crate) fn step(all: &[Trained], how: AdamW, clip: f32) -> Option<CubeTensor> {
    let like = &all.first()?.value;
    let (table, blocks) = table(like, all);
    let count = u32_of(all.len());
    let sums = unfilled(like, [blocks], DType::F32);
    let square = unfilled(like, [1], DType::F32);
    Kernel::new(Source::Optimizer, typed!(like.dtype, "squares"), blocks, 256).run([&sums, &table], 1, [count]);
    let sum = Kernel::new(Source::Loss, "sum_losses", 1, 1024);
    sum.run([&square, &sums], 1, [u32_of(blocks), Number::F32(1.0)]);
    adamw(all, &table, Some(&square), blocks, how, clip);
    Some(square)
}

/// One AdamW step of one parameter.
pub(super) fn one(tensors: Trained, how: AdamW) {
    let all = [tensors];
    let like = &all[0].value;
    let (table, blocks) = table(like, &all);
    adamw(&all, &table, None, blocks, how, 0.0);
}

fn adamw(all: &[Trained], table: &CubeTensor, square: Option<&CubeTensor>, blocks: usize, how: AdamW, clip: f32) {
    let (beta1, beta2) = how.betas;
    let f = Number::F32;
    let numbers = [
        u32_of(all.len()),
        f(how.learning_rate),
        f(beta1),
        f(beta2),
        f(how.epsilon),
        f(1.0 - how.learning_rate * how.weight_decay),
        f(1.0 / (1.0 - beta1.powi(how.step))),
        f(1.0 / (1.0 - beta2.powi(how.step))),
        f(how.gradient_scale),
        f(clip),
    ];
    // The tensors of the table are kept by whoever holds the parameters, and are written in the order of the stream.
    let kernel = Kernel::new(Source::Optimizer, kernel(all), blocks, 256);
    match square {
        // `square` is named as written, though it is not: it is read afterwards, and what became of this launch is told then.
        Some(square) => kernel.run([table, square], 2, numbers),
        None => kernel.run_without([table], 1, 0, numbers),
    }
}

/// The kernel for tensors of these types. All weights have one type, and all moments that are no codes.
fn kernel(all: &[Trained]) -> &'static str {
    let is = |one: &CubeTensor, dtype| one.dtype == dtype;
    if all.iter().any(|one| is(&one.value, DType::BF16)) {
        let moments_are_f32 = all.iter().any(|one| is(&one.first, DType::F32));
        return if moments_are_f32 { "adamw_pure_f32_moments" } else { "adamw_pure" };
    }
    let copies_are_f16 = all.iter().filter_map(|one| one.copy.as_ref()).any(|copy| is(copy, DType::F16));
    if copies_are_f16 { "adamw_f16" } else { "adamw_bf16" }
}

/// The table that the kernels read, and how many blocks they take. It is written where the addresses are known.
fn table(like: &CubeTensor, all: &[Trained]) -> (CubeTensor, usize) {
    let table = unfilled(like, [all.len() * LINE * 8], DType::U8);
    let mut operands = vec![&table];
    let mut lines = Vec::with_capacity(all.len());
    let mut blocks = 0;
    for Trained { value, grad, first, second, largest, copy, decays } in all {
        operands.extend([value, grad, first, second]);
        operands.extend(copy);
        operands.extend(largest.iter().flatten());
        let has = [copy.is_some(), largest.is_some(), largest.is_some()];
        lines.push((has, elements(value) as u64, blocks as u64, u64::from(*decays)));
        blocks += elements(value).div_ceil(CHUNK);
    }
    submit_all(&operands, 1, move |_, stream, addresses| {
        let mut words = Vec::with_capacity(lines.len() * LINE);
        let mut rest = addresses[1..].iter().copied();
        for (has, elements, first_block, decays) in lines {
            words.extend(rest.by_ref().take(4));
            let [copy, first, second] = has.map(|has| if has { rest.next().unwrap_or(0) } else { 0 });
            words.extend([copy, elements, first_block, decays, first, second]);
        }
        let bytes = size_of_val(words.as_slice());
        // SAFETY: the table has so many bytes; the driver has copied the words when the call returns, as they are in pageable memory.
        let status = unsafe { sys::cuMemcpyHtoDAsync_v2(addresses[0], words.as_ptr().cast(), bytes, stream) };
        checked(status, "the table of trained tensors")
    });
    (table, blocks)
}
