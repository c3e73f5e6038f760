//! Dropout of an adapter's input: what is left out follows from the run's numbers alone, so it is the same wherever it is computed.

mod common;

use std::path::Path;

use burn::tensor::Tensor;
use common::Place as Folder;
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Checkpointing, Choice, Plan};
use memspec::quantity::{Percent, Tokens};
use memspec::setup::resolve;
use memspec_train::checkpoint::Checkpoint;
use memspec_train::kernels::place::{Place, fetch};
use memspec_train::kernels::storage;
use memspec_train::network::load::{Weights, load};
use memspec_train::network::{Model, ParameterMut};
use memspec_train::output::read_adapter;
use memspec_train::step::{Batch, StepConfig, hidden, micro_batch};

/// A fixture's model with its adapter, whose input loses so many percent.
fn model(name: &str, dropout: f64, checkpointing: Checkpointing) -> (StepConfig, Model) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name);
    let plan = Plan {
        name: "dropout".to_owned(),
        model: Some(folder.to_str().unwrap().into()),
        device: Some("cpu".into()),
        adapter: Some(plan::Adapter {
            kind: AdapterKind::Lora,
            rank: Some(4.into()),
            alpha: Some(8.0.into()),
            dropout: Some(Percent(dropout).into()),
            ..Default::default()
        }),
        data: Some(plan::Data { context: Some(Choice::One(Tokens(12))), ..Default::default() }),
        train: Some(plan::Train { checkpointing: Some(Choice::One(checkpointing)), ..Default::default() }),
        ..Default::default()
    };
    let setup = resolve(&plan, Path::new("."), &Environment::default()).unwrap();
    let weights = Weights::Checkpoint(Box::new(Checkpoint::open(&folder).unwrap()));
    let mut model = load(&setup, &weights, Place::Cpu, &mut |_| {}).unwrap();
    read_adapter(&folder.join("adapter"), &mut model).unwrap();
    (StepConfig { draw: 5, ..StepConfig::of(&setup) }, model)
}

/// Two rows of any words, all scored.
fn batch() -> Batch {
    let ids: Vec<i32> = (0..24).map(|at| at * 29 % 97).collect();
    let targets = (0..24).map(|at| if at % 12 == 11 { -1 } else { ids[at + 1] }).collect();
    Batch { ids, targets, context: 12, packed: None }
}

fn loss(model: &mut Model, config: &StepConfig) -> f32 {
    fetch(&micro_batch(model, &batch(), batch().scored(), config, &mut |_| {})).unwrap()[0]
}

fn gradients(model: &mut Model) -> Vec<(String, Vec<f32>)> {
    let read = |(name, parameter): (String, ParameterMut<'_>)| match parameter {
        ParameterMut::Matrix(p) => (name, fetch(p.training.as_ref().unwrap().grad.get()).unwrap()),
        ParameterMut::Vector(_) => unreachable!("adapters of LoRA are matrices"),
    };
    model.trained_mut().into_iter().map(read).collect()
}

#[test]
fn gradients_are_those_of_what_was_left() {
    // modules of their own, whose masks differ, and fused ones, which have one mask for all of their outputs
    for folder in ["qwen2", "phi3"] {
        let (config, mut model) = model(folder, 30.0, Checkpointing::Block);
        loss(&mut model, &config);
        for (index, (name, grad)) in gradients(&mut model).into_iter().enumerate() {
            let norm = grad.iter().map(|g| g * g).sum::<f32>().sqrt();
            let value = model.trained_mut()[index].1.read(<[f32]>::to_vec);
            // along the gradient its slope is its norm
            let mut moved = |by: f32| {
                let values: Vec<f32> = value.iter().zip(&grad).map(|(value, g)| value + by * g / norm).collect();
                model.trained_mut()[index].1.write(&values);
                loss(&mut model, &config)
            };
            let mut slope = |by: f32| (moved(by) - moved(-by)) / (2.0 * by);
            // the error of the square, which two steps show, taken off
            let slope = (4.0 * slope(1e-2) - slope(2e-2)) / 3.0;
            model.trained_mut()[index].1.write(&value);
            assert!((slope - norm).abs() < 5e-3 * norm + 1e-4, "{folder} {name}: {slope} {norm}");
        }
    }
}

#[test]
fn what_is_computed_again_has_the_same_masks() {
    for folder in ["llama-untied", "phi3"] {
        let run = |checkpointing| {
            let (config, mut model) = model(folder, 20.0, checkpointing);
            (loss(&mut model, &config), gradients(&mut model))
        };
        let (loss, grads) = run(Checkpointing::None);
        for checkpointing in [Checkpointing::Block, Checkpointing::Blocks(1)] {
            let (again, grads_again) = run(checkpointing);
            assert_eq!(loss, again, "{folder}");
            assert!(grads == grads_again, "{folder}: gradients differ");
        }
    }
}

#[test]
fn only_training_leaves_something_out() {
    let (config, mut without) = model("qwen2", 0.0, Checkpointing::None);
    let (_, mut with) = model("qwen2", 50.0, Checkpointing::None);
    let expected = loss(&mut without, &config);
    let losses: Vec<f32> = (0..4).map(|draw| loss(&mut with, &StepConfig { draw, ..config })).collect();
    for (index, loss) in losses.iter().enumerate() {
        assert!(*loss != expected && !losses[..index].contains(loss), "every time is another: {losses:?}");
    }
    // evaluation, between such steps
    let states = |model: &Model| storage::read(&hidden(model, &batch()), <[f32]>::to_vec);
    assert_eq!(states(&with), states(&without));
}

#[test]
fn on_average_nothing_is_missing() {
    let (_, mut model) = model("qwen2", 40.0, Checkpointing::None);
    let x = storage::f32_tensor([3, 64], |out| {
        (0..out.len()).for_each(|at| out[at] = (at as f32 * 0.7).sin());
        Ok::<(), ()>(())
    });
    let x: Tensor<2> = x.unwrap();
    let output = |model: &Model| {
        let down = &model.blocks[1].linears.down;
        storage::read(&down.forward_rows(&x, down.rows(), &mut None), <[f32]>::to_vec)
    };
    let expected = output(&model);
    let times = 4000;
    let mut mean = vec![0.0; expected.len()];
    let mut spread = 0.0_f32;
    for draw in 0..times {
        model.drop_inputs(Some(draw));
        for ((mean, y), expected) in mean.iter_mut().zip(output(&model)).zip(&expected) {
            *mean += (y - expected) / times as f32;
            spread = spread.max((y - expected).abs());
        }
    }
    let off = mean.iter().fold(0.0_f32, |most, mean| most.max(mean.abs()));
    assert!(spread > 0.1 && off < 0.03 * spread, "{off} {spread}");
}

#[test]
fn a_run_drops_inputs_and_says_so() {
    let place = Folder::new();
    let losses = |changes: &[(&str, &str)]| {
        place.plan(changes).run(&["--overwrite", "--quiet"]);
        place.losses("out")
    };
    let plain = losses(&[]);
    assert_eq!(losses(&[("alpha = 8", "alpha = 8\n dropout = 0%")]), plain);
    let dropped = losses(&[("alpha = 8", "alpha = 8\n dropout = 10%")]);
    // B is zero at first, so what A is given does not show yet
    assert!(dropped[0] == plain[0] && dropped[1..] != plain[1..], "{dropped:?} {plain:?}");
    assert_eq!(place.json("out/adapter_config.json")["lora_dropout"], 0.1);
}
