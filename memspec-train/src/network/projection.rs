//! Linears that read one input: modules of their own (Llama), or one module that has their rows one after another (Phi-3).
//!
//! A fused module stays whole: one weight, one adapter with one A and one B, as its file and PEFT have it. So there is one gradient of
//! each, one pair of moments, one share of the gradient's norm, and a packed weight has the blocks of the whole. Only its products are made
//! for some rows at a time, since queries, keys and values, and gate and up, go on as tensors of their own.

use burn::tensor::Tensor;

use super::linear::{Linear, Rows};

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
        let mut lows: Vec<Option<Tensor<2>>> = self.modules.iter().map(|_| None).collect();
        let outputs =
            self.outputs.map(|Output { module, rows }| self.modules[module].1.forward_rows(x, rows, &mut lows[module]));
        (outputs, Lows(lows))
    }

    /// The outputs alone.
    pub fn outputs(&self, x: &Tensor<2>) -> [Tensor<2>; N] {
        let (mut low, mut of) = (None, 0);
        self.outputs.map(|Output { module, rows }| {
            if module != of {
                (low, of) = (None, module);
            }
            self.modules[module].1.output_rows(x, rows, &mut low, None)
        })
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
            linear.weight_backward_rows(x, low, &parts)
        });
        let lows = Lows(lows.collect());
        (g, lows)
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
