//! A block's gated MLP around its products.
//!
//! Gate, up and the product of both are the largest activations of a block, so each is read as rarely as can be. Where adapters are all that
//! is trained, all that theirs need of these comes with the gradients of the gating. And a card leaves out of gate and up what adapters add
//! to them, where it is not folded into the weights: it is added as they are gated, forward and backward.

use burn::tensor::Tensor;
use memspec::cost::engine::memspec::is_read_once;

use super::block::{Block, Linears};
use super::linear::half;
use super::projection::Lows;
use crate::kernels::low_rank::{AddedBy, swiglu_added, swiglu_backward_adapted};
use crate::kernels::{self, storage};

impl Block {
    /// The gradient of the MLP's residual input `middle`, from that of its output; adds those of what is trained.
    pub(super) fn mlp_backward(
        &mut self,
        middle: Tensor<2>,
        gated: [Tensor<2>; 2],
        lows: Lows,
        g: Tensor<2>,
    ) -> Tensor<2> {
        let l = &mut self.linears;
        let (g_gated, lows) = if l.has_plain_adapters() {
            let (g_gated, lows) = l
                .gated_backward_adapted(gated, lows, &g)
                .unwrap_or_else(|| unreachable!("an adapter keeps its inner activation and has gradients"));
            l.gate_up.inner_backward(&self.mlp_norm.forward(&middle), &lows);
            (g_gated, lows)
        } else {
            let g_gated = l.gated_backward(gated, &g);
            l.gate_up.weight_backward(&self.mlp_norm.forward(&middle), lows, g_gated)
        };
        let g_normed = l.gate_up.input_backward(g_gated, lows);
        self.mlp_norm.backward_past(g_normed, &middle, &g)
    }
}

impl Linears {
    /// Gate and up, and what their adapters keep.
    pub(super) fn gated(&self, x: &Tensor<2>) -> ([Tensor<2>; 2], Lows) {
        if self.adds_late(x) { self.gate_up.base_outputs(x) } else { self.gate_up.forward(x) }
    }

    /// The gated product of these; and its `x Aᵀ` for down, where that is made with it.
    pub(super) fn product_of(&self, [gate, up]: [&Tensor<2>; 2], lows: &Lows) -> (Tensor<2>, Option<Tensor<2>>) {
        self.gate(gate.clone(), up, lows, false)
    }

    /// The same from the MLP's input, where nothing else is kept.
    pub(super) fn product(&self, x: &Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let ([gate, up], lows) = match self.adds_late(x) {
            true => self.gate_up.base_outputs(x),
            false => (self.gate_up.outputs(x), Lows::default()),
        };
        self.gate(gate, &up, &lows, true)
    }

    /// The product, over `gate` or in a new buffer.
    fn gate(&self, gate: Tensor<2>, up: &Tensor<2>, lows: &Lows, over: bool) -> (Tensor<2>, Option<Tensor<2>>) {
        match self.adapters(lows).filter(|_| self.adds_late(&gate)) {
            Some((added, a_down)) => {
                let (product, low) = swiglu_added(gate, up, added, a_down, over);
                (product, Some(low))
            }
            None if over => (kernels::swiglu_over(gate, up), None),
            None => (kernels::swiglu(&gate, up), None),
        }
    }

    /// Whether gate and up go without what their adapters add until they are gated: on a card whose kernels know these.
    fn adds_late(&self, like: &Tensor<2>) -> bool {
        let known = || {
            let [intermediate, rank] = self.gate_up.plain_adapters()?[0].b.value.get().dims();
            Some(is_read_once(rank as u64, intermediate as u64))
        };
        let folded = || self.gate_up.named().any(|(_, linear)| linear.folded(like).is_some());
        storage::is_short(like) && self.has_plain_adapters() && !folded() && known() == Some(true)
    }

    /// What is added then, and down's A, whose `x Aᵀ` is made on the way.
    fn adapters<'a>(&'a self, lows: &'a Lows) -> Option<([AddedBy<'a>; 2], &'a Tensor<2>)> {
        let ([gate, up], [low_gate, low_up]) = (self.gate_up.plain_adapters()?, lows.each()?);
        let by = |b, low, scale| AddedBy { b, low, scale };
        let added = [by(gate.b.used(), low_gate, gate.scale), by(up.b.used(), low_up, up.scale)];
        Some((added, self.down.plain_adapter()?.a.used()))
    }

    /// Whether gate, up and down are modules of their own, each with a plain adapter: then nothing else of them is trained.
    fn has_plain_adapters(&self) -> bool {
        self.gate_up.plain_adapters().is_some() && self.down.plain_adapter().is_some()
    }

    /// The gradients of gate and up, over them; adds those of the down projection.
    fn gated_backward(&mut self, [gate, up]: [Tensor<2>; 2], g: &Tensor<2>) -> [Tensor<2>; 2] {
        let unscaled = self.down.late_magnitude_backward(|| kernels::swiglu(&gate, &up), g);
        let g = unscaled.as_ref().unwrap_or(g);
        let g_low = self.down.low_gradient(g);
        let g_product = self.down.input_backward_rows(g, self.down.rows(), g_low.as_ref(), None);
        let (g_gate, g_up, product) = kernels::swiglu_backward(gate, up, g_product);
        self.down.weight_backward_late(&product, g_low, g);
        [g_gate, g_up]
    }

    /// The same with plain adapters, whose gradients are added but for those of gate's and up's A. Also gives the gradients of their
    /// `x Aᵀ`, over `lows`; `None`: something of that is missing.
    fn gated_backward_adapted(
        &mut self,
        [gate, up]: [Tensor<2>; 2],
        lows: Lows,
        g: &Tensor<2>,
    ) -> Option<([Tensor<2>; 2], Lows)> {
        let added = self.adds_late(g);
        let g_low = self.down.low_gradient(g)?;
        let g_product = self.down.input_backward_rows(g, self.down.rows(), Some(&g_low), None);
        let ([low_gate, low_up], [of_gate, of_up]) = (lows.all()?, self.gate_up.plain_adapters_mut()?);
        let down = self.down.adapter.as_mut()?;
        let halves = [
            half(&mut of_gate.b, low_gate, of_gate.scale)?,
            half(&mut of_up.b, low_up, of_up.scale)?,
            half(&mut down.a, g_low, 1.0)?,
        ];
        let (g_gated, [(low_gate, b_gate), (low_up, b_up), (low, a_down)]) =
            swiglu_backward_adapted(gate, up, g_product, halves, added);
        of_gate.b.return_grad(b_gate);
        of_up.b.return_grad(b_up);
        down.a.return_grad(a_down);
        let rows = self.down.rows();
        self.down.outer_backward(&low, &[(rows, g)]);
        Some((g_gated, Lows::from([low_gate, low_up])))
    }
}

#[cfg(test)]
mod tests;
