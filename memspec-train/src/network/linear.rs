//! A linear layer: a dense or packed weight, and an adapter beside it.
//!
//! The adapter works in activation space, `y = x Wᵀ + s (x Aᵀ) Bᵀ` (Hu et al., 2021), and is never merged into what is kept;
//! [`magnitude`](super::magnitude) is what DoRA adds. A packed weight is decoded in panels of rows for the product that needs it, forward and
//! backward; only the packed form is kept. As a card decodes, it adds `s B A` in f32 before the rows are rounded: one
//! product then does the work of three, two of which would read and write whole activations for the sake of a small rank.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
use memspec::cost::engine::memspec::is_folded;

use super::magnitude::Magnitude;
use super::parameter::Parameter;
use crate::kernels::low_rank::{self, HalfOf};
use crate::kernels::{self, Mask, Packed, Product, RowsOf, product, product_onto, storage};

/// Elements of a packed weight that are dense at a time: 2 MiB in f32, about what a core's cache holds.
pub const PANEL_ELEMENTS: usize = 512 * 1024;

/// The same on a card, where a whole weight is one product.
pub const CARD_PANEL_ELEMENTS: usize = usize::MAX;

/// Some rows of a weight, one after another: outputs of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The first.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Rows {
    /// As a product takes them.
    fn taken(self) -> Option<(usize, usize)> {
        Some((self.first, self.count))
    }
}

/// A piece of a weight that is dense: rows of a matrix, and which outputs these are among those that are computed.
pub(super) struct Piece<'a> {
    pub(super) matrix: &'a Tensor<2>,
    pub(super) rows: Rows,
    pub(super) outputs: Rows,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Onto<'a> {
    Nothing,
    /// What is in its target.
    Itself,
    Other(&'a Tensor<2>),
}

impl Onto<'_> {
    fn product(self, c: Tensor<2>, a: &Tensor<2>, b: &Tensor<2>, how: Product) -> Tensor<2> {
        match self {
            Self::Nothing => product(c, a, b, how),
            Self::Itself => product(c, a, b, how.added()),
            Self::Other(other) => product_onto(c, other, a, b, how),
        }
    }
}

/// A weight `[out, in]` as it is kept.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a model has a few hundred: handles to tensors that are a thousand times larger"
)]
pub enum Weight {
    /// Dense: in f32, or on a card in the type that products read or that is trained.
    Dense(Parameter<2>),
    /// NF4 (Dettmers et al., 2023): two codes a byte, one absolute maximum for 64 weights.
    Nf4 {
        /// Codes, two a byte.
        codes: Tensor<1, Int>,
        /// Absolute maxima in f32, or quantized once more.
        absmax: AbsMax,
        /// Rows and columns.
        shape: [usize; 2],
    },
    /// One byte a weight, one f32 scale a row.
    Int8 {
        /// Signed codes.
        codes: Tensor<1, Int>,
        /// Scale of each row.
        scales: Tensor<1>,
        /// Rows and columns.
        shape: [usize; 2],
    },
}

/// The absolute maxima of an NF4 weight.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a model has a few hundred: handles to tensors that are a thousand times larger"
)]
pub enum AbsMax {
    /// One f32 for each block.
    Plain(Tensor<1>),
    /// 8 bits for each block, one f32 for 256 of them.
    Double {
        /// Codes of the maxima.
        codes: Tensor<1, Int>,
        /// Scale of each 256 codes.
        scales: Tensor<1>,
        /// Mean of the maxima, taken off before they were quantized.
        offset: f32,
    },
}

impl Weight {
    /// Rows (outputs) and columns (inputs).
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) => weight.value.get().dims(),
            Self::Nf4 { shape, .. } | Self::Int8 { shape, .. } => *shape,
        }
    }

    /// The weight as it is packed; `None`: it is dense.
    fn packed(&self) -> Option<Packed<Dispatch>> {
        Some(match self {
            Self::Dense(_) => return None,
            Self::Nf4 { codes, absmax: AbsMax::Plain(absmax), .. } => Packed::nf4(codes, absmax),
            Self::Nf4 { codes, absmax: AbsMax::Double { codes: absmax, scales, offset }, .. } => {
                Packed::nf4_double(codes, absmax, scales, *offset)
            }
            Self::Int8 { codes, scales, .. } => Packed::int8(codes, scales),
        })
    }

    /// Calls `with` for these rows in the type of `like`, piece by piece where the weight is packed. To packed ones `adapter` is added.
    pub(super) fn panels(
        &self,
        like: &Tensor<2>,
        rows: Rows,
        adapter: Option<&LowRank>,
        mut with: impl FnMut(Piece<'_>),
    ) {
        let [_, columns] = self.shape();
        if let Self::Dense(weight) = self {
            return with(Piece { matrix: weight.used(), rows, outputs: Rows { first: 0, ..rows } });
        }
        let elements = if storage::is_host(like) { PANEL_ELEMENTS } else { CARD_PANEL_ELEMENTS };
        let step = (elements / columns).clamp(1, rows.count);
        for done in (0..rows.count).step_by(step) {
            let (first, count) = (rows.first + done, step.min(rows.count - done));
            let Some(packed) = self.packed() else { unreachable!("what is dense was handled above") };
            let rows = RowsOf { first, rows: count, columns };
            let panel = match adapter {
                Some(LowRank { a, b, scale, .. }) => {
                    kernels::packed_rows_adapted(packed, b.used(), a.used(), *scale, rows)
                }
                None => kernels::packed_rows(like, packed, rows),
            };
            with(Piece { matrix: &panel, rows: Rows { first: 0, count }, outputs: Rows { first: done, count } });
        }
    }
}

/// A low-rank adapter beside a linear layer.
#[derive(Debug)]
pub struct LowRank {
    /// `[rank, in]`.
    pub a: Parameter<2>,
    /// `[out, rank]`.
    pub b: Parameter<2>,
    /// What its output is multiplied with: alpha / rank, or alpha / sqrt(rank).
    pub scale: f32,
    /// What of its input is left out in training; `None`: nothing ever is.
    pub dropout: Option<Dropout>,
    /// The norms of the adapted rows, where they are trained (DoRA).
    pub magnitude: Option<Magnitude>,
}

/// Dropout of an adapter's input. A mask is computed wherever it is needed and never kept.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The share that is left out, 0 to 1.
    pub share: f32,
    /// The module's own random numbers.
    pub stream: u64,
    /// The micro batch that is trained, which has a mask of its own; `None`: nothing is trained now, and nothing left out.
    pub draw: Option<u64>,
}

/// A or B for the backward pass of an activation next to it; `None`: it is not trained.
pub(super) fn half(parameter: &mut Parameter<2>, low: Tensor<2>, scale: f32) -> Option<HalfOf> {
    let grad = parameter.take_grad()?;
    Some(HalfOf { weight: parameter.used().clone(), low, grad, scale })
}

impl LowRank {
    /// Which elements of its input are left out now.
    fn mask(&self) -> Option<Mask> {
        let Dropout { share, stream, draw } = self.dropout?;
        Some(Mask { share, stream, draw: draw? })
    }

    /// Its input as it takes it, where that is another than its layer's.
    fn dropped(&self, x: &Tensor<2>) -> Option<Tensor<2>> {
        self.mask().map(|mask| kernels::dropout(x, mask))
    }
}

/// What [`Linear::weight_backward`] leaves for [`Linear::input_backward`].
#[derive(Debug)]
pub struct Inner {
    /// The gradient of `x Aᵀ`.
    low: Option<Tensor<2>>,
    /// The gradient of the output before it was scaled to its magnitude.
    unscaled: Option<Tensor<2>>,
}

/// A linear layer.
#[derive(Debug)]
pub struct Linear {
    /// The base weight.
    pub weight: Weight,
    /// Added to each row.
    pub bias: Option<Parameter<1>>,
    /// The adapter.
    pub adapter: Option<LowRank>,
}

impl Linear {
    /// All of its outputs.
    pub fn rows(&self) -> Rows {
        Rows { first: 0, count: self.weight.shape()[0] }
    }

    /// `y [T, out]` plus `onto`, and `x Aᵀ [T, rank]` which the adapter's gradient needs.
    pub fn forward_onto(&self, x: &Tensor<2>, onto: &Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let mut low = None;
        let y = self.all_onto(x, &mut low, onto);
        (y, low.or_else(|| self.low(x)))
    }

    /// The output alone, plus `onto`, from `x Aᵀ` too where that is there already.
    pub fn output_onto(&self, x: &Tensor<2>, mut low: Option<Tensor<2>>, onto: &Tensor<2>) -> Tensor<2> {
        self.all_onto(x, &mut low, onto)
    }

    /// A card adds `onto` in the product where nothing else is done to that, else it is added afterwards.
    fn all_onto(&self, x: &Tensor<2>, low: &mut Option<Tensor<2>>, onto: &Tensor<2>) -> Tensor<2> {
        if storage::is_host(x) || self.magnitude().is_some() {
            return kernels::add(self.output_rows(x, self.rows(), low, None), onto);
        }
        self.output_rows(x, self.rows(), low, Some(onto))
    }

    /// Some of the outputs, `[T, rows]`, and `x Aᵀ`, which is made where it is not there yet. A bias is that of all outputs.
    pub fn forward_rows(&self, x: &Tensor<2>, rows: Rows, low: &mut Option<Tensor<2>>) -> Tensor<2> {
        let y = self.output_rows(x, rows, low, None);
        if low.is_none() {
            *low = self.low(x);
        }
        y
    }

    /// Some of the outputs, for which `x Aᵀ` is made only where they need it.
    pub(super) fn output_rows(
        &self,
        x: &Tensor<2>,
        rows: Rows,
        low: &mut Option<Tensor<2>>,
        onto: Option<&Tensor<2>>,
    ) -> Tensor<2> {
        let mut y = self.adapted(x, rows, low, onto);
        if let Some(magnitude) = self.magnitude() {
            y = magnitude.scale(y, rows.first);
        }
        if let Some(bias) = &self.bias {
            y = kernels::add_bias(y, bias.used());
        }
        y
    }

    /// An adapter that takes the layer's input as it is and gives what is added to the layer's output.
    pub(super) fn plain_adapter(&self) -> Option<&LowRank> {
        self.adapter.as_ref().filter(|adapter| adapter.dropout.is_none() && adapter.magnitude.is_none())
    }

    /// All outputs but for what an adapter adds to them.
    pub(super) fn base_output(&self, x: &Tensor<2>) -> Tensor<2> {
        let ([tokens, _], rows) = (x.dims(), self.rows());
        let y = self.base(kernels::buffer(x, tokens, rows.count), x, rows, None, Onto::Nothing);
        match &self.bias {
            Some(bias) => kernels::add_bias(y, bias.used()),
            None => y,
        }
    }

    /// The adapter, where it is added to the rows of a packed weight as they are decoded.
    pub(super) fn folded(&self, like: &Tensor<2>) -> Option<&LowRank> {
        let adapter = self.plain_adapter()?;
        let [_, columns] = self.weight.shape();
        let [rank, _] = adapter.a.value.get().dims();
        let packed = !matches!(self.weight, Weight::Dense(_));
        (packed && storage::is_short(like) && is_folded(rank as u64, columns as u64)).then_some(adapter)
    }

    /// What weight and adapter make of `x`, before magnitude and bias.
    pub(super) fn adapted(
        &self,
        x: &Tensor<2>,
        rows: Rows,
        low: &mut Option<Tensor<2>>,
        onto: Option<&Tensor<2>>,
    ) -> Tensor<2> {
        let [tokens, _] = x.dims();
        let mut y = kernels::buffer(x, tokens, rows.count);
        let onto = onto.map_or(Onto::Nothing, Onto::Other);
        if let Some(folded) = self.folded(x) {
            return self.base(y, x, rows, Some(folded), onto);
        }
        if low.is_none() {
            *low = self.low(x);
        }
        let (Some(adapter), Some(low)) = (&self.adapter, &*low) else { return self.base(y, x, rows, None, onto) };
        // First, as a card reads what a large product is added to while it computes.
        let how = Product { b_rows: rows.taken(), ..Product::NT };
        y = onto.product(y, low, adapter.b.used(), how.times(adapter.scale));
        self.base(y, x, rows, None, Onto::Itself)
    }

    /// What the weight makes of `x`, alone or with the adapter that is added to it, plus `onto`; written over `y`.
    pub(super) fn base(
        &self,
        y: Tensor<2>,
        x: &Tensor<2>,
        rows: Rows,
        adapter: Option<&LowRank>,
        onto: Onto<'_>,
    ) -> Tensor<2> {
        let mut y = Some(y);
        self.weight.panels(x, rows, adapter, |piece| {
            let how = Product { b_rows: piece.rows.taken(), c_columns: piece.outputs.taken(), ..Product::NT };
            y = y.take().map(|y| onto.product(y, x, piece.matrix, how));
        });
        y.unwrap_or_else(|| unreachable!("the product gives its target back"))
    }

    /// `x Aᵀ` alone: what backward needs when the output is known or not wanted.
    pub fn low(&self, x: &Tensor<2>) -> Option<Tensor<2>> {
        let adapter = self.adapter.as_ref()?;
        let [tokens, _] = x.dims();
        let a = adapter.a.used();
        let dropped = adapter.dropped(x);
        Some(product(kernels::buffer(x, tokens, a.dims()[0]), dropped.as_ref().unwrap_or(x), a, Product::NT))
    }

    /// Adds the gradients of weight and adapter, from the layer's input `x` and the gradient `g` of its output.
    /// Returns what [`Linear::input_backward`] takes.
    pub fn weight_backward(&mut self, x: &Tensor<2>, low: Option<Tensor<2>>, g: &Tensor<2>) -> Inner {
        let rows = self.rows();
        let unscaled = self.magnitude_backward(x, rows, &low, g);
        let low = self.weight_backward_rows(x, low, &[(rows, unscaled.as_ref().unwrap_or(g))]);
        Inner { low, unscaled }
    }

    /// The same, where the gradient of the output, before it was scaled, comes in parts that together are all of its rows. Returns the
    /// gradient of `x Aᵀ`.
    pub fn weight_backward_rows(
        &mut self,
        x: &Tensor<2>,
        low: Option<Tensor<2>>,
        parts: &[(Rows, &Tensor<2>)],
    ) -> Option<Tensor<2>> {
        let low = self.output_backward(x, low, parts)?;
        self.inner_backward(x, &low);
        Some(low)
    }

    /// The same but for the gradient of A.
    pub(super) fn output_backward(
        &mut self,
        x: &Tensor<2>,
        low: Option<Tensor<2>>,
        parts: &[(Rows, &Tensor<2>)],
    ) -> Option<Tensor<2>> {
        self.base_backward(x, parts);
        // The gradient of `x Aᵀ` takes the place of `x Aᵀ`.
        if let &[(_, g)] = parts {
            let LowRank { b, scale, .. } = self.adapter.as_mut()?;
            let (low, grad) = low_rank::output_backward(g, half(b, low?, *scale)?);
            b.return_grad(grad);
            return Some(low);
        }
        let low = low?;
        self.outer_backward(&low, parts);
        self.low_backward(low, parts)
    }

    /// As [`Linear::weight_backward`] for an input that comes late, with the gradient of the input already known: `g_low` is what
    /// [`Linear::low_gradient`] gave for it, and `g` the gradient of the output before it was scaled.
    pub fn weight_backward_late(&mut self, x: &Tensor<2>, g_low: Option<Tensor<2>>, g: &Tensor<2>) {
        let parts = [(self.rows(), g)];
        self.base_backward(x, &parts);
        if let (Some(low), Some(g_low)) = (self.low(x), g_low) {
            self.outer_backward(&low, &parts);
            self.inner_backward(x, &g_low);
        }
    }

    /// The gradient of `x Aᵀ` in a new buffer.
    pub fn low_gradient(&self, g: &Tensor<2>) -> Option<Tensor<2>> {
        let ([tokens, _], [_, rank]) = (g.dims(), self.adapter.as_ref()?.b.value.get().dims());
        self.low_backward(kernels::buffer(g, tokens, rank), &[(self.rows(), g)])
    }

    /// Adds the gradients of weight and bias.
    fn base_backward(&mut self, x: &Tensor<2>, parts: &[(Rows, &Tensor<2>)]) {
        for &(rows, g) in parts {
            let how = Product { c_rows: rows.taken(), ..Product::TN };
            if let Weight::Dense(weight) = &mut self.weight {
                weight.add_grad(|grad| product(grad, g, x, how.added()));
            }
            if let Some(bias) = &mut self.bias {
                bias.add_grad(|grad| kernels::add_rows(grad, g));
            }
        }
    }

    /// Adds the gradient of B.
    pub(super) fn outer_backward(&mut self, low: &Tensor<2>, parts: &[(Rows, &Tensor<2>)]) {
        let Some(adapter) = &mut self.adapter else { return };
        for &(rows, g) in parts {
            let how = Product { c_rows: rows.taken(), ..Product::TN };
            adapter.b.add_grad(|grad| product(grad, g, low, how.times(adapter.scale).added()));
        }
    }

    /// The gradient of `x Aᵀ`, written over `into`.
    fn low_backward(&self, mut into: Tensor<2>, parts: &[(Rows, &Tensor<2>)]) -> Option<Tensor<2>> {
        let adapter = self.adapter.as_ref()?;
        let mut how = Product::NN.times(adapter.scale);
        for &(rows, g) in parts {
            how.b_rows = rows.taken();
            into = product(into, g, adapter.b.used(), how);
            how.beta = 1.0;
        }
        Some(into)
    }

    /// Adds the gradient of A.
    pub(super) fn inner_backward(&mut self, x: &Tensor<2>, g_low: &Tensor<2>) {
        let Some(adapter) = &mut self.adapter else { return };
        let dropped = adapter.dropped(x);
        adapter.a.add_grad(|grad| product(grad, g_low, dropped.as_ref().unwrap_or(x), Product::TN.added()));
    }

    /// The gradient of the layer's input, in a new buffer.
    pub fn input_backward(&self, g: &Tensor<2>, inner: Inner) -> Tensor<2> {
        self.input_backward_rows(inner.unscaled.as_ref().unwrap_or(g), self.rows(), inner.low.as_ref(), None)
    }

    /// The gradient of the layer's input from that of some of its outputs, added to `into` or in a new buffer. What comes by an adapter
    /// that is not folded is added where `g_low` is given, once for all outputs.
    pub fn input_backward_rows(
        &self,
        g: &Tensor<2>,
        rows: Rows,
        g_low: Option<&Tensor<2>>,
        into: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let [tokens, _] = g.dims();
        let [_, columns] = self.weight.shape();
        let mut onto = if into.is_some() { Onto::Itself } else { Onto::Nothing };
        let mut gx = into.unwrap_or_else(|| kernels::buffer(g, tokens, columns));
        let folded = self.folded(g);
        let adapter = self.adapter.as_ref().filter(|_| folded.is_none()).zip(g_low);
        if let Some((adapter, g_low)) = adapter
            && adapter.mask().is_none()
        {
            // First, as in `adapted`.
            gx = onto.product(gx, g_low, adapter.a.used(), Product::NN);
            onto = Onto::Itself;
        }
        let mut gx = Some(gx);
        self.weight.panels(g, rows, folded, |piece| {
            let how = Product { a_columns: piece.outputs.taken(), b_rows: piece.rows.taken(), ..Product::NN };
            gx = gx.take().map(|gx| onto.product(gx, g, piece.matrix, how));
            onto = Onto::Itself;
        });
        let Some(mut gx) = gx else { unreachable!("the product gives its target back") };
        if let Some((adapter, g_low)) = adapter
            && let Some(mask) = adapter.mask()
        {
            let dropped = product(kernels::buffer(g, tokens, columns), g_low, adapter.a.used(), Product::NN);
            gx = kernels::add_dropout(gx, &dropped, mask);
        }
        gx
    }
}

#[cfg(test)]
mod tests;
