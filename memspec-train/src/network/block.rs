//! One decoder block of the Llama family and its like: attention and a gated MLP, each behind a norm and a residual.
//!
//! Backward is written out, not taped: what a block keeps between its passes is the struct [`Saved`] and nothing else, so the cost
//! model can name every byte. Norm outputs and the MLP's product are cheap and are computed again.

use burn::tensor::{Int, Tensor};

use super::linear::Linear;
use super::parameter::Parameter;
use super::projection::{Lows, Projection};
use super::rotary::Table;
use crate::kernels::{self, Heads};

/// A norm's weight.
#[derive(Debug)]
pub struct Norm {
    /// One factor for each feature.
    pub weight: Parameter<1>,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl Norm {
    /// The normalized rows of `x`.
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        kernels::rms_norm(x, self.weight.used(), self.epsilon)
    }

    /// The same for each head of `x`, `[T, heads * head_dim]`: the norm's weight is as wide as a head.
    fn forward_heads(&self, x: &Tensor<2>) -> Tensor<2> {
        let shape = x.dims();
        self.forward(&self.heads(x.clone())).reshape(shape)
    }

    /// The gradient of [`Norm::forward_heads`] in `x`, over `g`.
    fn backward_heads(&mut self, g: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let shape = x.dims();
        let (g, x) = (self.heads(g), self.heads(x));
        self.backward(g, &x).reshape(shape)
    }

    /// One head a row; the same storage, as rows lie one after another.
    fn heads(&self, x: Tensor<2>) -> Tensor<2> {
        let [tokens, width] = x.dims();
        let [head] = self.weight.value.get().dims();
        x.reshape([tokens * (width / head), head])
    }

    /// The gradient of `x`, over `g`, plus `past`, which came past the norm.
    pub fn backward_past(&mut self, g: Tensor<2>, x: &Tensor<2>, past: &Tensor<2>) -> Tensor<2> {
        let epsilon = self.epsilon;
        self.weight.add_grad(|grad| kernels::rms_norm_weight_backward(grad, &g, x, epsilon));
        kernels::rms_norm_backward_past(g, x, self.weight.used(), past, epsilon)
    }

    /// The gradient of `x`, over `g`.
    pub fn backward(&mut self, g: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
        let epsilon = self.epsilon;
        self.weight.add_grad(|grad| kernels::rms_norm_weight_backward(grad, &g, x, epsilon));
        kernels::rms_norm_backward(g, x, self.weight.used(), epsilon)
    }
}

/// The linears of a block.
#[derive(Debug)]
pub struct Linears {
    /// Projections to queries, keys and values.
    pub qkv: Projection<3>,
    /// Output projection of attention.
    pub o: Linear,
    /// Gate of the MLP, and its up projection.
    pub gate_up: Projection<2>,
    /// Down projection of the MLP.
    pub down: Linear,
}

impl Linears {
    /// All modules, in forward order, with PEFT's leaf names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Linear)> {
        let attention = self.qkv.named().chain([("o_proj", &self.o)]);
        attention.chain(self.gate_up.named()).chain([("down_proj", &self.down)])
    }

    /// As [`Linears::named`], to change.
    pub fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Linear)> {
        let attention = self.qkv.named_mut().chain([("o_proj", &mut self.o)]);
        attention.chain(self.gate_up.named_mut()).chain([("down_proj", &mut self.down)])
    }
}

/// One decoder block.
#[derive(Debug)]
pub struct Block {
    /// Norm before attention.
    pub attention_norm: Norm,
    /// Norm before the MLP.
    pub mlp_norm: Norm,
    /// Norm of each head's queries, before rotation (Qwen 3).
    pub query_norm: Option<Norm>,
    /// Norm of each head's keys.
    pub key_norm: Option<Norm>,
    /// The linears.
    pub linears: Linears,
    /// A token sees itself and at most this many tokens before it, less one; `None`: all.
    pub window: Option<usize>,
}

/// What the rotary embedding and attention need beside the block's weights.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    /// Cosines and sines.
    pub rotary: &'a Table,
    /// Heads, and the tokens of a row of this micro batch.
    pub heads: Heads,
    /// For each token, the column in which its sample begins; `None`: in the first.
    pub starts: Option<&'a Tensor<1, Int>>,
}

/// What a block keeps from forward to backward.
#[derive(Debug)]
pub struct Saved {
    x: Tensor<2>,
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    attention: Tensor<2>,
    lse: Tensor<2>,
    middle: Tensor<2>,
    gate: Tensor<2>,
    up: Tensor<2>,
    low: Low,
    /// Queries and keys before their norms, where they have any.
    unnormed: [Option<Tensor<2>>; 2],
}

/// `x Aᵀ` of each adapted linear but the down projection, whose input is not kept either.
#[derive(Debug, Default)]
struct Low {
    qkv: Lows,
    o: Option<Tensor<2>>,
    gate_up: Lows,
}

impl Block {
    /// Attention's heads in this block.
    pub fn heads(&self, at: Positions<'_>) -> Heads {
        Heads { window: self.window, ..at.heads }
    }

    /// The block's output; nothing is kept.
    pub fn forward(&self, x: &Tensor<2>, at: Positions<'_>) -> Tensor<2> {
        self.forward_with(x, at, |q, k, v| {
            let (attention, _lse) = kernels::attention(&q, &k, &v, at.starts, self.heads(at));
            attention
        })
    }

    /// The same with another attention over queries, keys and values, which are rotated.
    pub fn forward_with(
        &self,
        x: &Tensor<2>,
        at: Positions<'_>,
        attend: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let l = &self.linears;
        let middle = {
            let [q, k, v] = l.qkv.outputs(&self.attention_norm.forward(x));
            let q = at.rotate(normed(&self.query_norm, q).0, false);
            let k = at.rotate(normed(&self.key_norm, k).0, false);
            let attention = attend(q, k, v);
            l.o.output_onto(&attention, None, x)
        };
        let (product, low) = l.product(&self.mlp_norm.forward(&middle));
        l.down.output_onto(&product, low, &middle)
    }

    /// The block's output and what backward needs.
    pub fn forward_saving(&self, x: Tensor<2>, at: Positions<'_>) -> (Tensor<2>, Saved) {
        let saved = self.recompute(x, at);
        let (product, low) = self.linears.product_of([&saved.gate, &saved.up], &saved.low.gate_up);
        (self.linears.down.output_onto(&product, low, &saved.middle), saved)
    }

    /// What backward needs, from the block's input: forward up to the gated product, which comes with its gradient.
    pub fn recompute(&self, x: Tensor<2>, at: Positions<'_>) -> Saved {
        let l = &self.linears;
        let mut low = Low::default();
        let [q, k, v];
        ([q, k, v], low.qkv) = l.qkv.forward(&self.attention_norm.forward(&x));
        let (q, q_unnormed) = normed(&self.query_norm, q);
        let (k, k_unnormed) = normed(&self.key_norm, k);
        let (q, k) = (at.rotate(q, false), at.rotate(k, false));
        let (attention, lse) = kernels::attention(&q, &k, &v, at.starts, self.heads(at));
        let middle;
        (middle, low.o) = l.o.forward_onto(&attention, &x);
        let [gate, up];
        ([gate, up], low.gate_up) = l.gated(&self.mlp_norm.forward(&middle));
        Saved { x, q, k, v, attention, lse, middle, gate, up, low, unnormed: [q_unnormed, k_unnormed] }
    }

    /// Adds the gradients of all trained parameters and returns the gradient of the block's input, from the gradient `g` of its output.
    /// `input` is false for the first block when nothing before it is trained.
    pub fn backward(&mut self, saved: Saved, g: Tensor<2>, at: Positions<'_>, input: bool) -> Option<Tensor<2>> {
        let Saved { x, q, k, v, attention, lse, middle, gate, up, low, unnormed } = saved;
        let heads = self.heads(at);
        let g = self.mlp_backward(middle, [gate, up], low.gate_up, g);

        let l = &mut self.linears;
        let inner = l.o.weight_backward(&attention, low.o, &g);
        let g_attention = l.o.input_backward(&g, inner);
        let (gq, gk, gv) = kernels::attention_backward(q, &k, &v, &attention, &lse, &g_attention, at.starts, heads);
        drop((k, v, attention, lse, g_attention));
        let (gq, gk) = (at.rotate(gq, true), at.rotate(gk, true));
        let [q_unnormed, k_unnormed] = unnormed;
        let gq = normed_backward(&mut self.query_norm, gq, q_unnormed);
        let gk = normed_backward(&mut self.key_norm, gk, k_unnormed);

        let normed = self.attention_norm.forward(&x);
        let (g_qkv, lows) = l.qkv.weight_backward(&normed, low.qkv, [gq, gk, gv]);
        drop(normed);
        if !input {
            return None;
        }
        let g_normed = l.qkv.input_backward(g_qkv, lows);
        Some(self.attention_norm.backward_past(g_normed, &x, &g))
    }
}

/// The heads of `x` normed where there is a norm, and then `x` as it was.
fn normed(norm: &Option<Norm>, x: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
    match norm {
        Some(norm) => (norm.forward_heads(&x), Some(x)),
        None => (x, None),
    }
}

/// The gradient of [`normed`], over `g`.
fn normed_backward(norm: &mut Option<Norm>, g: Tensor<2>, unnormed: Option<Tensor<2>>) -> Tensor<2> {
    match (norm, unnormed) {
        (Some(norm), Some(x)) => norm.backward_heads(g, x),
        _ => g,
    }
}

impl Positions<'_> {
    fn rotate(&self, x: Tensor<2>, inverse: bool) -> Tensor<2> {
        let Table { cos, sin } = self.rotary;
        kernels::rotary(x, cos, sin, self.starts, self.heads, inverse)
    }
}
