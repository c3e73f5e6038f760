//! The optimizer's step over several tensors, by the code that a run has for it: a card takes them in one launch, the CPU one after another.
//!
//! Gradients are whole multiples of a power of two, so that their norm is the same number in whatever order its squares are added: clipping and
//! codes of moments then begin with the same on both sides.

use memspec::plan::OptimizerKind;

use super::inputs::{Check, Inputs, Outputs, Rounding};
use crate::kernels::place::{fetch, read_bytes};
use crate::kernels::{AdamW, DeviceFailed, storage};
use crate::network::ParameterMut;
use crate::network::parameter::{Moments, OptimizerStates, Parameter};
use crate::random::Random;
use crate::step;

/// What the loss was multiplied with, and gradients by it.
const LOSS_SCALE: f32 = 1024.0;

/// A rate at which a step is seen beside what bf16 rounds off a weight.
fn adamw(step: i32) -> AdamW {
    let (betas, gradient_scale) = ((0.9, 0.999), 1.0 / LOSS_SCALE);
    AdamW { learning_rate: 0.25, betas, epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale }
}

/// Trained parameters of each kind.
struct Parameters<'a> {
    at: &'a Inputs,
    /// More elements than a block of a card's kernel takes, and moments that are never in 8 bits.
    table: Parameter<2>,
    /// As many, and moments in 8 bits where there are such, with a last block that is not full.
    weight: Parameter<2>,
    /// Few, an odd number, without weight decay.
    bias: Parameter<1>,
    /// Few, with weight decay, and read by no product.
    magnitude: Parameter<1>,
}

impl<'a> Parameters<'a> {
    fn new(at: &'a Inputs, optimizer: OptimizerKind) -> Self {
        let states = |elements, embedding| OptimizerStates::of(optimizer, elements, embedding);
        let matrix = |name, shape: [usize; 2], embedding| {
            Parameter::trained(at.trained(name, shape), states(shape[0] * shape[1], embedding), at.place)
        };
        Self {
            at,
            table: matrix("table", [97, 93], true),
            weight: matrix("weight", [70, 129], false),
            bias: Parameter::trained(at.trained("bias", [37]), states(37, false), at.place),
            magnitude: Parameter::trained_alone(at.trained("magnitude", [130]), states(130, false), true, at.place),
        }
    }

    fn all(&mut self) -> Vec<ParameterMut<'_>> {
        let matrices = [&mut self.table, &mut self.weight].map(ParameterMut::Matrix);
        let vectors = [&mut self.bias, &mut self.magnitude].map(ParameterMut::Vector);
        matrices.into_iter().chain(vectors).collect()
    }

    /// Fills all gradients with those of this step, and writes `last` over the last element of one.
    fn fill_gradients(&mut self, step: i32, last: Option<(usize, f32)>) {
        for (index, parameter) in self.all().into_iter().enumerate() {
            let mut random = Random::new(7, &format!("gradient {index} of step {step}"));
            let count = parameter.shape().iter().product();
            let mut values: Vec<f32> = (0..count).map(|_| random.uniform(32.0).round() / 32.0 * LOSS_SCALE).collect();
            if let (Some((of, last)), Some(value)) = (last, values.last_mut())
                && of == index
            {
                *value = last;
            }
            match parameter {
                ParameterMut::Vector(parameter) => parameter.add_grad(|grad| storage::write(grad, &values)),
                ParameterMut::Matrix(parameter) => parameter.add_grad(|grad| storage::write(grad, &values)),
            }
        }
    }

    /// One step of all; the gradients' norm.
    fn step(&mut self, step: i32, clip: f32) -> Result<f32, DeviceFailed> {
        let place = self.at.place;
        let parameters = self.all();
        #[cfg(feature = "cuda")]
        if place != crate::kernels::place::Place::Cpu && parameters.iter().any(|one| one.on_card().is_none()) {
            return Err(DeviceFailed("a parameter on a card is not stepped in one launch with the others".to_owned()));
        }
        step::step(place, parameters, adamw(step), clip)
    }

    /// What a step leaves of all of them, as `tensors` has it.
    fn tensors(&mut self, codes: bool) -> Outputs {
        let at = self.at;
        let of_each = self.all().into_iter().map(|parameter| match parameter {
            ParameterMut::Vector(parameter) => tensors(parameter, at, codes),
            ParameterMut::Matrix(parameter) => tensors(parameter, at, codes),
        });
        Ok(of_each.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

/// Value, gradient, how far the working copy is from the value as its type keeps it, and moments: of those in 8 bits the largest magnitudes,
/// and where they are wanted the codes.
fn tensors<const D: usize>(parameter: &Parameter<D>, at: &Inputs, codes: bool) -> Outputs {
    let Some(training) = &parameter.training else { return Ok(Vec::new()) };
    let value = fetch(parameter.value.get())?;
    let kept = Rounding { active: at.place.active(), tf32: false };
    let off = match &parameter.copy {
        Some(copy) => fetch(copy.get())?.iter().zip(&value).map(|(copy, &value)| copy - kept.kept(value)).collect(),
        None => vec![0.0; value.len()],
    };
    let mut all = vec![fetch(training.grad.get())?, off, value];
    match &training.moments {
        Moments::None => {}
        Moments::Full(first, second) => all.extend([fetch(first.get())?, fetch(second.get())?]),
        Moments::EightBit(first, second) => {
            for (of_moment, largest) in [first.get(), second.get()] {
                all.push(fetch(largest)?);
                if codes {
                    all.push(read_bytes(of_moment, |bytes| bytes.iter().map(|&code| f32::from(code)).collect())?);
                }
            }
        }
    }
    Ok(all)
}

/// Two steps, with gradients clipped to the norm `clip` (0: not): both norms, and what is left then. Of moments in 8 bits the codes of the
/// first step are the same everywhere; the second step's may differ where two are equally near, so they are not compared.
fn two_steps(at: &Inputs, optimizer: OptimizerKind, clip: f32) -> Outputs {
    let mut parameters = Parameters::new(at, optimizer);
    let mut outputs = Vec::new();
    for step in [1, 2] {
        parameters.fill_gradients(step, None);
        outputs.push(vec![parameters.step(step, clip)?]);
    }
    outputs.extend(parameters.tensors(false)?);
    Ok(outputs)
}

/// A step, three whose gradients are no numbers and change nothing, and the second step at last. What changes in those between is told as such, so
/// that nothing may.
fn overflow(at: &Inputs, optimizer: OptimizerKind) -> Outputs {
    let mut parameters = Parameters::new(at, optimizer);
    parameters.fill_gradients(1, None);
    let mut outputs = vec![vec![parameters.step(1, 0.0)?]];
    for (of, last, clip) in [(3, f32::INFINITY, 0.0), (1, f32::NEG_INFINITY, 1.0), (0, f32::NAN, 1.0)] {
        let before = parameters.tensors(true)?;
        parameters.fill_gradients(2, Some((of, last)));
        outputs.push(vec![f32::from(u8::from(parameters.step(2, clip)?.is_finite()))]);
        let changes = parameters.tensors(true)?.into_iter().zip(before);
        outputs.extend(changes.map(|(after, before)| after.iter().zip(before).map(|(a, b)| a - b).collect()));
    }
    parameters.fill_gradients(2, None);
    outputs.push(vec![parameters.step(2, 0.0)?]);
    outputs.extend(parameters.tensors(false)?);
    Ok(outputs)
}

pub(super) const CHECKS: &[Check] = &[
    ("adamw of several tensors", 3e-6, 3e-6, |at| two_steps(at, OptimizerKind::Adamw, 0.0)),
    ("adamw of several tensors, clipped", 3e-6, 3e-6, |at| two_steps(at, OptimizerKind::Adamw, 1.0)),
    ("adamw of several tensors, overflow", 3e-6, 3e-6, |at| overflow(at, OptimizerKind::Adamw)),
    ("adamw_8bit of several tensors", 3e-6, 3e-6, |at| two_steps(at, OptimizerKind::Adamw8bit, 0.0)),
    ("adamw_8bit of several tensors, clipped", 3e-6, 3e-6, |at| two_steps(at, OptimizerKind::Adamw8bit, 1.0)),
    ("adamw_8bit of several tensors, overflow", 3e-6, 3e-6, |at| overflow(at, OptimizerKind::Adamw8bit)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::place::Place;

    const PLAIN: Inputs = Inputs { place: Place::Cpu, by_hand: Rounding::NONE };

    #[test]
    fn the_norm_of_gradients_is_the_same_in_whatever_order() {
        let mut parameters = Parameters::new(&PLAIN, OptimizerKind::Adamw);
        for step in [1, 2] {
            parameters.fill_gradients(step, None);
            let gradients = parameters.tensors(false).unwrap().into_iter().step_by(5).flatten();
            let whole: f64 = gradients.map(|value| (f64::from(value) / 32.0).powi(2)).sum();
            assert!(whole.fract() == 0.0 && whole < 2_f64.powi(24), "{whole}");
            assert_eq!(parameters.step(step, 1.0).unwrap(), (whole.sqrt() as f32) / 32.0);
        }
    }

    #[test]
    fn a_step_changes_all_but_where_gradients_are_no_numbers() {
        for optimizer in [OptimizerKind::Adamw, OptimizerKind::Adamw8bit] {
            let begin = Parameters::new(&PLAIN, optimizer).tensors(false).unwrap();
            let [plain, clipped, late] =
                [two_steps(&PLAIN, optimizer, 0.0), two_steps(&PLAIN, optimizer, 1.0), overflow(&PLAIN, optimizer)]
                    .map(Result::unwrap);
            for (index, begin) in begin.iter().enumerate() {
                // Gradients are zero again and copies are not off; value and moments are others.
                let stays = index % 5 < 2;
                assert_eq!(*begin == plain[2 + index], stays, "{optimizer} {index}");
                assert_eq!(plain[2 + index] == clipped[2 + index], stays, "{optimizer} {index}");
            }
            // The step that overflowed thrice is in the end the one that it would have been.
            assert!(late.ends_with(&plain[2..]), "{optimizer}");
            let changes = &late[1..late.len() - begin.len() - 1];
            assert!(changes.iter().flatten().all(|&change| change == 0.0), "{optimizer}");
        }
    }
}
