//! Adapters beside activations that are read once: see `source/low_rank.cu`.

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use memspec::cost::engine::memspec::{Reading, is_read_once};

use super::launch::{Kernel, Number, capability_at};
use super::tensor::{matrix_shape, unfilled};
use super::{typed, u32_of};
use crate::kernels::compile::{Short, Source};
use crate::kernels::low_rank::{Added, GatedTensors, Half};

/// Bytes of shared memory that a block may have on any card.
const SHARED: usize = 99 << 10;
/// The same on those that have more of it, so that there are two stages of what takes most.
const MORE_SHARED: usize = 150 << 10;

/// An activation `[T, columns]` that is read once for adapters of one rank.
pub(super) struct Read<'a> {
    x: &'a CubeTensor,
    source: Source,
    rank: usize,
    reading: Reading,
}

/// What takes shared memory.
struct Shared {
    /// Tensors like `x` that are read.
    tensors: usize,
    /// Inner sums, whose weights are there.
    inner: usize,
}

impl<'a> Read<'a> {
    /// `None`: the kernels do not take its type, or this rank.
    pub(super) fn of(x: &'a CubeTensor, rank: usize) -> Option<Self> {
        let short = match x.dtype {
            DType::BF16 => Short::Bf16,
            DType::F16 => Short::F16,
            _ => return None,
        };
        let (tokens, columns) = matrix_shape(x);
        let reading = Reading::of(tokens as u64, columns as u64);
        is_read_once(rank as u64, columns as u64).then_some(Self { x, source: Source::LowRank(short), rank, reading })
    }

    /// See [`crate::kernels::Kernels::low_rank_output_backward`].
    pub(super) fn output_backward(&self, b: Half<Cube>) -> (CubeTensor, CubeTensor) {
        let (inners, outers) = (self.inners(1), self.outers(1));
        self.pass(
            "output_backward",
            &Shared { tensors: 1, inner: 1 },
            [&inners, &outers, self.x, &b.weight, &b.low],
            2,
            [1.0; 2],
        );
        self.add_inners([&b.low; 3], &inners, [b.scale; 3], 1);
        self.add_outers([&b.grad; 3], &outers, [b.scale; 3], 1, 1);
        (b.low, b.grad)
    }

    /// See [`crate::kernels::Kernels::low_rank_inputs`].
    pub(super) fn inputs(&self, a: &[CubeTensor]) -> Vec<CubeTensor> {
        let (tokens, _) = matrix_shape(self.x);
        let count = a.len();
        let lows: Vec<CubeTensor> = a.iter().map(|_| unfilled(self.x, [tokens, self.rank], self.x.dtype)).collect();
        let inners = self.inners(count);
        let [a0, a1, a2] = three(a);
        let name = if count == 2 { "inputs_2" } else { "inputs_3" };
        self.pass(name, &Shared { tensors: 1, inner: count }, [&inners, self.x, a0, a1, a2], 1, [1.0; 2]);
        self.add_inners(three(&lows), &inners, [1.0; 3], count);
        lows
    }

    /// See [`crate::kernels::Kernels::low_rank_inputs_backward`].
    pub(super) fn inputs_backward(&self, lows: &[CubeTensor], grads: Vec<CubeTensor>) -> Vec<CubeTensor> {
        let count = lows.len();
        let outers = self.outers(count);
        let [low0, low1, low2] = three(lows);
        let name = if count == 2 { "inputs_backward_2" } else { "inputs_backward_3" };
        self.pass(name, &Shared { tensors: 1, inner: 0 }, [&outers, self.x, low0, low1, low2], 1, [1.0; 2]);
        self.add_outers(three(&grads), &outers, [1.0; 3], count, 0);
        grads
    }

    /// See [`crate::kernels::Kernels::swiglu_added`]; `self` is of gate.
    pub(super) fn swiglu_added(
        &self,
        up: &CubeTensor,
        [to_gate, to_up]: [Added<Cube>; 2],
        a_down: &CubeTensor,
        over: bool,
    ) -> (CubeTensor, CubeTensor) {
        let (gate, (tokens, columns)) = (self.x, matrix_shape(self.x));
        let product = if over { gate.clone() } else { unfilled(gate, [tokens, columns], gate.dtype) };
        let low = unfilled(gate, [tokens, self.rank], gate.dtype);
        let inners = self.inners(1);
        let operands = [&product, &inners, gate, up, &to_gate.b, &to_gate.low, &to_up.b, &to_up.low, a_down];
        self.pass("swiglu_added", &Shared { tensors: 2, inner: 1 }, operands, 2, [to_gate.scale, to_up.scale]);
        self.add_inners([&low; 3], &inners, [1.0; 3], 1);
        (product, low)
    }

    /// See [`crate::kernels::Kernels::swiglu_backward_adapted`]; `self` is of the gradient of the product.
    pub(super) fn swiglu_backward(
        &self,
        gate: CubeTensor,
        up: CubeTensor,
        [b_gate, b_up, a_down]: [Half<Cube>; 3],
        added: bool,
    ) -> GatedTensors<Cube> {
        let (inners, outers) = (self.inners(3), self.outers(3));
        let halves = [&b_gate.weight, &b_gate.low, &b_up.weight, &b_up.low, &a_down.weight, &a_down.low];
        let [gw, gl, uw, ul, dw, dl] = halves;
        let operands = [&gate, &up, &inners, &outers, self.x, gw, gl, uw, ul, dw, dl];
        let scales = [b_gate.scale, b_up.scale, a_down.scale];
        let name = if added { "swiglu_backward_added" } else { "swiglu_backward_adapted" };
        self.pass(name, &Shared { tensors: 3, inner: 3 }, operands, 4, [b_gate.scale, b_up.scale]);
        self.add_inners([gl, ul, dl], &inners, scales, 3);
        self.add_outers([&b_gate.grad, &b_up.grad, &a_down.grad], &outers, scales, 3, 2);
        (gate, up, b_gate.low, b_gate.grad, b_up.low, b_up.grad, a_down.low, a_down.grad)
    }

    /// Room for the parts of `count` inner sums.
    fn inners(&self, count: usize) -> CubeTensor {
        unfilled(self.x, [count * self.reading.inner_elements as usize], DType::F32)
    }

    fn outers(&self, count: usize) -> CubeTensor {
        unfilled(self.x, [count * self.reading.outer_elements as usize], DType::F32)
    }

    /// One reading.
    fn pass<const N: usize>(
        &self,
        name: &'static str,
        of: &Shared,
        operands: [&CubeTensor; N],
        written: usize,
        scales: [f32; 2],
    ) {
        let threads = Reading::COLUMNS as usize;
        // What each thread reads of two tokens, which makes room for its inner sums; and of each warp the weights of these.
        let stage = 2 * 16 * threads * of.tensors.max(of.inner);
        let weights = threads / 32 * 1024 * of.inner;
        let room = if matches!(capability_at(self.x), Ok(80 | 90 | 100 | 103)) { MORE_SHARED } else { SHARED };
        let stages = [4, 2].into_iter().find(|stages| stages * stage + weights <= room).unwrap_or(1);
        let (tokens, columns) = matrix_shape(self.x);
        let grid = (self.reading.blocks as u32, self.reading.splits as u32);
        let shared = (stages * stage + weights) as u32;
        let each = self.reading.each as usize;
        let [tokens, columns, rank, each, stages] = [tokens, columns, self.rank, each, stages].map(u32_of);
        // A kernel that gates takes the scales too.
        let [to_gate, to_up] = scales.map(Number::F32);
        Kernel { source: self.source, name, grid, threads: threads as u32, shared }.run(
            operands,
            written,
            [tokens, columns, rank, each, stages, to_gate, to_up],
        );
    }

    /// Adds up the parts of the inner sums of `count` adapters, over `to`.
    fn add_inners(&self, to: [&CubeTensor; 3], inners: &CubeTensor, scales: [f32; 3], count: usize) {
        let (tokens, _) = matrix_shape(self.x);
        let [s0, s1, s2] = scales.map(Number::F32);
        let numbers = [s0, s1, s2, u32_of(tokens), u32_of(self.rank), u32_of(self.reading.blocks as usize)];
        let [t0, t1, t2] = to;
        self.add("add_inners", 16 * tokens, count).run([t0, t1, t2, inners], 3, numbers);
    }

    /// Adds up the parts of the outer sums of `count` adapters and adds them to gradients: the first `turned` of B, the others of A.
    fn add_outers(&self, to: [&CubeTensor; 3], outers: &CubeTensor, scales: [f32; 3], count: usize, turned: usize) {
        let (_, columns) = matrix_shape(self.x);
        let [s0, s1, s2] = scales.map(Number::F32);
        let [c, rank, splits, turned] = [columns, self.rank, self.reading.splits as usize, turned].map(u32_of);
        let [t0, t1, t2] = to;
        let name = typed!(t0.dtype, "add_outers");
        self.add(name, self.rank * columns, count).run([t0, t1, t2, outers], 3, [s0, s1, s2, c, rank, splits, turned]);
    }

    fn add(&self, name: &'static str, elements: usize, count: usize) -> Kernel {
        let grid = (elements.div_ceil(256) as u32, count as u32);
        Kernel { source: self.source, name, grid, threads: 256, shared: 0 }
    }
}

/// A kernel takes three; what it has no use for is any of them.
fn three(of: &[CubeTensor]) -> [&CubeTensor; 3] {
    std::array::from_fn(|index| &of[index.min(of.len() - 1)])
}
