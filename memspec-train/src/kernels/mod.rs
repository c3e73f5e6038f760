//! The operations of a training step, as an extension of burn's backends.
//!
//! [`Kernels`] is the one trait that a device has to offer. The flex backend (CPU) implements it in `cpu`, burn's CUDA backend in `cuda`; every operation writes
//! into buffers that it allocates itself or takes over from its caller, so what a step allocates is what its text says.
//! Tensors are row-major; `T` is the number of tokens in the micro batch (samples x context), activations are `[T, features]`.

pub mod check;
pub(crate) mod compile;
mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod lane;
pub mod low_rank;
pub mod place;
pub mod storage;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Int, Tensor};
use low_rank::{Added, Few, Half, by_products};

/// How two matrices are multiplied: `c = beta * c + alpha * op(a) op(b)`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Use the transpose of `a`.
    pub transpose_a: bool,
    /// Use the transpose of `b`.
    pub transpose_b: bool,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what is in `c`: 0 overwrites it (it may be unfilled), 1 adds to it.
    pub beta: f32,
    /// Use only these columns of `a`: first and count.
    pub a_columns: Option<(usize, usize)>,
    /// Use only these rows of `b`, as it is stored: first and count.
    pub b_rows: Option<(usize, usize)>,
    /// Write only these columns of `c`: first and count.
    pub c_columns: Option<(usize, usize)>,
    /// Write only these rows of `c`: first and count.
    pub c_rows: Option<(usize, usize)>,
}

impl Product {
    /// `c = a bᵀ`: activations times a weight stored `[out, in]`.
    pub const NT: Self = Self {
        transpose_a: false,
        transpose_b: true,
        alpha: 1.0,
        beta: 0.0,
        a_columns: None,
        b_rows: None,
        c_columns: None,
        c_rows: None,
    };
    /// `c = a b`.
    pub const NN: Self = Self { transpose_b: false, ..Self::NT };
    /// `c = aᵀ b`.
    pub const TN: Self = Self { transpose_a: true, ..Self::NN };

    /// The same product times `alpha`.
    pub const fn times(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }

    /// The same product, added to what is in `c`.
    pub const fn added(self) -> Self {
        Self { beta: 1.0, ..self }
    }
}

/// Which tokens of a row are of one sample: its positions count from its first token, and it attends to no other.
#[derive(Debug, ExtensionType)]
pub enum Samples<B: Backend> {
    /// All of them.
    Rows,
    /// For each token `[T]`, those from this column of its row on; never one after the token itself, and never less than the
    /// token before it in its row says.
    Packed(IntTensor<B>),
}

/// The heads of an attention layer over a batch of equally long rows.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Tokens of one row: a sample, or several that are packed.
    pub context: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Elements of one head.
    pub head_dim: usize,
    /// A token sees itself and at most this many tokens before it, less one.
    pub window: Option<usize>,
}

/// A weight as it is packed, row by row.
#[derive(Debug, ExtensionType)]
pub enum Packed<B: Backend> {
    /// NF4: two codes a byte, one f32 absolute maximum for 64 weights.
    Nf4 {
        /// Codes, two a byte.
        codes: IntTensor<B>,
        /// Absolute maxima.
        absmax: FloatTensor<B>,
    },
    /// NF4 with maxima that are quantized too.
    Nf4Double {
        /// Codes, two a byte.
        codes: IntTensor<B>,
        /// Codes of the absolute maxima.
        absmax: IntTensor<B>,
        /// One f32 for 256 maxima.
        scales: FloatTensor<B>,
        /// Mean of the maxima, taken off before they were quantized.
        offset: f32,
    },
    /// One byte a weight, one f32 scale a row.
    Int8 {
        /// Signed codes.
        codes: IntTensor<B>,
        /// Scale of each row.
        scales: FloatTensor<B>,
    },
}

impl Packed<Dispatch> {
    /// See [`Packed::Nf4`].
    pub fn nf4(codes: &Tensor<1, Int>, absmax: &Tensor<1>) -> Self {
        Self::Nf4 { codes: i(codes), absmax: d(absmax) }
    }

    /// See [`Packed::Nf4Double`].
    pub fn nf4_double(codes: &Tensor<1, Int>, absmax: &Tensor<1, Int>, scales: &Tensor<1>, offset: f32) -> Self {
        Self::Nf4Double { codes: i(codes), absmax: i(absmax), scales: d(scales), offset }
    }

    /// See [`Packed::Int8`].
    pub fn int8(codes: &Tensor<1, Int>, scales: &Tensor<1>) -> Self {
        Self::Int8 { codes: i(codes), scales: d(scales) }
    }
}

/// Some rows of a weight that has so many columns.
#[derive(Clone, Copy, Debug)]
pub struct RowsOf {
    /// The first row.
    pub first: usize,
    /// How many.
    pub rows: usize,
    /// Columns of the weight.
    pub columns: usize,
}

/// Which elements dropout leaves out: a function of an element's number and of these, so that nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// The share of the elements that are dropped, 0 to 1.
    pub share: f32,
    /// Whose input it is: each has numbers of its own.
    pub stream: u64,
    /// Which time it is: each has other numbers.
    pub draw: u64,
}

impl Mask {
    /// An element is dropped when its 32 random bits are below this.
    fn threshold(self) -> u64 {
        (f64::from(self.share) * 2_f64.powi(32)) as u64
    }

    /// What the elements that stay are multiplied with, so that the expected value is the element.
    fn scale(self) -> f32 {
        1.0 / (1.0 - self.share)
    }
}

/// One AdamW step's numbers, all for the current step.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate after warm-up and schedule.
    pub learning_rate: f32,
    /// Decay rates of the first and second moment.
    pub betas: (f32, f32),
    /// Added to the square root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The step, counted from 1, for bias correction.
    pub step: i32,
    /// What the gradient is multiplied with first: one over the loss's scale, and less where it is clipped.
    pub gradient_scale: f32,
}

/// Elements of an 8-bit moment that share one largest magnitude, as in bitsandbytes.
pub const STATE_BLOCK: usize = 256;

/// What a device must be able to do for a training step.
#[backend_extension(Cube: cfg(feature = "cuda"), Flex)]
pub trait Kernels: Backend {
    /// A buffer `[rows, columns]` beside `like`, of its type, unfilled.
    fn buffer(like: FloatTensor<Self>, rows: usize, columns: usize) -> FloatTensor<Self>;
    /// Rows of `table` `[V, H]` by `ids` `[T]`: `[T, H]`.
    fn embed(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
    /// `grad[id] += g[t]` for every token: the gradient of [`Kernels::embed`].
    fn embed_backward(grad: FloatTensor<Self>, ids: IntTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `c = beta c + alpha op(a) op(b)`, written into `c`.
    fn product(c: FloatTensor<Self>, a: FloatTensor<Self>, b: FloatTensor<Self>, how: Product) -> FloatTensor<Self>;
    /// `c = onto + alpha op(a) op(b)`, written into `c`, which may be unfilled.
    fn product_onto(
        c: FloatTensor<Self>,
        onto: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        how: Product,
    ) -> FloatTensor<Self>;
    /// `x + y`, written over `x`.
    fn add(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `x + bias` for each row, written over `x`.
    fn add_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `grad + Σ g[t]`: the gradient of [`Kernels::add_bias`] in the bias, written over `grad`.
    fn add_rows(grad: FloatTensor<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `x / sqrt(mean(x²) + epsilon) * weight` for each row (Zhang and Sennrich, 2019).
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self>;
    /// The gradient of [`Kernels::rms_norm`] in `x`, written over `g`.
    fn rms_norm_backward(
        g: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    /// The same plus `past`, the gradient that came past the norm.
    fn rms_norm_backward_past(
        g: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        past: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    /// Adds the gradient of [`Kernels::rms_norm`] in `weight` to `grad`.
    fn rms_norm_weight_backward(
        grad: FloatTensor<Self>,
        g: FloatTensor<Self>,
        x: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    /// Rotary position embedding (Su et al., 2021) in the half-split layout, written over `x` `[T, any number * head_dim]`.
    /// `cos` and `sin` are `[longest sample or more, half]`; what a head has beyond its first `2 * half` elements stays as it is.
    /// `inverse` is the transpose, which is also the gradient.
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        #[extension_type] samples: Samples<Self>,
        heads: Heads,
        inverse: bool,
    ) -> FloatTensor<Self>;
    /// Causal attention with grouped queries: output `[T, heads * head_dim]` and the log-sum-exp of each row's scores `[T, heads]`.
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] samples: Samples<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradients of [`Kernels::attention`] in q (written over `q`), k and v. Scores are recomputed from the log-sum-exp (Dao, 2022).
    #[allow(clippy::too_many_arguments, reason = "attention has this many tensors")]
    fn attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        lse: FloatTensor<Self>,
        g: FloatTensor<Self>,
        #[extension_type] samples: Samples<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// `silu(gate) * up` into a new buffer.
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `silu(gate) * up`, written over `gate`.
    fn swiglu_over(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradients of [`Kernels::swiglu`], written over `gate` and `up`, and its result again, written over `g`.
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        g: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// [`Kernels::swiglu`] of gate and up that come without what their adapters add to them, and `x Aᵀ` of the product for down's `a_down`
    /// `[rank, columns]`. The product is written over `gate`, which nobody else has then, or else into a new buffer.
    fn swiglu_added(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        #[extension_type] to_gate: Added<Self>,
        #[extension_type] to_up: Added<Self>,
        a_down: FloatTensor<Self>,
        over: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = over;
        by_products::swiglu_added::<Self>(gate, up, to_gate, to_up, a_down)
    }
    /// [`Kernels::swiglu_backward`] with all that adapters need of the three activations it passes: `b_gate` and `b_up` of their outputs'
    /// gradients, as [`Kernels::low_rank_output_backward`], and `a_down` of the product, its input, whose `low` is the gradient of `x Aᵀ` and becomes
    /// `x Aᵀ`. With `added`, gate and up come without what their adapters add to them. Gives the gradients of `gate` and `up`, then `low` and `grad` of each; the product need not be anywhere.
    #[allow(clippy::type_complexity, reason = "three adapters have this many tensors")]
    fn swiglu_backward_adapted(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        g: FloatTensor<Self>,
        #[extension_type] b_gate: Half<Self>,
        #[extension_type] b_up: Half<Self>,
        #[extension_type] a_down: Half<Self>,
        added: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        by_products::swiglu_backward::<Self>(gate, up, g, b_gate, b_up, a_down, added)
    }
    /// From the gradient `g` of an adapter's output: that of `x Aᵀ`, `scale g B` over `low`, and `scale gᵀ low` added to B's.
    fn low_rank_output_backward(
        g: FloatTensor<Self>,
        #[extension_type] b: Half<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        by_products::output_backward::<Self>(g, b)
    }
    /// `x Aᵀ` of adapters that read one input, for each `a` `[rank, columns]` of them.
    fn low_rank_inputs(x: FloatTensor<Self>, #[extension_type] a: Few<Self>) -> Vec<FloatTensor<Self>> {
        by_products::inputs::<Self>(x, a)
    }
    /// Adds the gradients of their A to `grads`, from `lows`, those of `x Aᵀ`.
    fn low_rank_inputs_backward(
        x: FloatTensor<Self>,
        #[extension_type] lows: Few<Self>,
        #[extension_type] grads: Few<Self>,
    ) -> Vec<FloatTensor<Self>> {
        by_products::inputs_backward::<Self>(x, lows, grads)
    }
    /// Summed cross entropy of `x headᵀ` over the tokens whose target is not negative, times `scale`, as `[1]`; and its gradient,
    /// written over `x`. Logits exist for `rows` tokens at a time.
    fn cross_entropy(
        x: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        rows: usize,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// As [`Kernels::cross_entropy`], and adds the gradient in `head` to `head_grad`.
    fn cross_entropy_trained_head(
        x: FloatTensor<Self>,
        head: FloatTensor<Self>,
        head_grad: FloatTensor<Self>,
        targets: IntTensor<Self>,
        rows: usize,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// The loss alone, as [`Kernels::cross_entropy`] gives it.
    fn cross_entropy_loss(
        x: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        rows: usize,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// Rows of a packed weight, dense, in the type of `like`.
    fn packed_rows(like: FloatTensor<Self>, #[extension_type] weight: Packed<Self>, rows: RowsOf) -> FloatTensor<Self>;
    /// The same plus those of an adapter: rows of `W + scale B A`, of `b` `[all rows of W, rank]` and `a` `[rank, columns]`, both of the type of
    /// `like`. The sum is rounded once, as `W` alone would be.
    fn packed_rows_adapted(
        #[extension_type] weight: Packed<Self>,
        b: FloatTensor<Self>,
        a: FloatTensor<Self>,
        scale: f32,
        rows: RowsOf,
    ) -> FloatTensor<Self>;
    /// `x` with some elements 0 and the others scaled, into a new buffer. Its own transpose, so also the gradient.
    fn dropout(x: FloatTensor<Self>, mask: Mask) -> FloatTensor<Self>;
    /// `x + dropout(y)`, written over `x`.
    fn add_dropout(x: FloatTensor<Self>, y: FloatTensor<Self>, mask: Mask) -> FloatTensor<Self>;
    /// The sum of squares of each row of `x`, written over `squares` from `first` on.
    fn row_squares(squares: FloatTensor<Self>, x: FloatTensor<Self>, first: usize) -> FloatTensor<Self>;
    /// The norms of the rows of `W + scale B A`, written over `norms`, from the squares of `W`'s rows, `B` and
    /// `inner = A Wᵀ + scale / 2 A Aᵀ Bᵀ`, `[rank, out]`: so `W` need not be there. Never 0, as they divide.
    fn adapted_norms(
        norms: FloatTensor<Self>,
        squares: FloatTensor<Self>,
        inner: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// `x * magnitude / norms` for each row, written over `x`; its first column is number `first` of the others.
    fn to_magnitude(
        x: FloatTensor<Self>,
        magnitude: FloatTensor<Self>,
        norms: FloatTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self>;
    /// The gradients of [`Kernels::to_magnitude`] at `z`: that in the magnitude is added to `grad`, that in `z` written over it.
    fn to_magnitude_backward(
        grad: FloatTensor<Self>,
        z: FloatTensor<Self>,
        g: FloatTensor<Self>,
        magnitude: FloatTensor<Self>,
        norms: FloatTensor<Self>,
        first: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The sum of squares, written over `sums[index]`.
    fn sum_of_squares(sums: FloatTensor<Self>, x: FloatTensor<Self>, index: usize) -> FloatTensor<Self>;
    /// One AdamW step (Loshchilov and Hutter, 2019) in place; the gradient is zeroed for the next step.
    fn adamw(
        value: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// The same with moments of 8 bits: codes of [`dynamic_map`](crate::quantize::dynamic_map), signed for the first and unsigned for the
    /// second, and the largest magnitude of each [`STATE_BLOCK`] elements (Dettmers et al., 2022). They are f32 while they are stepped.
    #[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "two moments have this many parts")]
    fn adamw_8bit(
        value: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: IntTensor<Self>,
        first_largest: FloatTensor<Self>,
        second: IntTensor<Self>,
        second_largest: FloatTensor<Self>,
        step: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>);
    /// One step of plain gradient descent in place; the gradient is zeroed.
    fn sgd(value: FloatTensor<Self>, grad: FloatTensor<Self>, step: AdamW) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// `value`, an f32 weight that is trained, in the type that activations have, written over `copy`.
    fn working_copy(copy: FloatTensor<Self>, value: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// An operation on a device failed, some time before its result was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device failed: {0}")]
pub struct DeviceFailed(pub String);

impl DeviceFailed {
    /// There was no room for a tensor or a workspace: in the words of cubecl's `IoError`, or the driver's.
    pub fn is_out_of_memory(&self) -> bool {
        ["out of device memory", "can't allocate buffer", "CUDA_ERROR_OUT_OF_MEMORY"]
            .iter()
            .any(|words| self.0.contains(words))
    }
}

fn t<const D: usize>(tensor: FloatTensor<Dispatch>) -> Tensor<D> {
    Tensor::from_dispatch(tensor)
}

fn d<const D: usize>(tensor: &Tensor<D>) -> FloatTensor<Dispatch> {
    tensor.clone().into_dispatch()
}

fn i(tensor: &Tensor<1, Int>) -> IntTensor<Dispatch> {
    tensor.clone().into_dispatch()
}

fn samples(starts: Option<&Tensor<1, Int>>) -> Samples<Dispatch> {
    starts.map_or(Samples::Rows, |starts| Samples::Packed(i(starts)))
}

/// See [`Kernels::buffer`].
pub fn buffer<const D: usize>(like: &Tensor<D>, rows: usize, columns: usize) -> Tensor<2> {
    t(Dispatch::buffer(d(like), rows, columns))
}

/// See [`Kernels::embed`].
pub fn embed(table: &Tensor<2>, ids: &Tensor<1, Int>) -> Tensor<2> {
    t(Dispatch::embed(d(table), i(ids)))
}

/// See [`Kernels::embed_backward`].
pub fn embed_backward(grad: Tensor<2>, ids: &Tensor<1, Int>, g: &Tensor<2>) -> Tensor<2> {
    t(Dispatch::embed_backward(grad.into_dispatch(), i(ids), d(g)))
}

/// See [`Kernels::product`].
pub fn product(c: Tensor<2>, a: &Tensor<2>, b: &Tensor<2>, how: Product) -> Tensor<2> {
    t(Dispatch::product(c.into_dispatch(), d(a), d(b), how))
}

/// See [`Kernels::product_onto`].
pub fn product_onto(c: Tensor<2>, onto: &Tensor<2>, a: &Tensor<2>, b: &Tensor<2>, how: Product) -> Tensor<2> {
    t(Dispatch::product_onto(c.into_dispatch(), d(onto), d(a), d(b), how))
}

/// See [`Kernels::add`].
pub fn add(x: Tensor<2>, y: &Tensor<2>) -> Tensor<2> {
    t(Dispatch::add(x.into_dispatch(), d(y)))
}

/// See [`Kernels::add_bias`].
pub fn add_bias(x: Tensor<2>, bias: &Tensor<1>) -> Tensor<2> {
    t(Dispatch::add_bias(x.into_dispatch(), d(bias)))
}

/// See [`Kernels::add_rows`].
pub fn add_rows(grad: Tensor<1>, g: &Tensor<2>) -> Tensor<1> {
    t(Dispatch::add_rows(grad.into_dispatch(), d(g)))
}

/// See [`Kernels::rms_norm`].
pub fn rms_norm(x: &Tensor<2>, weight: &Tensor<1>, epsilon: f32) -> Tensor<2> {
    t(Dispatch::rms_norm(d(x), d(weight), epsilon))
}

/// See [`Kernels::rms_norm_backward`].
pub fn rms_norm_backward(g: Tensor<2>, x: &Tensor<2>, weight: &Tensor<1>, epsilon: f32) -> Tensor<2> {
    t(Dispatch::rms_norm_backward(g.into_dispatch(), d(x), d(weight), epsilon))
}

/// See [`Kernels::rms_norm_backward_past`].
pub fn rms_norm_backward_past(
    g: Tensor<2>,
    x: &Tensor<2>,
    weight: &Tensor<1>,
    past: &Tensor<2>,
    epsilon: f32,
) -> Tensor<2> {
    t(Dispatch::rms_norm_backward_past(g.into_dispatch(), d(x), d(weight), d(past), epsilon))
}

/// See [`Kernels::rms_norm_weight_backward`].
pub fn rms_norm_weight_backward(grad: Tensor<1>, g: &Tensor<2>, x: &Tensor<2>, epsilon: f32) -> Tensor<1> {
    t(Dispatch::rms_norm_weight_backward(grad.into_dispatch(), d(g), d(x), epsilon))
}

/// See [`Kernels::rotary`].
pub fn rotary(
    x: Tensor<2>,
    cos: &Tensor<2>,
    sin: &Tensor<2>,
    starts: Option<&Tensor<1, Int>>,
    heads: Heads,
    inverse: bool,
) -> Tensor<2> {
    t(Dispatch::rotary(x.into_dispatch(), d(cos), d(sin), samples(starts), heads, inverse))
}

/// See [`Kernels::attention`].
pub fn attention(
    q: &Tensor<2>,
    k: &Tensor<2>,
    v: &Tensor<2>,
    starts: Option<&Tensor<1, Int>>,
    heads: Heads,
) -> (Tensor<2>, Tensor<2>) {
    let (out, lse) = Dispatch::attention(d(q), d(k), d(v), samples(starts), heads);
    (t(out), t(lse))
}

/// See [`Kernels::attention_backward`].
#[expect(clippy::too_many_arguments, reason = "attention has this many tensors")]
pub fn attention_backward(
    q: Tensor<2>,
    k: &Tensor<2>,
    v: &Tensor<2>,
    out: &Tensor<2>,
    lse: &Tensor<2>,
    g: &Tensor<2>,
    starts: Option<&Tensor<1, Int>>,
    heads: Heads,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let (q, samples) = (q.into_dispatch(), samples(starts));
    let (gq, gk, gv) = Dispatch::attention_backward(q, d(k), d(v), d(out), d(lse), d(g), samples, heads);
    (t(gq), t(gk), t(gv))
}

/// See [`Kernels::swiglu`].
pub fn swiglu(gate: &Tensor<2>, up: &Tensor<2>) -> Tensor<2> {
    t(Dispatch::swiglu(d(gate), d(up)))
}

/// See [`Kernels::swiglu_over`].
pub fn swiglu_over(gate: Tensor<2>, up: &Tensor<2>) -> Tensor<2> {
    t(Dispatch::swiglu_over(gate.into_dispatch(), d(up)))
}

/// See [`Kernels::swiglu_backward`].
pub fn swiglu_backward(gate: Tensor<2>, up: Tensor<2>, g: Tensor<2>) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let (gate, up, y) = Dispatch::swiglu_backward(gate.into_dispatch(), up.into_dispatch(), g.into_dispatch());
    (t(gate), t(up), t(y))
}

/// See [`Kernels::cross_entropy`] and [`Kernels::cross_entropy_trained_head`].
pub fn cross_entropy(
    x: Tensor<2>,
    head: &Tensor<2>,
    head_grad: Option<Tensor<2>>,
    targets: &Tensor<1, Int>,
    rows: usize,
    scale: f32,
) -> (Tensor<1>, Tensor<2>, Option<Tensor<2>>) {
    let x = x.into_dispatch();
    match head_grad {
        Some(grad) => {
            let (loss, x, grad) =
                Dispatch::cross_entropy_trained_head(x, d(head), grad.into_dispatch(), i(targets), rows, scale);
            (t(loss), t(x), Some(t(grad)))
        }
        None => {
            let (loss, x) = Dispatch::cross_entropy(x, d(head), i(targets), rows, scale);
            (t(loss), t(x), None)
        }
    }
}

/// See [`Kernels::cross_entropy_loss`].
pub fn cross_entropy_loss(
    x: &Tensor<2>,
    head: &Tensor<2>,
    targets: &Tensor<1, Int>,
    rows: usize,
    scale: f32,
) -> Tensor<1> {
    t(Dispatch::cross_entropy_loss(d(x), d(head), i(targets), rows, scale))
}

/// See [`Kernels::packed_rows`].
pub fn packed_rows(like: &Tensor<2>, weight: Packed<Dispatch>, rows: RowsOf) -> Tensor<2> {
    t(Dispatch::packed_rows(d(like), weight, rows))
}

/// See [`Kernels::packed_rows_adapted`].
pub fn packed_rows_adapted(
    weight: Packed<Dispatch>,
    b: &Tensor<2>,
    a: &Tensor<2>,
    scale: f32,
    rows: RowsOf,
) -> Tensor<2> {
    t(Dispatch::packed_rows_adapted(weight, d(b), d(a), scale, rows))
}

/// See [`Kernels::dropout`].
pub fn dropout(x: &Tensor<2>, mask: Mask) -> Tensor<2> {
    t(Dispatch::dropout(d(x), mask))
}

/// See [`Kernels::add_dropout`].
pub fn add_dropout(x: Tensor<2>, y: &Tensor<2>, mask: Mask) -> Tensor<2> {
    t(Dispatch::add_dropout(x.into_dispatch(), d(y), mask))
}

/// See [`Kernels::row_squares`].
pub fn row_squares(squares: Tensor<1>, x: &Tensor<2>, first: usize) -> Tensor<1> {
    t(Dispatch::row_squares(squares.into_dispatch(), d(x), first))
}

/// See [`Kernels::adapted_norms`].
pub fn adapted_norms(norms: Tensor<1>, squares: &Tensor<1>, inner: &Tensor<2>, b: &Tensor<2>, scale: f32) -> Tensor<1> {
    t(Dispatch::adapted_norms(norms.into_dispatch(), d(squares), d(inner), d(b), scale))
}

/// See [`Kernels::to_magnitude`].
pub fn to_magnitude(x: Tensor<2>, magnitude: &Tensor<1>, norms: &Tensor<1>, first: usize) -> Tensor<2> {
    t(Dispatch::to_magnitude(x.into_dispatch(), d(magnitude), d(norms), first))
}

/// See [`Kernels::to_magnitude_backward`].
pub fn to_magnitude_backward(
    grad: Tensor<1>,
    z: Tensor<2>,
    g: &Tensor<2>,
    magnitude: &Tensor<1>,
    norms: &Tensor<1>,
    first: usize,
) -> (Tensor<1>, Tensor<2>) {
    let (grad, z) = (grad.into_dispatch(), z.into_dispatch());
    let (grad, z) = Dispatch::to_magnitude_backward(grad, z, d(g), d(magnitude), d(norms), first);
    (t(grad), t(z))
}

/// See [`Kernels::sum_of_squares`].
pub fn sum_of_squares<const D: usize>(sums: Tensor<1>, x: &Tensor<D>, index: usize) -> Tensor<1> {
    t(Dispatch::sum_of_squares(sums.into_dispatch(), d(x), index))
}

/// See [`Kernels::working_copy`].
pub fn working_copy<const D: usize>(copy: Tensor<D>, value: &Tensor<D>) -> Tensor<D> {
    t(Dispatch::working_copy(copy.into_dispatch(), d(value)))
}

/// The four tensors of one parameter: value, gradient, first and second moment.
pub type AdamWTensors<const D: usize> = (Tensor<D>, Tensor<D>, Tensor<D>, Tensor<D>);

/// See [`Kernels::adamw`].
pub fn adamw<const D: usize>((value, grad, first, second): AdamWTensors<D>, step: AdamW) -> AdamWTensors<D> {
    let (value, grad, first, second) = Dispatch::adamw(
        value.into_dispatch(),
        grad.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        step,
    );
    (t(value), t(grad), t(first), t(second))
}

/// A moment of 8 bits: codes, and the largest magnitude of each [`STATE_BLOCK`] elements.
pub type Moment8 = (Tensor<1, Int>, Tensor<1>);

/// See [`Kernels::adamw_8bit`].
pub fn adamw_8bit<const D: usize>(
    (value, grad): (Tensor<D>, Tensor<D>),
    (first, first_largest): Moment8,
    (second, second_largest): Moment8,
    step: AdamW,
) -> ((Tensor<D>, Tensor<D>), Moment8, Moment8) {
    let (value, grad, first, first_largest, second, second_largest) = Dispatch::adamw_8bit(
        value.into_dispatch(),
        grad.into_dispatch(),
        first.into_dispatch(),
        first_largest.into_dispatch(),
        second.into_dispatch(),
        second_largest.into_dispatch(),
        step,
    );
    let codes = Tensor::from_dispatch;
    ((t(value), t(grad)), (codes(first), t(first_largest)), (codes(second), t(second_largest)))
}

/// See [`Kernels::sgd`].
pub fn sgd<const D: usize>(value: Tensor<D>, grad: Tensor<D>, step: AdamW) -> (Tensor<D>, Tensor<D>) {
    let (value, grad) = Dispatch::sgd(value.into_dispatch(), grad.into_dispatch(), step);
    (t(value), t(grad))
}
