//! What mixtures of experts are made of: rows moved to their expert and back, products over groups of rows, and masks on rows.
//!
//! These save their inputs before their output exists, so a recomputation that ends with them ends without it.

use super::tape::{Tape, made_by};
use super::tensor::Tensor;
use crate::model::Dtype;

/// Who computes a product over groups of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupedProduct {
    /// `aten::_grouped_mm` by its own kernel (`aten/src/ATen/native/cuda/GroupedBlas.cpp`: bf16 on compute capability 9 and 10).
    Kernel,
    /// `aten::_grouped_mm` as a loop of cuBLAS' products into slices of the output.
    Loop,
    /// transformers' own operation below compute capability 8 (`transformers/integrations/moe.py:236`): it saves the input and makes the weight's
    /// gradient whether or not somebody asks for it.
    Custom,
}

impl<'a> Tape<'a> {
    /// `x[index]`: `elements` of rows that `index` names, which is kept. Backward adds the rows up in zeros of the input's size, sorted by `index`
    /// (`index_put_`, accumulating).
    pub(crate) fn gather_rows(&mut self, x: &Tensor, index: &Tensor, elements: u64) -> Tensor {
        let (inputs, dtype, rows) = (x.elements, x.dtype, index.elements);
        let node = self.node(&[Some(x)], 1, &[index], move |tape, _, _| {
            let gradient = tape.new_tensor(inputs, dtype);
            let _sort: Vec<Tensor> = (0..6).map(|_| tape.new_tensor(rows, Dtype::I64)).collect();
            vec![Some(gradient)]
        });
        made_by(self.new_tensor(elements, dtype), node, 0)
    }

    /// `x.masked_fill(mask, 0)`; `in_place`: over `x`. Backward fills a copy of the gradient.
    pub(crate) fn masked_fill(&mut self, x: &Tensor, mask: &Tensor, in_place: bool) -> Tensor {
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[mask], move |tape, _, _| vec![Some(tape.new_tensor(elements, dtype))]);
        let y = if in_place { x.view(elements) } else { self.new_tensor(elements, dtype) };
        made_by(y, node, 0)
    }

    /// `a.add_(b)`, of one size. Both get the same gradient.
    pub(crate) fn add_in_place(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let y = a.view(a.elements);
        let node = self.node(&[Some(a), Some(b)], 1, &[], |_, _, gradients| vec![gradients[0].clone(); 2]);
        made_by(y, node, 0)
    }

    /// Every row times its group's matrix of `weight`, as `elements` of output.
    pub(crate) fn grouped_product(
        &mut self,
        x: &Tensor,
        weight: &Tensor,
        elements: u64,
        how: GroupedProduct,
    ) -> Tensor {
        let asked = [x.requires_grad(), weight.requires_grad()];
        let custom = how == GroupedProduct::Custom;
        let mut saved = Vec::with_capacity(2);
        if asked[1] || custom {
            saved.push(x);
        }
        if asked[0] || custom {
            saved.push(weight);
        }
        let (inputs, weights, dtype) = (x.elements, weight.elements, x.dtype);
        let node = self.node(&[Some(x), Some(weight)], 1, &saved, move |tape, _, _| {
            let weight_gradient = |tape: &mut Tape<'a>| tape.new_tensor(weights, dtype);
            // `GroupedMmBackward` makes the weight's first; the custom one allocates both beforehand.
            let input = custom.then(|| tape.new_tensor(inputs, dtype));
            let weight = (asked[1] || custom).then(|| weight_gradient(tape));
            let input = input.or_else(|| asked[0].then(|| tape.new_tensor(inputs, dtype)));
            if how != GroupedProduct::Kernel {
                tape.product();
            }
            vec![input.filter(|_| asked[0]), weight.filter(|_| asked[1])]
        });
        let y = self.new_tensor(elements, dtype);
        if how != GroupedProduct::Kernel {
            self.product();
        }
        made_by(y, node, 0)
    }

    /// `torch.topk` of each row: `elements` of values and of indices, which are kept. Backward scatters into zeros of the input's size.
    pub(crate) fn top(&mut self, x: &Tensor, elements: u64) -> (Tensor, Tensor) {
        let values = self.new_tensor(elements, x.dtype);
        let indices = self.new_tensor(elements, Dtype::I64);
        let (inputs, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[&indices], move |tape, _, _| vec![Some(tape.new_tensor(inputs, dtype))]);
        (made_by(values, node, 0), indices)
    }

    /// A view whose gradient comes in another order, so that backward copies it (`reshape` of permuted dimensions).
    pub(crate) fn permuted(&mut self, x: &Tensor) -> Tensor {
        let y = x.view(x.elements);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[], move |tape, _, _| vec![Some(tape.new_tensor(elements, dtype))]);
        made_by(y, node, 0)
    }

    /// `weight + alpha * left @ right` for every matrix of a frozen `weight` (`torch.baddbmm`); `scaled`: alpha is not 1. cuBLAS takes no factor whose
    /// experts lie innermost: `left` is one, and is copied for each product.
    pub(crate) fn fold(&mut self, weight: &Tensor, left: &Tensor, right: &Tensor, scaled: bool) -> Tensor {
        let y = self.new_tensor(weight.elements, weight.dtype);
        drop(self.new_tensor(left.elements, left.dtype));
        self.product();
        let (sizes, dtype) = ([left.elements, right.elements], left.dtype);
        let node = self.node(&[Some(left), Some(right)], 1, &[left, right], move |tape, _, _| {
            let gradients = sizes.map(|elements| {
                let mut gradient = tape.new_tensor(elements, dtype);
                tape.product();
                if scaled {
                    gradient = tape.new_tensor(elements, dtype);
                }
                Some(gradient)
            });
            gradients.into()
        });
        made_by(y, node, 0)
    }
}
