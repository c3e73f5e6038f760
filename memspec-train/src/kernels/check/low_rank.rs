//! Adapters beside activations that are read once.

use super::inputs::{Check, Inputs, Outputs};
use crate::kernels::DeviceFailed;
use crate::kernels::low_rank::{
    AddedBy, GatedBackward, HalfOf, inputs, inputs_backward, output_backward, swiglu_added, swiglu_backward_adapted,
};
use crate::kernels::place::fetch;

/// Tokens and columns: a piece of each; several, the last of them not whole; several blocks of columns and of tokens; columns that no
/// kernel for this takes.
const SHAPES: [[usize; 2]; 4] = [[16, 32], [37, 96], [300, 1056], [50, 72]];
/// Ranks that the kernels take, and one that is left to products.
const RANKS: [usize; 3] = [8, 16, 24];

pub(super) const CHECKS: &[Check] = &[
    ("adapter: gradients from its output", 4e-6, 8e-3, |at| {
        each(|shape @ [tokens, columns], rank| {
            let half = at.half("b", [columns, rank], tokens, rank);
            let (low, grad) = output_backward(&at.active("g", shape), half);
            Ok(vec![fetch(&low)?, fetch(&grad)?])
        })
    }),
    ("adapters of one input", 4e-6, 8e-3, |at| {
        each(|shape @ [_, columns], rank| {
            let a = ["a", "b", "c"].map(|name| at.active(name, [rank, columns]));
            let x = at.active("x", shape);
            let lows = [inputs(&x, &a), inputs(&x, &a[..2])].concat();
            lows.iter().map(fetch).collect()
        })
    }),
    ("adapters of one input: gradients", 4e-6, 8e-3, |at| {
        each(|shape @ [tokens, columns], rank| {
            let names = ["a", "b", "c"];
            let lows = names.map(|name| at.active(name, [tokens, rank]));
            let grads = || names.map(|name| at.trained(name, [rank, columns]));
            let x = at.active("x", shape);
            let three = inputs_backward(&x, &lows, grads());
            let two = inputs_backward(&x, &lows[..2], grads().into_iter().take(2));
            [three, two].concat().iter().map(fetch).collect()
        })
    }),
    ("swiglu's gradients with adapters", 6e-6, 1e-2, |at| {
        each(|shape, rank| {
            let [gate, up, g] = ["gate", "up", "g"].map(|name| at.active(name, shape));
            gated_backward(swiglu_backward_adapted(gate, up, g, at.halves(shape, rank), false))
        })
    }),
    ("swiglu of what adapters are added to, and gradients", 6e-6, 1.5e-2, |at| {
        each(|shape, rank| {
            let [gate, up, g] = ["gate", "up", "g"].map(|name| at.active(name, shape));
            let halves = || at.halves(shape, rank);
            let [to_gate, to_up, a_down] = halves();
            let added =
                || [&to_gate, &to_up].map(|half| AddedBy { b: &half.weight, low: &half.low, scale: half.scale });
            let (product, low) = swiglu_added(gate.clone(), &up, added(), &a_down.weight, false);
            let (over, _) = swiglu_added(at.active("gate", shape), &up, added(), &a_down.weight, true);
            let backward = gated_backward(swiglu_backward_adapted(gate, up, g, halves(), true))?;
            Ok([vec![fetch(&product)?, fetch(&low)?, fetch(&over)?], backward].concat())
        })
    }),
];

fn gated_backward((gated, halves): GatedBackward) -> Outputs {
    let halves = halves.into_iter().flat_map(|(low, grad)| [low, grad]);
    gated.into_iter().chain(halves).map(|tensor| fetch(&tensor)).collect()
}

/// What a check gives for each shape and rank.
fn each(run: impl Fn([usize; 2], usize) -> Outputs) -> Outputs {
    let all = SHAPES.into_iter().flat_map(|shape| RANKS.map(|rank| (shape, rank)));
    let outputs: Result<Vec<_>, DeviceFailed> = all.map(|(shape, rank)| run(shape, rank)).collect();
    Ok(outputs?.concat())
}

impl Inputs {
    /// Of an MLP: B of gate and up, and A of down.
    fn halves(&self, [tokens, columns]: [usize; 2], rank: usize) -> [HalfOf; 3] {
        let of = |name, weight| self.half(name, weight, tokens, rank);
        [of("b gate", [columns, rank]), of("b up", [columns, rank]), of("a down", [rank, columns])]
    }

    fn half(&self, name: &str, weight: [usize; 2], tokens: usize, rank: usize) -> HalfOf {
        let named = |part: &str| format!("{name} {part}");
        HalfOf {
            weight: self.active(&named("weight"), weight),
            low: self.active(&named("low"), [tokens, rank]),
            grad: self.trained(&named("grad"), weight),
            scale: 0.25,
        }
    }
}
