//! Adapters beside activations that are read once: what [`Kernels`] has for them, and how it is done with products where a device has
//! nothing better.
//!
//! An adapter's products have a small inner or outer dimension, so they take as long as it takes to read an activation. Those that read the
//! same one are one operation here.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::Tensor;

use super::{Kernels, d, t};

/// One half of an adapter, A or B, as the backward pass of an activation `X [T, columns]` next to it needs it.
#[derive(Debug, ExtensionType)]
pub struct Half<B: Backend> {
    /// B `[columns, rank]`, whose output `X` is the gradient of; or A `[rank, columns]`, whose input `X` is.
    pub weight: FloatTensor<B>,
    /// `[T, rank]`: `x Aᵀ` for B, and its gradient for A. The other one of these is written over it.
    pub low: FloatTensor<B>,
    /// The weight's gradient, which is added to.
    pub grad: FloatTensor<B>,
    /// What `X` counts times here.
    pub scale: f32,
}

/// What an adapter adds to the output of its layer: `scale low Bᵀ`.
#[derive(Debug, ExtensionType)]
pub struct Added<B: Backend> {
    /// `[columns, rank]`.
    pub b: FloatTensor<B>,
    /// `x Aᵀ`, `[T, rank]`.
    pub low: FloatTensor<B>,
    /// The adapter's.
    pub scale: f32,
}

/// One tensor of each of a few adapters.
#[derive(Debug, ExtensionType)]
pub enum Few<B: Backend> {
    /// Of two.
    Two(FloatTensor<B>, FloatTensor<B>),
    /// Of three.
    Three(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
}

impl<B: Backend> Few<B> {
    /// Any of them.
    pub fn first(&self) -> &FloatTensor<B> {
        let (Self::Two(first, _) | Self::Three(first, ..)) = self;
        first
    }

    /// One after another.
    pub fn into_vec(self) -> Vec<FloatTensor<B>> {
        match self {
            Self::Two(a, b) => vec![a, b],
            Self::Three(a, b, c) => vec![a, b, c],
        }
    }
}

fn few(tensors: impl IntoIterator<Item = FloatTensor<Dispatch>>) -> Few<Dispatch> {
    let mut tensors = tensors.into_iter();
    match (tensors.next(), tensors.next(), tensors.next(), tensors.next()) {
        (Some(a), Some(b), None, _) => Few::Two(a, b),
        (Some(a), Some(b), Some(c), None) => Few::Three(a, b, c),
        _ => panic!("two or three adapters read one input"),
    }
}

/// A [`Half`] in burn's tensors.
#[derive(Debug)]
pub struct HalfOf {
    /// See [`Half::weight`].
    pub weight: Tensor<2>,
    /// See [`Half::low`].
    pub low: Tensor<2>,
    /// See [`Half::grad`].
    pub grad: Tensor<2>,
    /// See [`Half::scale`].
    pub scale: f32,
}

impl HalfOf {
    fn dispatched(self) -> Half<Dispatch> {
        let Self { weight, low, grad, scale } = self;
        Half { weight: weight.into_dispatch(), low: low.into_dispatch(), grad: grad.into_dispatch(), scale }
    }
}

/// See [`Kernels::low_rank_output_backward`].
pub fn output_backward(g: &Tensor<2>, b: HalfOf) -> (Tensor<2>, Tensor<2>) {
    let (low, grad) = Dispatch::low_rank_output_backward(d(g), b.dispatched());
    (t(low), t(grad))
}

/// See [`Kernels::low_rank_inputs`].
pub fn inputs<'a>(x: &Tensor<2>, a: impl IntoIterator<Item = &'a Tensor<2>>) -> Vec<Tensor<2>> {
    Dispatch::low_rank_inputs(d(x), few(a.into_iter().map(d))).into_iter().map(t).collect()
}

/// See [`Kernels::low_rank_inputs_backward`].
pub fn inputs_backward<'a>(
    x: &Tensor<2>,
    lows: impl IntoIterator<Item = &'a Tensor<2>>,
    grads: impl IntoIterator<Item = Tensor<2>>,
) -> Vec<Tensor<2>> {
    let grads = few(grads.into_iter().map(Tensor::into_dispatch));
    Dispatch::low_rank_inputs_backward(d(x), few(lows.into_iter().map(d)), grads).into_iter().map(t).collect()
}

/// An [`Added`] in burn's tensors.
#[derive(Clone, Copy, Debug)]
pub struct AddedBy<'a> {
    /// See [`Added::b`].
    pub b: &'a Tensor<2>,
    /// See [`Added::low`].
    pub low: &'a Tensor<2>,
    /// See [`Added::scale`].
    pub scale: f32,
}

impl AddedBy<'_> {
    fn dispatched(self) -> Added<Dispatch> {
        Added { b: d(self.b), low: d(self.low), scale: self.scale }
    }
}

/// See [`Kernels::swiglu_added`].
pub fn swiglu_added(
    gate: Tensor<2>,
    up: &Tensor<2>,
    added: [AddedBy<'_>; 2],
    a_down: &Tensor<2>,
    over: bool,
) -> (Tensor<2>, Tensor<2>) {
    let [to_gate, to_up] = added.map(AddedBy::dispatched);
    let (product, low) = Dispatch::swiglu_added(gate.into_dispatch(), d(up), to_gate, to_up, d(a_down), over);
    (t(product), t(low))
}

/// What [`Kernels::swiglu_backward_adapted`] gives: the gradients of gate and up, and `low` and `grad` of each half.
pub type GatedBackward = ([Tensor<2>; 2], [(Tensor<2>, Tensor<2>); 3]);

/// See [`Kernels::swiglu_backward_adapted`].
pub fn swiglu_backward_adapted(
    gate: Tensor<2>,
    up: Tensor<2>,
    g: Tensor<2>,
    [b_gate, b_up, a_down]: [HalfOf; 3],
    added: bool,
) -> GatedBackward {
    let halves = [b_gate, b_up, a_down].map(HalfOf::dispatched);
    let [b_gate, b_up, a_down] = halves;
    let (gate, up, low_gate, grad_gate, low_up, grad_up, low_down, grad_down) = Dispatch::swiglu_backward_adapted(
        gate.into_dispatch(),
        up.into_dispatch(),
        g.into_dispatch(),
        b_gate,
        b_up,
        a_down,
        added,
    );
    let pair = |low, grad| (t(low), t(grad));
    ([t(gate), t(up)], [pair(low_gate, grad_gate), pair(low_up, grad_up), pair(low_down, grad_down)])
}

/// What [`Kernels::swiglu_backward_adapted`] gives.
pub type GatedTensors<B> = (
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
);

/// The same by products, for what has nothing better.
pub(super) mod by_products {
    use burn::backend::tensor::FloatTensor;
    use burn::backend::{Backend, TensorMetadata as _};

    use super::{Added, Few, GatedTensors, Half};
    use crate::kernels::{Kernels, Product};

    /// See [`Kernels::low_rank_output_backward`].
    pub(in crate::kernels) fn output_backward<B: Kernels>(
        g: FloatTensor<B>,
        b: Half<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let Half { weight, low, grad, scale } = b;
        let grad = B::product(grad, g.clone(), low.clone(), Product::TN.times(scale).added());
        (B::product(low, g, weight, Product::NN.times(scale)), grad)
    }

    /// See [`Kernels::low_rank_inputs`].
    pub(in crate::kernels) fn inputs<B: Kernels>(x: FloatTensor<B>, a: Few<B>) -> Vec<FloatTensor<B>> {
        let low = |a: FloatTensor<B>| {
            let ([tokens, _], [rank, _]) = (shape::<B>(&x), shape::<B>(&a));
            B::product(B::buffer(x.clone(), tokens, rank), x.clone(), a, Product::NT)
        };
        a.into_vec().into_iter().map(low).collect()
    }

    /// See [`Kernels::low_rank_inputs_backward`].
    pub(in crate::kernels) fn inputs_backward<B: Kernels>(
        x: FloatTensor<B>,
        lows: Few<B>,
        grads: Few<B>,
    ) -> Vec<FloatTensor<B>> {
        let grad = |(low, grad)| B::product(grad, low, x.clone(), Product::TN.added());
        lows.into_vec().into_iter().zip(grads.into_vec()).map(grad).collect()
    }

    /// See [`Kernels::swiglu_added`]; never over `gate`.
    pub(in crate::kernels) fn swiglu_added<B: Kernels>(
        gate: FloatTensor<B>,
        up: FloatTensor<B>,
        to_gate: Added<B>,
        to_up: Added<B>,
        a_down: FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let product = B::swiglu_over(whole::<B>(gate, to_gate), whole::<B>(up, to_up));
        let ([tokens, _], [rank, _]) = (shape::<B>(&product), shape::<B>(&a_down));
        let low = B::buffer(product.clone(), tokens, rank);
        let low = B::product(low, product.clone(), a_down, Product::NT);
        (product, low)
    }

    /// An output with what its adapter adds, in a new buffer.
    fn whole<B: Kernels>(y: FloatTensor<B>, added: Added<B>) -> FloatTensor<B> {
        let ([tokens, columns], Added { b, low, scale }) = (shape::<B>(&y), added);
        B::product_onto(B::buffer(y.clone(), tokens, columns), y, low, b, Product::NT.times(scale))
    }

    /// See [`Kernels::swiglu_backward_adapted`].
    pub(in crate::kernels) fn swiglu_backward<B: Kernels>(
        gate: FloatTensor<B>,
        up: FloatTensor<B>,
        g: FloatTensor<B>,
        b_gate: Half<B>,
        b_up: Half<B>,
        a_down: Half<B>,
        added: bool,
    ) -> GatedTensors<B> {
        let added_by = |half: &Half<B>| Added { b: half.weight.clone(), low: half.low.clone(), scale: half.scale };
        let (gate, up) = match added {
            true => (whole::<B>(gate, added_by(&b_gate)), whole::<B>(up, added_by(&b_up))),
            false => (gate, up),
        };
        let (gate, up, product) = B::swiglu_backward(gate, up, g);
        let (low_gate, grad_gate) = output_backward::<B>(gate.clone(), b_gate);
        let (low_up, grad_up) = output_backward::<B>(up.clone(), b_up);
        let Half { weight, low, grad, scale } = a_down;
        let grad_down = B::product(grad, low.clone(), product.clone(), Product::TN.times(scale).added());
        let low_down = B::product(low, product, weight, Product::NT.times(scale));
        (gate, up, low_gate, grad_gate, low_up, grad_up, low_down, grad_down)
    }

    /// Rows and columns.
    fn shape<B: Backend>(x: &FloatTensor<B>) -> [usize; 2] {
        x.shape().dims()
    }
}
