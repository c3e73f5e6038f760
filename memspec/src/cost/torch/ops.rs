//! Differentiable operations: what each allocates, what its derivative saves (`torch`'s `derivatives.yaml`), and what its backward allocates.

use super::tape::{Tape, made_by};
use super::tensor::Tensor;
use crate::model::Dtype;

/// Which tensors an element-wise function's derivative needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saves {
    /// Its input (`silu`).
    Input,
    /// Its output (`sigmoid`, `rsqrt`).
    Output,
    /// Nothing.
    Nothing,
}

impl<'a> Tape<'a> {
    /// `x.to(dtype)`. Backward makes a tensor of the old type.
    pub(crate) fn cast(&mut self, x: &Tensor, dtype: Dtype) -> Tensor {
        if x.dtype == dtype {
            return x.clone();
        }
        let y = self.new_tensor(x.elements, dtype).rows_first(x.rows_first);
        let from = x.dtype;
        let node = self.node(&[Some(x)], 1, &[], move |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| tape.new_tensor(g.elements, from).rows_first(g.rows_first))]
        });
        made_by(y, node, 0)
    }

    /// Autocast's copy of an operand in its own type. That of a trained float32 parameter is kept until autocast ends.
    pub(crate) fn autocast_operand(&mut self, x: &Tensor) -> Tensor {
        let Some(dtype) = self.autocast else { return x.clone() };
        if x.dtype == dtype || !matches!(x.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16) {
            return x.clone();
        }
        let Some(leaf) = x.leaf().filter(|_| x.dtype == Dtype::F32) else { return self.cast(x, dtype) };
        if let Some(cast) = self.casts.get(&leaf) {
            return cast.clone();
        }
        let cast = self.cast(x, dtype);
        if !self.stopped {
            self.casts.insert(leaf, cast.clone());
        }
        cast
    }

    /// `torch.nn.functional.linear` on `rows` rows. What it saves is saved before its output exists, so a recomputation that ends here ends
    /// without it.
    pub(crate) fn linear(&mut self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, rows: u64) -> Tensor {
        // Autocast casts the arguments from the last to the first.
        let bias = bias.map(|bias| self.autocast_operand(bias));
        let weight = self.autocast_operand(weight);
        let x = self.autocast_operand(x);
        let mut saved = Vec::with_capacity(2);
        if x.requires_grad() {
            saved.push(&weight);
        }
        if weight.requires_grad() {
            saved.push(&x);
        }
        let (dtype, inputs, weights) = (x.dtype, x.elements, weight.elements);
        let asked = [x.requires_grad(), weight.requires_grad()];
        let biased = bias.is_some();
        let biases = bias.as_ref().filter(|bias| bias.requires_grad()).map(|bias| bias.elements);
        let node = self.node(&[Some(&x), Some(&weight), bias.as_ref()], 1, &saved, move |tape, _, _| {
            let weight_gradient = |tape: &mut Tape<'a>| {
                asked[1].then(|| {
                    let gradient = tape.new_tensor(weights, dtype);
                    tape.product();
                    gradient
                })
            };
            // Without a bias the weight's gradient comes first (`MmBackward`), with one the input's (`AddmmBackward`).
            let early = if biased { None } else { weight_gradient(tape) };
            let input = asked[0].then(|| {
                let gradient = tape.new_tensor(inputs, dtype).seen_again();
                tape.product();
                gradient
            });
            let late = if biased { weight_gradient(tape) } else { None };
            vec![input, early.or(late), None]
        });
        if let Some(biases) = biases {
            self.finish(node, move |tape, gradients| {
                gradients[2] = Some(tape.new_tensor(biases, dtype));
                drop(tape.reduction_staging(biases, rows));
            });
        }
        let outputs = weights / (inputs / rows).max(1) * rows;
        let y = self.new_tensor(outputs, dtype);
        if biased {
            self.biased_product();
        } else {
            self.product();
        }
        made_by(y, node, 0)
    }

    /// `a * b`, the smaller one broadcast. The product has the wider type. Its inputs are saved before it exists.
    pub(crate) fn multiply(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        // A parameter is broadcast over rows.
        self.times(a, b, [a.leaf().is_some(), b.leaf().is_some()])
    }

    /// `column * x`: one number for each column of `x`, broadcast over its rows.
    pub(crate) fn multiply_columns(&mut self, column: &Tensor, x: &Tensor) -> Tensor {
        self.times(column, x, [true, false])
    }

    /// The product; `over_rows`: which of both is broadcast over rows, so that its gradient is a sum of columns.
    fn times(&mut self, a: &Tensor, b: &Tensor, over_rows: [bool; 2]) -> Tensor {
        let big = if a.elements >= b.elements { a } else { b };
        let dtype = if a.dtype == Dtype::F32 || b.dtype == Dtype::F32 { Dtype::F32 } else { big.dtype };
        let (whole, rows_first) = (big.elements, big.rows_first);
        let mut saved = Vec::with_capacity(2);
        if b.requires_grad() {
            saved.push(a);
        }
        if a.requires_grad() {
            saved.push(b);
        }
        let inputs = [a, b].map(|tensor| (tensor.requires_grad(), tensor.elements, tensor.dtype));
        let node = self.node(&[Some(a), Some(b)], 1, &saved, move |tape, _, _| {
            inputs.map(|input| input.0.then(|| tape.new_tensor(whole, dtype).rows_first(rows_first))).into()
        });
        self.finish(node, move |tape, gradients| {
            for ((gradient, (_, elements, own)), over_rows) in gradients.iter_mut().zip(inputs).zip(over_rows) {
                let Some(mut fitted) = gradient.take() else { continue };
                if elements < whole {
                    let sum = tape.new_tensor(elements, dtype);
                    if over_rows {
                        drop(tape.reduction_staging(elements, whole / elements));
                    }
                    fitted = sum;
                }
                if own != dtype {
                    fitted = tape.new_tensor(elements, own).rows_first(rows_first);
                }
                *gradient = Some(fitted);
            }
        });
        let y = self.new_tensor(whole, dtype).rows_first(rows_first);
        made_by(y, node, 0)
    }

    /// `x` times, plus or minus a number.
    pub(crate) fn scale(&mut self, x: &Tensor) -> Tensor {
        self.elementwise(x, Saves::Nothing)
    }

    /// A function of each element, whose backward makes one tensor.
    pub(crate) fn elementwise(&mut self, x: &Tensor, saves: Saves) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype).rows_first(x.rows_first);
        let saved: &[&Tensor] = match saves {
            Saves::Input => &[x],
            Saves::Output => &[&y],
            Saves::Nothing => &[],
        };
        let node = self.node(&[Some(x)], 1, saved, |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| tape.new_tensor(g.elements, g.dtype).rows_first(g.rows_first))]
        });
        made_by(y, node, 0)
    }

    /// `torch.nn.functional.dropout` of a share (`native_dropout`): a tensor of the input's size and a mask of one byte an element, which is saved.
    pub(crate) fn dropout(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let mask = self.new_tensor(x.elements, Dtype::Bool);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[&mask], move |tape, _, _| vec![Some(tape.new_tensor(elements, dtype))]);
        made_by(y, node, 0)
    }

    /// `a + b`, of one size. Both get the same gradient.
    pub(crate) fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let dtype = if a.dtype == Dtype::F32 || b.dtype == Dtype::F32 { Dtype::F32 } else { a.dtype };
        let y = self.new_tensor(a.elements, dtype).rows_first(a.rows_first);
        let types = [a.dtype, b.dtype];
        let node = self.node(&[Some(a), Some(b)], 1, &[], move |tape, _, gradients| {
            let Some(gradient) = &gradients[0] else { return vec![None, None] };
            types
                .into_iter()
                .map(|own| Some(if own == dtype { gradient.clone() } else { tape.new_tensor(gradient.elements, own) }))
                .collect()
        });
        made_by(y, node, 0)
    }

    /// `x.pow(n)`. Backward makes x^(n-1), n times that, and the result.
    pub(crate) fn square(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[x], move |tape, _, _| {
            let _power = tape.new_tensor(elements, dtype);
            let _twice = tape.new_tensor(elements, dtype);
            vec![Some(tape.new_tensor(elements, dtype))]
        });
        made_by(y, node, 0)
    }

    /// The mean over the last axis, one for each of `rows`. Backward makes a tensor of the input's size.
    pub(crate) fn mean_last(&mut self, x: &Tensor, rows: u64) -> Tensor {
        let (elements, dtype) = (x.elements, x.dtype);
        let y = self.new_tensor(rows, dtype);
        let node = self.node(&[Some(x)], 1, &[], move |tape, _, _| vec![Some(tape.new_tensor(elements, dtype))]);
        made_by(y, node, 0)
    }

    /// `x.clone()` or `.contiguous()` that copies.
    pub(crate) fn copy(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype).rows_first(x.rows_first);
        let node = self.node(&[Some(x)], 1, &[], |_, _, gradients| vec![gradients[0].clone()]);
        made_by(y, node, 0)
    }

    /// A view of part of `x`. Backward makes zeros of the whole.
    pub(crate) fn slice(&mut self, x: &Tensor, elements: u64) -> Tensor {
        let y = x.view(elements);
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[], move |tape, _, _| vec![Some(tape.new_tensor(whole, dtype))]);
        made_by(y, node, 0)
    }

    /// (batch, tokens, heads * width) seen as (batch, heads, tokens, width). Backward copies when the gradient is stored heads first.
    pub(crate) fn heads(&mut self, x: &Tensor) -> Tensor {
        let y = x.view(x.elements).rows_first(true);
        let node = self.node(&[Some(x)], 1, &[], |tape, _, gradients| {
            vec![gradients[0].as_ref().map(|g| {
                if g.rows_first { g.view(g.elements).rows_first(false) } else { tape.new_tensor(g.elements, g.dtype) }
            })]
        });
        made_by(y, node, 0)
    }

    /// `torch.cat`. Backward hands out views of the gradient.
    pub(crate) fn concatenate(&mut self, parts: &[&Tensor], elements: u64) -> Tensor {
        let y = self.new_tensor(elements, parts[0].dtype);
        let sizes: Vec<u64> = parts.iter().map(|part| part.elements).collect();
        let inputs: Vec<Option<&Tensor>> = parts.iter().copied().map(Some).collect();
        let node = self.node(&inputs, 1, &[], move |_, _, gradients| {
            sizes.iter().map(|&size| gradients[0].as_ref().map(|g| g.view(size).rows_first(g.rows_first))).collect()
        });
        made_by(y, node, 0)
    }

    /// Views of equal parts of `x` that one node made; its backward stacks their gradients into one tensor and, where `copies`, brings that into
    /// the input's order.
    pub(crate) fn unbind(&mut self, x: &Tensor, count: u64, copies: bool) -> Vec<Tensor> {
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], count as usize, &[], move |tape, _, _| {
            let stacked = tape.new_tensor(whole, dtype);
            vec![Some(if copies { tape.new_tensor(whole, dtype) } else { stacked })]
        });
        (0..count).map(|part| made_by(x.view(whole / count).rows_first(true), node, part as u32)).collect()
    }

    /// Two halves of `x`, as views. Backward joins their gradients.
    pub(crate) fn halves(&mut self, x: &Tensor) -> [Tensor; 2] {
        let (whole, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 2, &[], move |tape, _, _| vec![Some(tape.new_tensor(whole, dtype))]);
        [0, 1].map(|part| made_by(x.view(whole / 2).rows_first(x.rows_first), node, part))
    }

    /// An operation that changes the number of elements: a gather, a scatter, a reduction. Backward makes a tensor of the input's size, and
    /// `masks` boolean ones beside it.
    pub(crate) fn reshape_into(&mut self, x: &Tensor, elements: u64, saves: Saves, masks: u32) -> Tensor {
        let y = self.new_tensor(elements, x.dtype);
        let (inputs, dtype) = (x.elements, x.dtype);
        let saved: &[&Tensor] = if saves == Saves::Input { &[x] } else { &[] };
        let node = self.node(&[Some(x)], 1, saved, move |tape, _, _| {
            let _masks: Vec<Tensor> = (0..masks).map(|_| tape.new_tensor(inputs, Dtype::Bool)).collect();
            vec![Some(tape.new_tensor(inputs, dtype))]
        });
        made_by(y, node, 0)
    }

    /// Softmax over the last axis. Saves its output; backward makes gradient times output, and the result.
    pub(crate) fn softmax(&mut self, x: &Tensor) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let (elements, dtype) = (x.elements, x.dtype);
        let node = self.node(&[Some(x)], 1, &[&y], move |tape, _, _| {
            let _product = tape.new_tensor(elements, dtype);
            vec![Some(tape.new_tensor(elements, dtype))]
        });
        made_by(y, node, 0)
    }

    /// A batched matrix product with `elements` in its result.
    pub(crate) fn batched_product(&mut self, a: &Tensor, b: &Tensor, elements: u64) -> Tensor {
        let y = self.new_tensor(elements, a.dtype);
        let (left, right, dtype) = (a.elements, b.elements, a.dtype);
        let node = self.node(&[Some(a), Some(b)], 1, &[a, b], move |tape, _, _| {
            let second = tape.new_tensor(right, dtype);
            vec![Some(tape.new_tensor(left, dtype)), Some(second)]
        });
        made_by(y, node, 0)
    }

    /// Key or value heads repeated for every query head.
    pub(crate) fn repeat(&mut self, x: &Tensor, elements: u64) -> Tensor {
        self.reshape_into(x, elements, Saves::Nothing, 0)
    }

    /// An operation that overwrites its input, forward and backward (Liger's RoPE); keeps `saved`.
    pub(crate) fn in_place(&mut self, x: &Tensor, saved: &[&Tensor]) -> Tensor {
        let y = x.view(x.elements).rows_first(x.rows_first);
        let node = self.node(&[Some(x)], 1, saved, |tape, _, gradients| {
            vec![gradients[0].as_ref().map(
                |g| {
                    if g.rows_first { g.clone() } else { tape.new_tensor(g.elements, g.dtype) }
                },
            )]
        });
        made_by(y, node, 0)
    }

    /// Liger's RMSNorm (`liger_kernel/ops/rms_norm.py`): saves its input, the weight and 1/rms; backward writes over the incoming gradient.
    pub(crate) fn liger_rms_norm(&mut self, x: &Tensor, weight: &Tensor, rows: u64) -> Tensor {
        let y = self.new_tensor(x.elements, x.dtype);
        let rstd = self.new_tensor(rows, Dtype::F32);
        let node = self.node(&[Some(x)], 1, &[x, weight, &rstd], |_, _, gradients| vec![gradients[0].clone()]);
        made_by(y, node, 0)
    }

    /// Liger's SiLU and product (`liger_kernel/ops/swiglu.py`): saves both inputs and writes their gradients over them.
    pub(crate) fn liger_silu_multiply(&mut self, gate: &Tensor, up: &Tensor) -> Tensor {
        let y = self.new_tensor(gate.elements, gate.dtype);
        let (elements, dtype) = (gate.elements, gate.dtype);
        let node = self.node(&[Some(gate), Some(up)], 1, &[gate, up], move |_, saved, _| {
            let over = |at: usize| Some(Tensor::of(&saved[at], elements, dtype));
            vec![over(0), over(1)]
        });
        made_by(y, node, 0)
    }
}
