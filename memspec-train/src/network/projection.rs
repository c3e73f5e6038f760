//! Linears that read one input: modules of their own (Llama), or one module that has their rows one after another (Phi-3).
//!
//! A fused module stays whole: one weight, one adapter with one A and one B, as its file and PEFT have it. So there is one gradient of
//! each, one pair of moments, one share of the gradient's norm, and a packed weight has the blocks of the whole. Only its products are made
//! for some rows at a time, since queries, keys and values, and gate and up, go on as tensors of their own.

use burn::tensor::Tensor;

use super::linear::{Linear, LowRank, Rows};
use crate::kernels::low_rank;

/// Modules that read one input and together give `N` outputs.
#[derive(Debug)]
pub struct Projection<const N: usize> {
    modules: Vec<(&'static str, Linear)>,
    outputs: [Output; N],
}

/// Which rows of which module an output is.
#[derive(Clone, Copy, Debug)]
struct Output {
    module: usize,
    rows: Rows,
}

/// `x Aᵀ` of each module that has an adapter.
#[derive(Debug, Default)]
pub struct Lows(Vec<Option<Tensor<2>>>);

impl Lows {
    /// Those of modules of which each has one.
    pub(super) fn each<const N: usize>(&self) -> Option<[&Tensor<2>; N]> {
        let lows: Option<Vec<&Tensor<2>>> = self.0.iter().map(Option::as_ref).collect();
        lows?.try_into().ok()
    }

    /// As [`Lows::each`], to write over.
    pub(super) fn all<const N: usize>(self) -> Option<[Tensor<2>; N]> {
        let lows: Option<Vec<Tensor<2>>> = self.0.into_iter().collect();
        lows?.try_into().ok()
    }
}

impl<const N: usize> From<[Tensor<2>; N]> for Lows {
    fn from(lows: [Tensor<2>; N]) -> Self {
        Self(lows.map(Some).into())
    }
}

impl<const N: usize> Projection<N> {
    /// Modules of one output each, under PEFT's leaf names.
    pub fn separate(modules: [(&'static str, Linear); N]) -> Self {
        let mut module = 0;
        let outputs = modules.each_ref().map(|(_, linear)| {
            module += 1;
            Output { module: module - 1, rows: linear.rows() }
        });
        Self { modules: modules.into(), outputs }
    }

    /// One module, whose first rows are the first output's and so on. It has no bias.
    pub fn fused(name: &'static str, linear: Linear, widths: [usize; N]) -> Self {
        let mut first = 0;
        let outputs = widths.map(|count| {
            first += count;
            Output { module: 0, rows: Rows { first: first - count, count } }
        });
        Self { modules: vec![(name, linear)], outputs }
    }

    /// The modules in forward order, with PEFT's leaf names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Linear)> {
        self.modules.iter().map(|(name, linear)| (*name, linear))
    }

    /// As [`Projection::named`], to change.
    pub fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Linear)> {
        self.modules.iter_mut().map(|(name, linear)| (*name, linear))
    }

    /// The outputs, each `[T, rows]`, and what the adapters' gradients need.
    pub fn forward(&self, x: &Tensor<2>) -> ([Tensor<2>; N], Lows) {
        let mut lows = self.lows(x);
        let outputs =
            self.outputs.map(|Output { module, rows }| self.modules[module].1.forward_rows(x, rows, &mut lows[module]));
        (outputs, Lows(lows))
    }

    /// The outputs alone.
    pub fn outputs(&self, x: &Tensor<2>) -> [Tensor<2>; N] {
        let folded = self.named().all(|(_, linear)| linear.folded(x).is_some());
        let mut lows = if folded { self.no_lows() } else { self.lows(x) };
        self.outputs.map(|Output { module, rows }| self.modules[module].1.output_rows(x, rows, &mut lows[module], None))
    }

    /// The outputs of modules that give one each but for what their adapters add to them, and what is needed to add it.
    pub(super) fn base_outputs(&self, x: &Tensor<2>) -> ([Tensor<2>; N], Lows) {
        let lows = self.lows(x);
        (self.outputs.map(|output| self.modules[output.module].1.base_output(x)), Lows(lows))
    }

    /// `x Aᵀ` of all modules in one reading, where each has one and takes `x` as it is; else none is there yet.
    fn lows(&self, x: &Tensor<2>) -> Vec<Option<Tensor<2>>> {
        if !self.reads_once() {
            return self.no_lows();
        }
        let weights = self.named().filter_map(|(_, linear)| linear.adapter.as_ref()).map(|adapter| adapter.a.used());
        low_rank::inputs(x, weights).into_iter().map(Some).collect()
    }

    fn no_lows(&self) -> Vec<Option<Tensor<2>>> {
        self.modules.iter().map(|_| None).collect()
    }

    /// Several modules, of which each has an adapter that takes their input as it is.
    fn reads_once(&self) -> bool {
        let undropped = |linear: &Linear| linear.adapter.as_ref().is_some_and(|adapter| adapter.dropout.is_none());
        self.modules.len() > 1 && self.named().all(|(_, linear)| undropped(linear))
    }

    /// Adds the gradients of weights and adapters, from the input `x` and the gradients `g` of the outputs.
    /// Returns what [`Projection::input_backward`] takes: the gradients of the outputs before they were scaled to their magnitudes, and those
    /// of `x Aᵀ`.
    pub fn weight_backward(&mut self, x: &Tensor<2>, Lows(lows): Lows, g: [Tensor<2>; N]) -> ([Tensor<2>; N], Lows) {
        let outputs = &self.outputs;
        let mut index = 0;
        let g = g.map(|g| {
            let Output { module, rows } = outputs[index];
            index += 1;
            self.modules[module].1.magnitude_backward(x, rows, &lows[module], &g).unwrap_or(g)
        });
        let modules = self.modules.iter_mut().zip(lows).enumerate();
        let lows = modules.map(|(module, ((_, linear), low))| {
            let of_module = outputs.iter().zip(&g).filter(|(output, _)| output.module == module);
            let parts: Vec<(Rows, &Tensor<2>)> = of_module.map(|(output, g)| (output.rows, g)).collect();
            linear.output_backward(x, low, &parts)
        });
        let lows = Lows(lows.collect());
        self.inner_backward(x, &lows);
        (g, lows)
    }

    /// Adds the gradients of each A, from those of `x Aᵀ`.
    pub(super) fn inner_backward(&mut self, x: &Tensor<2>, Lows(lows): &Lows) {
        if !self.reads_once() {
            let lows = lows.iter().zip(&mut self.modules).filter_map(|(low, module)| low.as_ref().zip(Some(module)));
            return lows.for_each(|(low, (_, linear))| linear.inner_backward(x, low));
        }
        let mut adapters: Vec<_> = self.named_mut().filter_map(|(_, linear)| linear.adapter.as_mut()).collect();
        let grads: Vec<_> = adapters.iter_mut().filter_map(|adapter| adapter.a.take_grad()).collect();
        let grads = low_rank::inputs_backward(x, lows.iter().flatten(), grads);
        adapters.into_iter().zip(grads).for_each(|(adapter, grad)| adapter.a.return_grad(grad));
    }

    /// The plain adapters of modules that give one output each, if each of these has one.
    pub(super) fn plain_adapters(&self) -> Option<[&LowRank; N]> {
        let adapters: Option<Vec<&LowRank>> = self.named().map(|(_, linear)| linear.plain_adapter()).collect();
        adapters?.try_into().ok()
    }

    /// As [`Projection::plain_adapters`], to change.
    pub(super) fn plain_adapters_mut(&mut self) -> Option<[&mut LowRank; N]> {
        self.plain_adapters()?;
        let adapters = self.named_mut().filter_map(|(_, linear)| linear.adapter.as_mut());
        adapters.collect::<Vec<_>>().try_into().ok()
    }

    /// The gradient of the input. Those of the outputs are dropped one after another.
    pub fn input_backward(&self, g: [Tensor<2>; N], Lows(mut lows): Lows) -> Tensor<2> {
        let mut into = None;
        for (Output { module, rows }, g) in self.outputs.into_iter().zip(g) {
            let low = lows[module].take();
            into = Some(self.modules[module].1.input_backward_rows(&g, rows, low.as_ref(), into));
        }
        into.unwrap_or_else(|| unreachable!("a projection has outputs"))
    }
}
