//! [`Kernels`] on the CPU: plain slices, matrix products by the `gemm` crate, the rest in parallel over rows by rayon.

mod attention;
mod dropout;
mod elementwise;
mod embedding;
mod loss;
mod magnitude;
mod matrix;
mod norm;
mod optimizer;
mod quantized;
mod rotary;
mod simd;

use burn::backend::Flex;

use super::storage::F32;
use super::{AdamW, Heads, Kernels, Mask, Packed, Product, RowsOf, Samples};

/// Rows and columns of a tensor seen as a matrix: the last dimension is the row.
fn matrix_shape(x: &F32) -> (usize, usize) {
    let shape = x.layout().shape();
    let columns = shape[shape.num_dims() - 1];
    (shape.num_elements() / columns.max(1), columns)
}

/// The elements, which every tensor of the executor holds contiguously from the start of its storage.
fn elements(x: &F32) -> &[f32] {
    &x.storage::<f32>()[..x.layout().num_elements()]
}

/// The elements for writing. The step hands over the only reference, so nothing is copied.
fn elements_mut(x: &mut F32) -> &mut [f32] {
    let len = x.layout().num_elements();
    debug_assert!(x.is_unique(), "a tensor that is written in place has one owner");
    &mut x.storage_mut::<f32>()[..len]
}

/// The bytes for writing, with one owner as above.
fn bytes_mut(x: &mut F32) -> &mut [u8] {
    let len = x.layout().num_elements();
    debug_assert!(x.is_unique(), "a tensor that is written in place has one owner");
    &mut x.storage_mut::<u8>()[..len]
}

/// The column in which each token's sample begins; `None`: the first.
fn starts(samples: &Samples<Flex>) -> Option<&[i32]> {
    match samples {
        Samples::Rows => None,
        Samples::Packed(starts) => Some(starts.storage::<i32>()),
    }
}

/// Elements of one parallel task of an element-wise loop: large enough to amortize the hand-over.
const GRAIN: usize = 16 * 1024;

/// Rows of one parallel task of a row-wise loop.
fn row_grain(columns: usize) -> usize {
    (GRAIN / columns.max(1)).max(1)
}

impl Kernels for Flex {
    fn buffer(_like: F32, rows: usize, columns: usize) -> F32 {
        super::storage::unfilled([rows, columns])
    }

    fn embed(table: F32, ids: F32) -> F32 {
        embedding::forward(&table, &ids)
    }

    fn embed_backward(grad: F32, ids: F32, g: F32) -> F32 {
        embedding::backward(grad, &ids, &g)
    }

    fn product(c: F32, a: F32, b: F32, how: Product) -> F32 {
        matrix::product(c, &a, &b, how)
    }

    fn product_onto(mut c: F32, onto: F32, a: F32, b: F32, how: Product) -> F32 {
        elements_mut(&mut c).copy_from_slice(elements(&onto));
        matrix::product(c, &a, &b, how.added())
    }

    fn add(x: F32, y: F32) -> F32 {
        elementwise::add(x, &y)
    }

    fn add_bias(x: F32, bias: F32) -> F32 {
        elementwise::add_bias(x, &bias)
    }

    fn add_rows(grad: F32, g: F32) -> F32 {
        elementwise::add_rows(grad, &g)
    }

    fn rms_norm(x: F32, weight: F32, epsilon: f32) -> F32 {
        norm::forward(&x, &weight, epsilon)
    }

    fn rms_norm_backward(g: F32, x: F32, weight: F32, epsilon: f32) -> F32 {
        norm::backward(g, &x, &weight, epsilon)
    }

    fn rms_norm_backward_past(g: F32, x: F32, weight: F32, past: F32, epsilon: f32) -> F32 {
        elementwise::add(norm::backward(g, &x, &weight, epsilon), &past)
    }

    fn rms_norm_weight_backward(grad: F32, g: F32, x: F32, epsilon: f32) -> F32 {
        norm::weight_backward(grad, &g, &x, epsilon)
    }

    fn rotary(x: F32, cos: F32, sin: F32, samples: Samples<Self>, heads: Heads, inverse: bool) -> F32 {
        rotary::rotate(x, &cos, &sin, &samples, heads, inverse)
    }

    fn attention(q: F32, k: F32, v: F32, samples: Samples<Self>, heads: Heads) -> (F32, F32) {
        attention::forward(&q, &k, &v, &samples, heads)
    }

    fn attention_backward(
        q: F32,
        k: F32,
        v: F32,
        out: F32,
        lse: F32,
        g: F32,
        samples: Samples<Self>,
        heads: Heads,
    ) -> (F32, F32, F32) {
        attention::backward(q, [&k, &v, &out, &lse, &g], &samples, heads)
    }

    fn swiglu(gate: F32, up: F32) -> F32 {
        elementwise::swiglu(&gate, &up)
    }

    fn swiglu_over(gate: F32, up: F32) -> F32 {
        elementwise::swiglu_over(gate, &up)
    }

    fn swiglu_backward(gate: F32, up: F32, g: F32) -> (F32, F32, F32) {
        elementwise::swiglu_backward(gate, up, g)
    }

    fn cross_entropy(x: F32, head: F32, targets: F32, rows: usize, scale: f32) -> (F32, F32) {
        let (loss, x, _) = loss::cross_entropy(x, &head, None, &targets, rows, scale);
        (loss, x)
    }

    fn cross_entropy_trained_head(
        x: F32,
        head: F32,
        head_grad: F32,
        targets: F32,
        rows: usize,
        scale: f32,
    ) -> (F32, F32, F32) {
        let (loss, x, grad) = loss::cross_entropy(x, &head, Some(head_grad), &targets, rows, scale);
        (loss, x, grad.unwrap_or_else(|| unreachable!("a gradient that is given comes back")))
    }

    fn cross_entropy_loss(x: F32, head: F32, targets: F32, rows: usize, scale: f32) -> F32 {
        loss::loss_only(&x, &head, &targets, rows, scale)
    }

    fn packed_rows(_like: F32, weight: Packed<Self>, rows: RowsOf) -> F32 {
        quantized::rows_of(&weight, rows)
    }

    fn packed_rows_adapted(weight: Packed<Self>, b: F32, a: F32, scale: f32, rows: RowsOf) -> F32 {
        quantized::add_adapter(quantized::rows_of(&weight, rows), &b, &a, scale, rows)
    }

    fn dropout(x: F32, mask: Mask) -> F32 {
        dropout::dropout(&x, mask)
    }

    fn add_dropout(x: F32, y: F32, mask: Mask) -> F32 {
        dropout::add_dropout(x, &y, mask)
    }

    fn row_squares(squares: F32, x: F32, first: usize) -> F32 {
        magnitude::row_squares(squares, &x, first)
    }

    fn adapted_norms(norms: F32, squares: F32, inner: F32, b: F32, scale: f32) -> F32 {
        magnitude::adapted_norms(norms, &squares, &inner, &b, scale)
    }

    fn to_magnitude(x: F32, magnitude: F32, norms: F32, first: usize) -> F32 {
        magnitude::to_magnitude(x, &magnitude, &norms, first)
    }

    fn to_magnitude_backward(grad: F32, z: F32, g: F32, magnitude: F32, norms: F32, first: usize) -> (F32, F32) {
        magnitude::to_magnitude_backward(grad, z, &g, &magnitude, &norms, first)
    }

    fn sum_of_squares(mut sums: F32, x: F32, index: usize) -> F32 {
        elements_mut(&mut sums)[index] = elementwise::sum_of_squares(&x);
        sums
    }

    fn adamw(value: F32, grad: F32, first: F32, second: F32, step: AdamW) -> (F32, F32, F32, F32) {
        optimizer::adamw(value, grad, first, second, step)
    }

    fn adamw_8bit(
        value: F32,
        grad: F32,
        first: F32,
        first_largest: F32,
        second: F32,
        second_largest: F32,
        step: AdamW,
    ) -> (F32, F32, F32, F32, F32, F32) {
        optimizer::adamw_8bit(value, grad, (first, first_largest), (second, second_largest), step)
    }

    fn sgd(value: F32, grad: F32, step: AdamW) -> (F32, F32) {
        optimizer::sgd(value, grad, step)
    }

    fn working_copy(mut copy: F32, value: F32) -> F32 {
        elements_mut(&mut copy).copy_from_slice(elements(&value));
        copy
    }
}
