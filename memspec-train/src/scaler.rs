//! Dynamic loss scaling, for training in fp16: its numbers and its decisions are those of `torch.amp.GradScaler`.
//!
//! f16 has nothing below 6e-8, where many gradients are. So the loss, and by it every gradient, is multiplied with a scale as large as
//! the gradients allow (Micikevicius et al., 2018). Where one overflows, the step is left out and the scale is halved; after a while
//! without an overflow it is doubled. Nothing waits for a decision: a device leaves out a step by itself when the gradient's norm is no
//! number, and the host, which reads that norm anyway, decides the next step's scale.

use memspec::plan::Precision;
use memspec::setup::Train;
use serde::{Deserialize, Serialize};

/// The scale of the first step.
const FIRST_SCALE: f32 = 65536.0;
/// What the scale is multiplied with after [`GROWTH_INTERVAL`] steps without an overflow.
const GROWTH: f32 = 2.0;
/// What it is multiplied with after an overflow.
const BACKOFF: f32 = 0.5;
/// Steps without an overflow until the scale grows.
const GROWTH_INTERVAL: u32 = 2000;
/// A scale below this makes gradients smaller, not larger: what overflows then is no matter of the scale.
const LEAST_SCALE: f32 = 1.0;

/// The scale of the loss, and what decides the next one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScaler {
    /// What the loss of the next step is multiplied with: a power of two, so that nothing is rounded.
    pub scale: f32,
    /// Steps since the scale last changed, which had no overflow.
    pub good_steps: u32,
    /// Steps so far that were left out because gradients overflowed.
    pub skipped: u64,
}

impl LossScaler {
    /// That of a run which begins; `None` where losses are not scaled.
    pub fn of(train: &Train) -> Option<Self> {
        let first = Self { scale: FIRST_SCALE, good_steps: 0, skipped: 0 };
        (train.precision == Precision::Fp16).then_some(first)
    }

    /// Decides the next step's scale, after a step whose gradients were all finite or not.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            self.scale *= BACKOFF;
            self.good_steps = 0;
            self.skipped += 1;
            return;
        }
        self.good_steps += 1;
        if self.good_steps == GROWTH_INTERVAL {
            let grown = self.scale * GROWTH;
            if grown.is_finite() {
                self.scale = grown;
            }
            self.good_steps = 0;
        }
    }

    /// Gradients overflow whatever they are scaled with: training cannot go on.
    pub fn is_lost(&self) -> bool {
        self.scale < LEAST_SCALE
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use memspec::model::Environment;
    use memspec::plan::{self, Choice, Plan};
    use memspec::setup::resolve;
    use serde_json::Value;

    use super::*;
    use crate::data::Position;
    use crate::kernels::place::Place;
    use crate::kernels::storage;
    use crate::network::parameter::{OptimizerStates, Parameter};
    use crate::output::State;
    use crate::run::next_step;
    use crate::testing::json_fixture;

    /// How a plan in fp16 trains, with the settings of `fixtures/grad_scaler.py`.
    fn train() -> Train {
        let plan = Plan {
            name: "scaled".to_owned(),
            model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
            device: Some("l4".into()),
            train: Some(plan::Train {
                precision: Some(Precision::Fp16.into()),
                learning_rate: Some(1e-2.into()),
                weight_decay: Some(0.1.into()),
                schedule: Some(plan::Schedule::Linear.into()),
                warmup: Some(Choice::One(plan::Warmup::Steps(0))),
                ..Default::default()
            }),
            ..Default::default()
        };
        resolve(&plan, Path::new("."), &Environment::default()).unwrap().train
    }

    fn begins(train: &Train) -> State {
        let scaler = LossScaler::of(train);
        State { step: 0, position: Position::default(), losses: Vec::new(), scaler, plan: Value::Null }
    }

    fn floats(list: &Value) -> Vec<f32> {
        list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
    }

    #[test]
    fn only_fp16_is_scaled() {
        let fp16 = train();
        assert_eq!(LossScaler::of(&fp16).map(|scaler| scaler.scale), Some(65536.0));
        for precision in [Precision::Bf16, Precision::F32, Precision::Bf16Pure] {
            assert_eq!(LossScaler::of(&Train { precision, ..fp16.clone() }), None);
        }
    }

    #[test]
    fn the_scale_of_each_step_is_that_of_torch() {
        let fixture = json_fixture("grad_scaler.json");
        let overflows: Vec<u64> =
            fixture["overflows"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
        let mut scaler = LossScaler::of(&train()).unwrap();
        let mut changes = Vec::new();
        for step in 0..fixture["steps"].as_u64().unwrap() {
            let before = scaler.scale;
            scaler.update(!overflows.contains(&step));
            if scaler.scale != before {
                changes.push(serde_json::json!([step, scaler.scale, scaler.good_steps]));
            }
        }
        assert_eq!(Value::Array(changes), fixture["changes"]);
        assert_eq!(fixture["end"], serde_json::json!([19_999, scaler.scale, scaler.good_steps]));
        assert_eq!(scaler.skipped, overflows.len() as u64);
    }

    #[test]
    fn steps_that_are_left_out_count_for_neither_optimizer_nor_schedule() {
        let fixture = &json_fixture("grad_scaler.json")["training"];
        let train = train();
        let tensor = |values: &[f32]| storage::write(storage::zeros_tensor([1, values.len()]), values);
        let mut weight = Parameter::trained(tensor(&floats(&fixture["start"])), OptimizerStates::Moments, Place::Cpu);
        let mut state = begins(&train);
        let gradients = fixture["gradients"].as_array().unwrap();
        for (index, gradient) in gradients.iter().enumerate() {
            let (_, how) = next_step(&state, &train, gradients.len() as u64);
            assert_eq!(f64::from(how.learning_rate), f64::from(fixture["rates"][index].as_f64().unwrap() as f32));
            let scaled: Vec<f32> = floats(gradient).iter().map(|value| value * state.loss_scale()).collect();
            weight.add_grad(|grad| storage::write(grad, &scaled));
            let overflows = fixture["left_out"].as_array().unwrap().contains(&Value::from(index));
            match overflows {
                true => weight.zero_grad(Place::Cpu),
                false => weight.step(how),
            }
            state.step += 1;
            state.scaler.as_mut().unwrap().update(!overflows);
            let theirs = floats(&fixture["weights"][index]);
            let ours = storage::read(weight.value.get(), <[f32]>::to_vec);
            assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 2e-6), "step {index}: {ours:?} {theirs:?}");
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let mut state = begins(&train());
        state.losses = vec![2.5, f32::NAN, 0.1];
        state.step = 3;
        state.scaler.as_mut().unwrap().update(false);
        state.scaler.as_mut().unwrap().update(true);
        let text = serde_json::to_string(&state).unwrap();
        let read: State = serde_json::from_str(&text).unwrap();
        assert_eq!((read.scaler, read.taken(), read.loss_scale()), (state.scaler, 2, 32768.0));
        assert_eq!(serde_json::to_string(&read).unwrap(), text, "a loss that is no number is one afterwards");
    }

    #[test]
    fn gradients_that_overflow_at_every_scale_are_noticed() {
        let mut scaler = LossScaler::of(&train()).unwrap();
        let steps = (1..).find(|_| {
            scaler.update(false);
            scaler.is_lost()
        });
        assert_eq!(steps, Some(17), "from 65536 to a half");
    }
}
