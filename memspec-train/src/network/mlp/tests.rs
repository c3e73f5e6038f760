//! Gate and up without what adapters add to them, gated as a card does it, are as those with it.

use super::*;
use crate::kernels::place::Place;
use crate::network::linear::{Linear, LowRank, Weight};
use crate::network::parameter::{OptimizerStates, Parameter};
use crate::network::projection::Projection;
use crate::network::testing::{assert_near, random};

const TOKENS: usize = 7;
const HIDDEN: usize = 24;
const INSIDE: usize = 40;
const RANK: usize = 8;

fn adapted(seed: &str, [out, columns]: [usize; 2]) -> Linear {
    let value = |part: &str, shape| random(&format!("{seed} {part}"), shape, 0.5);
    let trained = |part, shape| Parameter::trained(value(part, shape), OptimizerStates::None, Place::Cpu);
    let (a, b) = (trained("a", [RANK, columns]), trained("b", [out, RANK]));
    Linear {
        weight: Weight::Dense(Parameter::frozen(value("weight", [out, columns]))),
        bias: None,
        adapter: Some(LowRank { a, b, scale: 2.0, dropout: None, magnitude: None }),
    }
}

fn linears() -> Linears {
    let [q, k, v, o] = ["q", "k", "v", "o"].map(|seed| adapted(seed, [HIDDEN, HIDDEN]));
    let [gate, up] = ["gate", "up"].map(|seed| adapted(seed, [INSIDE, HIDDEN]));
    Linears {
        qkv: Projection::separate([("q_proj", q), ("k_proj", k), ("v_proj", v)]),
        o,
        gate_up: Projection::separate([("gate_proj", gate), ("up_proj", up)]),
        down: adapted("down", [HIDDEN, INSIDE]),
    }
}

#[test]
fn what_adapters_add_late_is_what_they_add() {
    let mut l = linears();
    let (x, g) = (random("x", [TOKENS, HIDDEN], 0.5), random("g", [TOKENS, INSIDE], 0.5));
    let ([gate, up], lows) = l.gate_up.forward(&x);
    let ([base_gate, base_up], base_lows) = l.gate_up.base_outputs(&x);
    let product = kernels::swiglu(&gate, &up);
    let (added, a_down) = l.adapters(&base_lows).unwrap();
    let (late, low) = swiglu_added(base_gate.clone(), &base_up, added, a_down, false);
    assert_near(&late, &product);
    assert_near(&low, &l.down.low(&product).unwrap());

    let mut backward = |gated: [Tensor<2>; 2], lows: Lows, added| {
        let [gate, up] = gated;
        let [low_gate, low_up] = lows.all().unwrap();
        let [of_gate, of_up] = l.gate_up.plain_adapters_mut().unwrap();
        let down = l.down.adapter.as_mut().unwrap();
        let g_low = random("g low", [TOKENS, RANK], 0.5);
        let halves =
            [half(&mut of_gate.b, low_gate, 2.0), half(&mut of_up.b, low_up, 2.0), half(&mut down.a, g_low, 1.0)];
        let halves = halves.map(Option::unwrap);
        let g = g.clone().add_scalar(0.0);
        let (gated, halves) = swiglu_backward_adapted(gate, up, g, halves, added);
        let gradients = halves.into_iter().flat_map(|(low, grad)| [low, grad]);
        let zeros = [[INSIDE, RANK], [INSIDE, RANK], [RANK, INSIDE]].map(storage::zeros_tensor);
        let parameters = [&mut of_gate.b, &mut of_up.b, &mut down.a];
        parameters.into_iter().zip(zeros).for_each(|(parameter, zero)| parameter.return_grad(zero));
        gated.into_iter().chain(gradients).collect::<Vec<_>>()
    };
    let late = backward([base_gate, base_up], base_lows, true);
    let whole = backward([gate, up], lows, false);
    late.iter().zip(&whole).for_each(|(late, whole)| assert_near(late, whole));
}
