//! [`Kernels`] on CUDA: products by cuBLASLt, the rest by kernels of ours in `source/`, all on CubeCL's stream.
//!
//! Activations and frozen weights are bf16, f16 or f32, as the plan's precision says; what is trained, its gradient and its moments (but for
//! those of 8 bits) are f32, or bf16 as all else; every sum is f32.

mod attention;
pub(crate) mod gemm;
pub(crate) mod launch;
mod low_rank;
pub(crate) mod offload;
pub(crate) mod optimizer;
mod quantized;
pub(crate) mod random;
pub(crate) mod spans;
pub(crate) mod tensor;

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::MemoryScope;

use super::compile::Source;
use super::low_rank::{Added, Few, GatedTensors, Half, by_products};
use super::{AdamW, Heads, Kernels, Mask, Packed, Product, RowsOf, Samples};
use launch::{Kernel, Number};
use tensor::{elements, matrix_shape, rows, unfilled};

/// The name of a kernel for tensors of this type.
macro_rules! typed {
    ($dtype:expr, $name:literal) => {
        match $dtype {
            burn::tensor::DType::F32 => concat!($name, "_f32"),
            burn::tensor::DType::F16 => concat!($name, "_f16"),
            _ => concat!($name, "_bf16"),
        }
    };
}
use typed;

/// The name of a kernel for tensors of the first type that adds to a gradient of the second.
macro_rules! gradient {
    ($dtype:expr, $grad:expr, $name:literal) => {
        if $grad == burn::tensor::DType::BF16 { concat!($name, "_bf16_pure") } else { typed!($dtype, $name) }
    };
}

/// The most tensor bytes in use on a card since the last call, as far as calls were watched ([`launch::watch`]).
pub(crate) fn peak(card: usize) -> u64 {
    // The report comes when everything queued before has had its turn.
    let usage = tensor::device(card).client().memory_report(MemoryScope::CurrentStream).usage();
    launch::seen().max(usage.bytes_in_use)
}

/// Bytes that matrix products may use beside their operands.
pub(crate) const WORKSPACE: u64 = gemm::WORKSPACE as u64;

/// What the pools of a card hold, used or not, and the workspace of products.
pub(crate) fn reserved(card: usize) -> u64 {
    let usage = tensor::device(card).client().memory_report(MemoryScope::Device).usage();
    usage.bytes_reserved + WORKSPACE
}

fn u32_of(number: usize) -> Number {
    Number::U32(number as u32)
}

fn u64_of(number: usize) -> Number {
    Number::U64(number as u64)
}

/// What the kernels of dropout take: the elements, and which of them are dropped.
fn drops(n: usize, mask: Mask) -> [Number; 5] {
    let Mask { stream, draw, .. } = mask;
    let [stream, draw, threshold] = [stream, draw, mask.threshold()].map(Number::U64);
    [u64_of(n), stream, draw, threshold, Number::F32(mask.scale())]
}

/// The rank of an adapter, from its `[T, rank]`.
fn rank(half: &Half<Cube>) -> usize {
    matrix_shape(&half.low).1
}

/// Threads of a block that works on one row.
const ROW_THREADS: u32 = 256;

/// The losses of all tokens, and over `x` its gradient unless `scale` is 0; with `head_grad` also the head's.
fn cross_entropy(
    x: &CubeTensor,
    head: &CubeTensor,
    mut head_grad: Option<CubeTensor>,
    targets: &CubeTensor,
    at_a_time: usize,
    scale: f32,
    gradient: bool,
) -> (CubeTensor, Option<CubeTensor>) {
    let (tokens, _) = matrix_shape(x);
    let (vocabulary, _) = matrix_shape(head);
    let at_a_time = at_a_time.min(tokens);
    let losses = unfilled(x, [tokens, 1], DType::F32);
    let logits = unfilled(x, [at_a_time, vocabulary], x.dtype);
    let targets = CubeTensor::new_contiguous(
        targets.client.clone(),
        targets.device.clone(),
        [tokens, 1].into(),
        targets.handle.clone(),
        targets.dtype,
    );
    for first in (0..tokens).step_by(at_a_time) {
        let count = at_a_time.min(tokens - first);
        let logits = rows(&logits, 0, count);
        let x = rows(x, first, count);
        let logits = gemm::product(logits, None, &x, head, Product::NT);
        let kernel = Kernel::new(Source::Loss, typed!(x.dtype, "cross_entropy"), count, 1024);
        let operands = [&logits, &rows(&targets, first, count), &rows(&losses, first, count)];
        // Written: logits and losses. The targets between them are only read; to count them too does no harm.
        kernel.run(operands, 3, [u32_of(vocabulary), Number::F32(if gradient { scale } else { 0.0 })]);
        if gradient {
            head_grad = head_grad.map(|grad| gemm::product(grad, None, &logits, &x, Product::TN.added()));
            gemm::product(x, None, &logits, head, Product::NN);
        }
    }
    let loss = unfilled(x, [1], DType::F32);
    let sum = Kernel::new(Source::Loss, "sum_losses", 1, 1024);
    sum.run([&loss, &losses], 1, [u32_of(tokens), Number::F32(scale)]);
    (loss, head_grad)
}

impl Kernels for Cube {
    fn buffer(like: CubeTensor, rows: usize, columns: usize) -> CubeTensor {
        unfilled(&like, [rows, columns], like.dtype)
    }

    fn embed(table: CubeTensor, ids: CubeTensor) -> CubeTensor {
        let ((_, columns), tokens) = (matrix_shape(&table), elements(&ids));
        let out = unfilled(&table, [tokens, columns], table.dtype);
        let kernel = Kernel::new(Source::Elementwise, typed!(table.dtype, "embed"), tokens, ROW_THREADS);
        kernel.run([&out, &table, &ids], 1, [u32_of(columns)]);
        out
    }

    fn embed_backward(grad: CubeTensor, ids: CubeTensor, g: CubeTensor) -> CubeTensor {
        let (tokens, columns) = matrix_shape(&g);
        let name = gradient!(g.dtype, grad.dtype, "embed_backward");
        let kernel = match grad.dtype {
            DType::BF16 => Kernel::new(Source::Elementwise, name, tokens, ROW_THREADS),
            _ => Kernel::flat(Source::Elementwise, name, columns),
        };
        kernel.run([&grad, &ids, &g], 1, [u32_of(tokens), u32_of(columns)]);
        grad
    }

    fn product(c: CubeTensor, a: CubeTensor, b: CubeTensor, how: Product) -> CubeTensor {
        gemm::product(c, None, &a, &b, how)
    }

    fn product_onto(c: CubeTensor, onto: CubeTensor, a: CubeTensor, b: CubeTensor, how: Product) -> CubeTensor {
        gemm::product(c, Some(&onto), &a, &b, how.added())
    }

    fn add(x: CubeTensor, y: CubeTensor) -> CubeTensor {
        let n = elements(&x);
        Kernel::flat(Source::Elementwise, typed!(x.dtype, "add"), n / 8).run([&x, &y], 1, [u64_of(n)]);
        x
    }

    fn add_bias(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        let n = elements(&x);
        let kernel = Kernel::flat(Source::Elementwise, typed!(x.dtype, "add_bias"), n);
        kernel.run([&x, &bias], 1, [u64_of(n), u32_of(elements(&bias))]);
        x
    }

    fn add_rows(grad: CubeTensor, g: CubeTensor) -> CubeTensor {
        let (rows, columns) = matrix_shape(&g);
        let kernel = Kernel::flat(Source::Elementwise, gradient!(g.dtype, grad.dtype, "add_rows"), columns);
        kernel.run([&grad, &g], 1, [u32_of(rows), u32_of(columns)]);
        grad
    }

    fn rms_norm(x: CubeTensor, weight: CubeTensor, epsilon: f32) -> CubeTensor {
        let (rows, columns) = matrix_shape(&x);
        let out = unfilled(&x, [rows, columns], x.dtype);
        let kernel = Kernel::new(Source::Norm, typed!(x.dtype, "rms_norm"), rows, ROW_THREADS);
        kernel.run([&out, &x, &weight], 1, [u32_of(columns), Number::F32(epsilon)]);
        out
    }

    fn rms_norm_backward(g: CubeTensor, x: CubeTensor, weight: CubeTensor, epsilon: f32) -> CubeTensor {
        let (rows, columns) = matrix_shape(&x);
        let kernel = Kernel::new(Source::Norm, typed!(x.dtype, "rms_norm_backward"), rows, ROW_THREADS);
        kernel.run_without([&g, &x, &weight], 1, 1, [u32_of(columns), Number::F32(epsilon)]);
        g
    }

    fn rms_norm_backward_past(
        g: CubeTensor,
        x: CubeTensor,
        weight: CubeTensor,
        past: CubeTensor,
        epsilon: f32,
    ) -> CubeTensor {
        let (rows, columns) = matrix_shape(&x);
        let kernel = Kernel::new(Source::Norm, typed!(x.dtype, "rms_norm_backward"), rows, ROW_THREADS);
        kernel.run([&g, &x, &weight, &past], 1, [u32_of(columns), Number::F32(epsilon)]);
        g
    }

    fn rms_norm_weight_backward(grad: CubeTensor, g: CubeTensor, x: CubeTensor, epsilon: f32) -> CubeTensor {
        let (rows, columns) = matrix_shape(&x);
        let inverse = unfilled(&x, [rows], DType::F32);
        let kernel = Kernel::new(Source::Norm, typed!(x.dtype, "rms_norm_inverse"), rows, ROW_THREADS);
        kernel.run([&inverse, &x], 1, [u32_of(columns), Number::F32(epsilon)]);
        let name = gradient!(x.dtype, grad.dtype, "rms_norm_weight_backward");
        let kernel = Kernel::flat(Source::Norm, name, columns);
        kernel.run([&grad, &g, &x, &inverse], 1, [u32_of(rows), u32_of(columns)]);
        grad
    }

    fn rotary(
        x: CubeTensor,
        cos: CubeTensor,
        sin: CubeTensor,
        samples: Samples<Self>,
        heads: Heads,
        inverse: bool,
    ) -> CubeTensor {
        let ((tokens, width), (_, half)) = (matrix_shape(&x), matrix_shape(&cos));
        let kernel = Kernel::new(Source::Norm, typed!(x.dtype, "rotary"), tokens, ROW_THREADS);
        let sign = Number::F32(if inverse { -1.0 } else { 1.0 });
        let [context, head_dim] = [heads.context, heads.head_dim].map(u32_of);
        kernel.run_for(&samples, [&x, &cos, &sin], 1, [context, u32_of(width), head_dim, u32_of(half), sign]);
        x
    }

    fn attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        samples: Samples<Self>,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor) {
        attention::forward(&q, &k, &v, &samples, heads)
    }

    fn attention_backward(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        out: CubeTensor,
        lse: CubeTensor,
        g: CubeTensor,
        samples: Samples<Self>,
        heads: Heads,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        attention::backward(q, [&k, &v, &out, &lse, &g], &samples, heads)
    }

    fn swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        let n = elements(&gate);
        let out = unfilled(&gate, gate.meta.shape().clone(), gate.dtype);
        Kernel::flat(Source::Elementwise, typed!(gate.dtype, "swiglu"), n / 8).run([&out, &gate, &up], 1, [u64_of(n)]);
        out
    }

    fn swiglu_over(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        let n = elements(&gate);
        Kernel::flat(Source::Elementwise, typed!(gate.dtype, "swiglu"), n / 8).run([&gate, &gate, &up], 1, [u64_of(n)]);
        gate
    }

    fn swiglu_backward(gate: CubeTensor, up: CubeTensor, g: CubeTensor) -> (CubeTensor, CubeTensor, CubeTensor) {
        let n = elements(&gate);
        let kernel = Kernel::flat(Source::Elementwise, typed!(gate.dtype, "swiglu_backward"), n / 8);
        kernel.run([&gate, &up, &g], 3, [u64_of(n)]);
        (gate, up, g)
    }

    fn swiglu_backward_adapted(
        gate: CubeTensor,
        up: CubeTensor,
        g: CubeTensor,
        b_gate: Half<Self>,
        b_up: Half<Self>,
        a_down: Half<Self>,
        added: bool,
    ) -> GatedTensors<Self> {
        match low_rank::Read::of(&g, rank(&b_gate)) {
            Some(read) => read.swiglu_backward(gate, up, [b_gate, b_up, a_down], added),
            None => by_products::swiglu_backward::<Self>(gate, up, g, b_gate, b_up, a_down, added),
        }
    }

    fn swiglu_added(
        gate: CubeTensor,
        up: CubeTensor,
        to_gate: Added<Self>,
        to_up: Added<Self>,
        a_down: CubeTensor,
        over: bool,
    ) -> (CubeTensor, CubeTensor) {
        match low_rank::Read::of(&gate, matrix_shape(&a_down).0) {
            Some(read) => read.swiglu_added(&up, [to_gate, to_up], &a_down, over),
            None => by_products::swiglu_added::<Self>(gate, up, to_gate, to_up, a_down),
        }
    }

    fn low_rank_output_backward(g: CubeTensor, b: Half<Self>) -> (CubeTensor, CubeTensor) {
        match low_rank::Read::of(&g, rank(&b)) {
            Some(read) => read.output_backward(b),
            None => by_products::output_backward::<Self>(g, b),
        }
    }

    fn low_rank_inputs(x: CubeTensor, a: Few<Self>) -> Vec<CubeTensor> {
        let rank = matrix_shape(a.first()).0;
        match low_rank::Read::of(&x, rank) {
            Some(read) => read.inputs(&a.into_vec()),
            None => by_products::inputs::<Self>(x, a),
        }
    }

    fn low_rank_inputs_backward(x: CubeTensor, lows: Few<Self>, grads: Few<Self>) -> Vec<CubeTensor> {
        match low_rank::Read::of(&x, matrix_shape(lows.first()).1) {
            Some(read) => read.inputs_backward(&lows.into_vec(), grads.into_vec()),
            None => by_products::inputs_backward::<Self>(x, lows, grads),
        }
    }

    fn cross_entropy(
        x: CubeTensor,
        head: CubeTensor,
        targets: CubeTensor,
        rows: usize,
        scale: f32,
    ) -> (CubeTensor, CubeTensor) {
        let (loss, _) = cross_entropy(&x, &head, None, &targets, rows, scale, true);
        (loss, x)
    }

    fn cross_entropy_trained_head(
        x: CubeTensor,
        head: CubeTensor,
        head_grad: CubeTensor,
        targets: CubeTensor,
        rows: usize,
        scale: f32,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (loss, grad) = cross_entropy(&x, &head, Some(head_grad), &targets, rows, scale, true);
        (loss, x, grad.unwrap_or_else(|| unreachable!("a gradient that is given comes back")))
    }

    fn cross_entropy_loss(x: CubeTensor, head: CubeTensor, targets: CubeTensor, rows: usize, scale: f32) -> CubeTensor {
        cross_entropy(&x, &head, None, &targets, rows, scale, false).0
    }

    fn packed_rows(like: CubeTensor, weight: Packed<Self>, rows: RowsOf) -> CubeTensor {
        quantized::rows_of(&like, &weight, rows)
    }

    fn packed_rows_adapted(weight: Packed<Self>, b: CubeTensor, a: CubeTensor, scale: f32, rows: RowsOf) -> CubeTensor {
        quantized::adapted(&weight, &b, &a, scale, rows)
    }

    fn dropout(x: CubeTensor, mask: Mask) -> CubeTensor {
        let n = elements(&x);
        let out = unfilled(&x, x.meta.shape().clone(), x.dtype);
        Kernel::flat(Source::Elementwise, typed!(x.dtype, "dropout"), n / 8).run([&out, &x], 1, drops(n, mask));
        out
    }

    fn add_dropout(x: CubeTensor, y: CubeTensor, mask: Mask) -> CubeTensor {
        let n = elements(&x);
        Kernel::flat(Source::Elementwise, typed!(x.dtype, "add_dropout"), n / 8).run([&x, &y], 1, drops(n, mask));
        x
    }

    fn row_squares(squares: CubeTensor, x: CubeTensor, first: usize) -> CubeTensor {
        let (rows, columns) = matrix_shape(&x);
        let kernel = Kernel::new(Source::Magnitude, typed!(x.dtype, "row_squares"), rows, ROW_THREADS);
        kernel.run([&squares, &x], 1, [u32_of(first), u32_of(columns)]);
        squares
    }

    fn adapted_norms(
        norms: CubeTensor,
        squares: CubeTensor,
        inner: CubeTensor,
        b: CubeTensor,
        scale: f32,
    ) -> CubeTensor {
        let (rank, outputs) = matrix_shape(&inner);
        let kernel = Kernel::flat(Source::Magnitude, typed!(inner.dtype, "adapted_norms"), outputs);
        let numbers = [u32_of(outputs), u32_of(rank), Number::F32(scale)];
        kernel.run([&norms, &squares, &inner, &b], 1, numbers);
        norms
    }

    fn to_magnitude(x: CubeTensor, magnitude: CubeTensor, norms: CubeTensor, first: usize) -> CubeTensor {
        let (n, (_, columns)) = (elements(&x), matrix_shape(&x));
        let kernel = Kernel::flat(Source::Magnitude, typed!(x.dtype, "to_magnitude"), n);
        kernel.run([&x, &magnitude, &norms], 1, [u64_of(n), u32_of(columns), u32_of(first)]);
        x
    }

    fn to_magnitude_backward(
        grad: CubeTensor,
        z: CubeTensor,
        g: CubeTensor,
        magnitude: CubeTensor,
        norms: CubeTensor,
        first: usize,
    ) -> (CubeTensor, CubeTensor) {
        let (rows, columns) = matrix_shape(&z);
        // `WIDTH` columns a block, by `HEIGHT` lines of threads.
        let blocks = columns.div_ceil(32);
        let kernel = Kernel::new(Source::Magnitude, typed!(z.dtype, "to_magnitude_backward"), blocks, 32 * 16);
        let numbers = [u32_of(rows), u32_of(columns), u32_of(first)];
        kernel.run([&grad, &z, &g, &magnitude, &norms], 2, numbers);
        (grad, z)
    }

    fn sum_of_squares(sums: CubeTensor, x: CubeTensor, index: usize) -> CubeTensor {
        let n = elements(&x);
        let kernel = Kernel::new(Source::Optimizer, typed!(x.dtype, "sum_of_squares"), 1, 1024);
        kernel.run([&sums, &x], 1, [u64_of(n), u32_of(index)]);
        sums
    }

    fn adamw(
        value: CubeTensor,
        grad: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        step: AdamW,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let (v, g, m, s) = (value.clone(), grad.clone(), first.clone(), second.clone());
        let trained =
            optimizer::Trained { value: v, grad: g, first: m, second: s, largest: None, copy: None, decays: true };
        optimizer::one(trained, step);
        (value, grad, first, second)
    }

    fn adamw_8bit(
        value: CubeTensor,
        grad: CubeTensor,
        first: CubeTensor,
        first_largest: CubeTensor,
        second: CubeTensor,
        second_largest: CubeTensor,
        step: AdamW,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let largest = Some([first_largest.clone(), second_largest.clone()]);
        let (v, g, m, s) = (value.clone(), grad.clone(), first.clone(), second.clone());
        let trained = optimizer::Trained { value: v, grad: g, first: m, second: s, largest, copy: None, decays: true };
        optimizer::one(trained, step);
        (value, grad, first, first_largest, second, second_largest)
    }

    fn sgd(value: CubeTensor, grad: CubeTensor, step: AdamW) -> (CubeTensor, CubeTensor) {
        let n = elements(&value);
        let decay = 1.0 - step.learning_rate * step.weight_decay;
        let numbers =
            [u64_of(n), Number::F32(step.learning_rate), Number::F32(decay), Number::F32(step.gradient_scale)];
        Kernel::flat(Source::Optimizer, typed!(value.dtype, "sgd"), n).run([&value, &grad], 2, numbers);
        (value, grad)
    }

    fn working_copy(copy: CubeTensor, value: CubeTensor) -> CubeTensor {
        let n = elements(&value);
        let name = if copy.dtype == DType::F16 { "cast_f16" } else { "cast_bf16" };
        Kernel::flat(Source::Elementwise, name, n / 8).run([&copy, &value], 1, [u64_of(n)]);
        copy
    }
}
