//! Further differentiable operations: what families other than Llama's are made of.

use super::tape::{Tape, made_by};
use super::tensor::Tensor;
use crate::model::Dtype;

impl Tape<'_> {
    /// Autocast's copy of an operand of a function that it has in float32: `pow`, `layer_norm`, `softplus` .. (`aten/src/ATen/autocast_mode.h`).
    pub(crate) fn autocast_wide(&mut self, x: &Tensor) -> Tensor {
        if self.autocast.is_some() { self.cast(x, Dtype::F32) } else { x.clone() }
    }

    /// `x` plus a number. Backward hands the gradient on.
    pub(crate) fn shift(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype).rows_first(x.rows_first);
        let node = self.node(&[Some(x)], 1, &[], |_, _, gradients| vec![gradients[0].clone()]);
        made_by(y, node, 0)
    }

    /// `a - b`, where `b` may have one element for each row of `a`. Backward makes a negated gradient for `b`.
    pub(crate) fn subtract(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let dtype = if a.dtype == Dtype::F32 || b.dtype == Dtype::F32 { Dtype::F32 } else { a.dtype };
        let whole = a.elements;
        let y = self.new_tensor(whole, dtype).rows_first(a.rows_first);
        let inputs = [a, b].map(|tensor| (tensor.requires_grad(), tensor.elements, tensor.dtype));
        let node = self.node(&[Some(a), Some(b)], 1, &[], move |tape, _, gradients| {
            let kept = gradients[0].clone().filter(|_| inputs[0].0);
            vec![kept, inputs[1].0.then(|| tape.new_tensor(whole, dtype))]
        });
        self.finish(node, move |tape, gradients| {
            for (gradient, (_, elements, own)) in gradients.iter_mut().zip(inputs) {
                if gradient.is_some() && elements < whole {
                    *gradient = Some(tape.new_tensor(elements, dtype));
                }
                if gradient.is_some() && own != dtype {
                    *gradient = Some(tape.new_tensor(elements, own));
                }
            }
        });
        made_by(y, node, 0)
    }

    /// `x.view(..).transpose(1, 2).chunk(3, dim=-1)`: three views, heads first. Backward joins their gradients and brings them into the input's order.
    pub(crate) fn thirds(&mut self, x: &Tensor) -> [Tensor; 3] {
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 3, &[], move |tape, _, _| {
            let _joined = tape.new_tensor(whole, dtype);
            vec![Some(tape.new_tensor(whole, dtype))]
        });
        [0, 1, 2].map(|part| made_by(x.view(whole / 3).rows_first(true), node, part))
    }

    /// `torch.minimum` of `x` and a constant. Backward compares again, halves the gradient where both are equal, and chooses.
    pub(crate) fn minimum(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[x], move |tape, _, _| {
            let equal = tape.new_tensor(elements, Dtype::Bool);
            let half = tape.new_tensor(elements, dtype);
            let gradient = tape.new_tensor(elements, dtype);
            drop((equal, half));
            let _above = tape.new_tensor(elements, Dtype::Bool);
            vec![Some(gradient)]
        });
        made_by(y, node, 0)
    }

    /// `torch.expm1`: saves its output; backward makes that plus one, and the result.
    pub(crate) fn expm1(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[&y], move |tape, _, _| {
            let _plus_one = tape.new_tensor(elements, dtype);
            vec![Some(tape.new_tensor(elements, dtype))]
        });
        made_by(y, node, 0)
    }

    /// `x` seen with a single head as often as there are query heads, which takes no memory. Backward sums.
    pub(crate) fn expand(&mut self, x: &Tensor, elements: u64) -> Tensor {
        let y = x.view(elements);
        let (own, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[], move |tape, _, _| vec![Some(tape.new_tensor(own, dtype))]);
        made_by(y, node, 0)
    }

    /// `torch.where(condition, a, b)`. Saves the condition; backward makes a whole gradient for either.
    pub(crate) fn choose(&mut self, condition: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        let y = self.new_tensor(a.elements, a.dtype);
        let (elements, dtype) = (a.elements, a.dtype);
        let node = self.node(&[Some(a), Some(b)], 1, &[condition], move |tape, _, _| {
            (0..2).map(|_| Some(tape.new_tensor(elements, dtype))).collect()
        });
        made_by(y, node, 0)
    }

    /// `torch.split` of rows of `width` elements into pieces of so many rows: views, whose gradients the backward joins.
    pub(crate) fn split(&mut self, x: &Tensor, rows: &[u64], width: u64) -> Vec<Tensor> {
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], rows.len(), &[], move |tape, _, _| {
            vec![Some(tape.new_tensor(whole, dtype).rows_first(true))]
        });
        let piece = |(at, rows): (usize, &u64)| made_by(x.view(rows * width).rows_first(x.rows_first), node, at as u32);
        rows.iter().enumerate().map(piece).collect()
    }

    /// `x[index]`, whole rows of it: `rows` of them, with `elements` in all. Saves the index; backward sorts it and adds up.
    pub(crate) fn gather(&mut self, x: &Tensor, elements: u64, rows: u64) -> Tensor {
        let index = self.new_tensor(rows, Dtype::I64);
        let y = self.new_tensor(elements, x.dtype);
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[&index], move |tape, _, _| {
            let gradient = tape.new_tensor(whole, dtype);
            let _sort: Vec<Tensor> = (0..4).map(|_| tape.new_tensor(rows, Dtype::I64)).collect();
            vec![Some(gradient)]
        });
        made_by(y, node, 0)
    }

    /// `torch.nn.functional.layer_norm` (`aten/src/ATen/native/cuda/layer_norm_kernel.cu`): saves its input, mean and 1/deviation of each row, and the
    /// weight; what is saved of the weight and the bias is small. What is stored in another order than it is seen in is copied first, forward and backward.
    pub(crate) fn layer_norm(&mut self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, rows: u64) -> Tensor {
        let strided = x.rows_first.then_some((x.elements, x.dtype));
        let _ordered = strided.map(|(elements, dtype)| self.new_tensor(elements, dtype));
        let y = self.new_tensor(x.elements, x.dtype);
        let [mean, inverse] = [0, 1].map(|_| self.new_tensor(rows, Dtype::F32));
        let mut saved = vec![x, &mean, &inverse, weight];
        saved.extend(bias);
        let inputs = [Some(x), Some(weight), bias];
        let asked = inputs
            .map(|input| input.filter(|tensor| tensor.requires_grad()).map(|tensor| (tensor.elements, tensor.dtype)));
        let node = self.node(&inputs, 1, &saved, move |tape, _, _| {
            let _ordered = strided.map(|(elements, dtype)| tape.new_tensor(elements, dtype));
            asked.map(|asked| asked.map(|(elements, dtype)| tape.new_tensor(elements, dtype))).into()
        });
        made_by(y, node, 0)
    }
}
