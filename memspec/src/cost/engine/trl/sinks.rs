//! GPT-OSS' attention (`transformers/models/gpt_oss/modeling_gpt_oss.py:235`): eager, with one sink a head that takes part in the softmax.

use super::super::super::torch::{Tape, Tensor};
use super::attention::Positions;
use super::weights::DecoderBlock;
use super::{SCORES, Shape, linear};
use crate::model::Dtype;

/// The attention's output, and the weights that the layer keeps in a local.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    shape: &Shape,
    block: &DecoderBlock,
    x: &Tensor,
    positions: &Positions,
) -> (Tensor, Option<Tensor>) {
    let mut heads: Vec<Tensor> = block
        .input
        .iter()
        .map(|projection| {
            let y = linear::forward(tape, projection, x, shape.rows);
            tape.heads(&y)
        })
        .collect();
    if let Some(tables) = &positions.tables {
        heads[0] = rotate(tape, &heads[0], tables);
        heads[1] = rotate(tape, &heads[1], tables);
    }
    let (out, weights) = tape.labelled(SCORES, |tape| weigh(tape, shape, block, &heads, positions.mask.as_ref()));
    drop(heads);
    (linear::forward(tape, &block.output, &out, shape.rows), Some(weights))
}

fn weigh(
    tape: &mut Tape<'_>,
    shape: &Shape,
    block: &DecoderBlock,
    heads: &[Tensor],
    mask: Option<&Tensor>,
) -> (Tensor, Tensor) {
    let queries = heads[0].elements;
    let scores = shape.attention.scores();
    let more = scores + shape.rows * shape.model.heads;
    let dtype = heads[0].dtype;
    let (k, v) = (tape.repeat(&heads[1], queries), tape.repeat(&heads[2], queries));
    let mut weights = tape.batched_product(&heads[0], &k, scores);
    weights = tape.scale(&weights);
    if let Some(mask) = mask {
        weights = tape.add(&weights, mask);
    }
    let sinks = block.sinks.as_ref().map(|sinks| expand(tape, &sinks.tensor, more - scores));
    let parts: Vec<&Tensor> = std::iter::once(&weights).chain(&sinks).collect();
    let mut combined = tape.concatenate(&parts, more);
    let _maximum = tape.new_tensor(more - scores, dtype);
    let place = tape.new_tensor(more - scores, Dtype::I64);
    combined = {
        let y = tape.new_tensor(more, dtype);
        // Less the maximum: its gradient is a whole negated tensor, and zeros of the whole.
        tape.custom(y, &[&combined], &[&place], move |tape, _, gradients| {
            drop(tape.new_tensor(more, dtype));
            let _zeros = tape.new_tensor(more, dtype);
            vec![gradients[0].clone()]
        })
    };
    let probabilities = tape.softmax(&combined);
    weights = tape.slice(&probabilities, scores);
    let out = tape.batched_product(&weights, &v, queries);
    let out = tape.copy(&out).rows_first(true);
    drop((probabilities, combined, k, v));
    (out, weights)
}

/// The sinks seen as one score a query; backward sums over those.
fn expand(tape: &mut Tape<'_>, sinks: &Tensor, elements: u64) -> Tensor {
    let (heads, dtype) = (sinks.elements, sinks.dtype);
    tape.custom(sinks.view(elements), &[sinks], &[], move |tape, _, _| vec![Some(tape.new_tensor(heads, dtype))])
}

/// Both halves of each head, rotated and joined again.
fn rotate(tape: &mut Tape<'_>, q: &Tensor, [cos, sin]: &[Tensor; 2]) -> Tensor {
    let halves = tape.halves(q);
    let turned = |tape: &mut Tape<'_>, a: &Tensor, b: &Tensor| {
        let (near, far) = (tape.multiply(a, cos), tape.multiply(b, sin));
        tape.add(&near, &far)
    };
    let first = turned(tape, &halves[0], &halves[1]);
    let second = turned(tape, &halves[1], &halves[0]);
    tape.concatenate(&[&first, &second], q.elements)
}
