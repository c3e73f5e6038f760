//! Losses that are scaled: a step is the same whatever the scale, and one whose gradients overflow changes nothing.

use std::path::Path;

use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Choice, OptimizerKind, Plan};
use memspec::quantity::Tokens;
use memspec::setup::{Setup, resolve};
use memspec_train::checkpoint::Checkpoint;
use memspec_train::kernels::AdamW;
use memspec_train::kernels::place::{Place, fetch};
use memspec_train::network::load::{Weights, load};
use memspec_train::network::{Model, ParameterMut, StateMut};
use memspec_train::step::{Batch, StepConfig, micro_batch, optimizer_step};

const CONTEXT: usize = 12;

/// A tiny model; all of its weights are trained, or an adapter.
fn model(adapter: bool, optimizer: OptimizerKind) -> (Setup, Model) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/qwen2");
    let plan = Plan {
        name: "scaled".to_owned(),
        model: Some(folder.to_str().unwrap().into()),
        device: Some("cpu".into()),
        adapter: adapter.then(|| plan::Adapter { kind: AdapterKind::Lora, rank: Some(4.into()), ..Default::default() }),
        data: Some(plan::Data { context: Some(Choice::One(Tokens(CONTEXT as u64))), ..Default::default() }),
        train: Some(plan::Train { optimizer: Some(optimizer.into()), ..Default::default() }),
        ..Default::default()
    };
    let setup = resolve(&plan, Path::new("."), &Environment::default()).unwrap();
    let weights = Weights::Checkpoint(Box::new(Checkpoint::open(&folder).unwrap()));
    let model = load(&setup, &weights, Place::Cpu, &mut |_| {}).unwrap();
    (setup, model)
}

/// One step over a batch of its own, with the loss times `scale`: loss and norm.
fn step(setup: &Setup, model: &mut Model, number: i32, scale: f32) -> (f32, f32) {
    let ids: Vec<i32> = (0..2 * CONTEXT as i32).map(|at| (at * 7 + number) % 50).collect();
    let targets: Vec<i32> = ids[1..].iter().copied().chain([-1]).collect();
    let batch = Batch { ids, targets, context: CONTEXT, packed: None };
    let config = StepConfig { loss_scale: scale, ..StepConfig::of(setup) };
    let loss = micro_batch(model, &batch, batch.scored(), &config, &mut |_| {});
    let how = AdamW {
        learning_rate: 1e-2,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: number,
        gradient_scale: 1.0 / scale,
    };
    let norm = optimizer_step(model, how, 1.0).unwrap();
    (fetch(&loss).unwrap()[0] / scale, norm)
}

/// The bits of all that a step changes: weights, gradients and moments.
fn bits(model: &mut Model) -> Vec<Vec<u32>> {
    let of = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut all = Vec::new();
    for (_, parameter) in model.trained_mut() {
        all.push(parameter.read(of));
        all.push(match &parameter {
            ParameterMut::Vector(p) => of(&fetch(p.training.as_ref().unwrap().grad.get()).unwrap()),
            ParameterMut::Matrix(p) => of(&fetch(p.training.as_ref().unwrap().grad.get()).unwrap()),
        });
        for (_, state) in parameter.states() {
            all.push(match state {
                StateMut::Vector(slot) => of(&fetch(slot.get()).unwrap()),
                StateMut::Matrix(slot) => of(&fetch(slot.get()).unwrap()),
                StateMut::EightBit(moment) => of(&fetch(&moment.get().1).unwrap()),
            });
        }
    }
    all
}

const KINDS: [(bool, OptimizerKind); 4] = [
    (true, OptimizerKind::Adamw),
    (false, OptimizerKind::Adamw),
    (false, OptimizerKind::Adamw8bit),
    (true, OptimizerKind::Sgd),
];

#[test]
fn the_scale_changes_no_bit_of_a_step() {
    for (adapter, optimizer) in KINDS {
        let (setup, mut plain) = model(adapter, optimizer);
        let (_, mut scaled) = model(adapter, optimizer);
        for (number, scale) in [(1, 65536.0), (2, 65536.0), (3, 32768.0)] {
            let expected = step(&setup, &mut plain, number, 1.0);
            assert_eq!(step(&setup, &mut scaled, number, scale), expected, "{optimizer}, step {number}");
        }
        assert!(bits(&mut scaled) == bits(&mut plain), "{optimizer}");
    }
}

#[test]
fn a_step_that_overflows_changes_nothing() {
    for (adapter, optimizer) in KINDS {
        let (setup, mut model) = model(adapter, optimizer);
        step(&setup, &mut model, 1, 1024.0);
        let before = bits(&mut model);
        // 2^126, at which products of gradients are beyond f32.
        let (_, norm) = step(&setup, &mut model, 2, 8.5e37);
        assert!(!norm.is_finite(), "{optimizer}: {norm}");
        assert!(bits(&mut model) == before, "{optimizer}: weights and moments stay, gradients are zero again");
        let (loss, norm) = step(&setup, &mut model, 2, 512.0);
        assert!(loss.is_finite() && norm.is_finite(), "{optimizer}: the step is repeated: {loss} {norm}");
    }
}
