//! Every operation at a place compared with the plain version on the CPU: one list, for the tests and for a machine with a card.
//!
//! Inputs are random and rounded to bf16, so that both sides begin with the same numbers; the CPU computes in f32. Where a check is of the
//! rounding itself, the CPU's side of it rounds as the place does (`Rounding`).

mod attention;
mod inputs;
mod loss;
mod low_rank;
mod matrix;
mod optimizer;
mod packed;
mod rows;
mod step;

use super::DeviceFailed;
use super::place::{Format, Place};
use inputs::{Check, Inputs, Rounding};

/// The operations.
const CHECKS: [&[Check]; 8] = [
    matrix::CHECKS,
    rows::CHECKS,
    low_rank::CHECKS,
    attention::CHECKS,
    loss::CHECKS,
    packed::CHECKS,
    optimizer::CHECKS,
    step::CHECKS,
];

/// What an operation gave at a place and on the CPU.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The operation.
    pub name: &'static str,
    /// The largest difference, as a share of the CPU's largest number.
    pub difference: f32,
    /// What it may be.
    pub tolerance: f32,
}

impl Compared {
    /// The difference is within its tolerance. One that is no number is not.
    pub fn holds(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// What a difference may be where activations are as they are at `place`, from what it may be in f32 and in bf16.
fn tolerance(place: Place, tf32: bool, in_f32: f32, in_bf16: f32) -> f32 {
    match place.active() {
        Format::F32 if !tf32 => in_f32,
        // Where gradients and weights are bf16 too, what is exact elsewhere is rounded once or twice.
        Format::Bf16 if place.trained() == Format::Bf16 => in_bf16.max(1e-2),
        Format::Bf16 => in_bf16,
        // Three bits more of each number, as TF32 has of what goes into a product; what bf16 rounds off is at least half of its tolerance.
        Format::F32 | Format::F16 => (in_bf16 / 4.0).max(in_f32),
    }
}

/// Runs all checks; `tf32` says that products round to it.
///
/// # Errors
/// An operation that failed, with its name.
pub fn all(place: Place, tf32: bool) -> Vec<Result<Compared, (&'static str, DeviceFailed)>> {
    let one = |&(name, in_f32, in_bf16, run): &Check| {
        let failed = |error| (name, error);
        let here = run(&Inputs { place, by_hand: Rounding::NONE }).map_err(failed)?;
        let by_hand = Rounding { active: place.active(), tf32 };
        let plain = run(&Inputs { place: Place::Cpu, by_hand }).map_err(failed)?;
        Ok(Compared { name, difference: difference(&here, &plain), tolerance: tolerance(place, tf32, in_f32, in_bf16) })
    };
    CHECKS.into_iter().flatten().map(one).collect()
}

/// The largest difference, as a share of the largest number of the same tensor.
fn difference(here: &[Vec<f32>], plain: &[Vec<f32>]) -> f32 {
    if here.len() != plain.len() {
        return f32::INFINITY;
    }
    here.iter().zip(plain).map(|(a, b)| apart(a, b)).fold(0.0, worse)
}

/// The larger; what is no number is larger than all.
fn worse(a: f32, b: f32) -> f32 {
    if b.is_nan() || a.is_nan() { f32::NAN } else { a.max(b) }
}

/// The same for one tensor. Numbers that are infinite have to be so on both sides.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let most = b.iter().filter(|value| value.is_finite()).fold(1e-12_f32, |most, value| most.max(value.abs()));
    let between = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
    a.iter().zip(b).map(between).fold(0.0, worse) / most
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor};

    use super::inputs::{on_cpu, random, starts};
    use super::*;
    use crate::kernels::place::fetch;
    use crate::kernels::{self, Heads, storage};

    /// Rows `[tokens, width]` of a matrix, which is read in the middle of a larger one.
    fn part(whole: &[f32], first: usize, tokens: usize, width: usize) -> Tensor<2> {
        on_cpu([tokens, width], &whole[first * width..(first + tokens) * width])
    }

    #[test]
    fn packed_samples_are_as_samples_alone() {
        let lengths = [5, 90, 1, 70];
        for window in [None, Some(7)] {
            let heads = Heads { context: 170, heads: 4, kv_heads: 2, head_dim: 16, window };
            let (width, kv) = (64, 32);
            let [q, g] = ["q", "g"].map(|name| random(name, 170 * width, 1.0));
            let [k, v] = ["k", "v"].map(|name| random(name, 170 * kv, 1.0));
            let table = |name| on_cpu([90, 8], &random(name, 90 * 8, 1.0));
            let (cos, sin) = (table("cos"), table("sin"));
            let run = |first, tokens, starts: Option<&Tensor<1, Int>>| {
                let heads = Heads { context: tokens, ..heads };
                let turn = |x, inverse| kernels::rotary(x, &cos, &sin, starts, heads, inverse);
                let q = turn(part(&q, first, tokens, width), false);
                let k = turn(part(&k, first, tokens, kv), false);
                let (v, g) = (part(&v, first, tokens, kv), part(&g, first, tokens, width));
                let (out, lse) = kernels::attention(&q, &k, &v, starts, heads);
                let (gq, gk, gv) = kernels::attention_backward(q, &k, &v, &out, &lse, &g, starts, heads);
                [out, lse, turn(gq, true), turn(gk, true), gv].map(|tensor| fetch(&tensor).unwrap())
            };
            let starts = storage::i32_tensor(&starts(&lengths, 170));
            let packed = run(0, 170, Some(&starts));
            let mut first = 0;
            for length in lengths {
                let alone = run(first, length, None);
                for ((packed, alone), width) in packed.iter().zip(&alone).zip([width, 4, width, kv, kv]) {
                    let difference = apart(&packed[first * width..(first + length) * width], alone);
                    assert!(difference < 2e-6, "{length} tokens, window {window:?}: {difference}");
                }
                first += length;
            }
        }
    }

    #[test]
    fn the_cpu_agrees_with_itself() {
        for compared in all(Place::Cpu, false) {
            let compared = compared.unwrap();
            assert!(compared.holds(), "{compared:?}");
        }
    }

    #[test]
    fn what_is_infinite_has_to_be_so_on_both_sides() {
        assert_eq!(apart(&[f32::INFINITY, 1.0], &[f32::INFINITY, 1.0]), 0.0);
        assert_eq!(apart(&[f32::INFINITY, 1.0], &[f32::INFINITY, 2.0]), 0.5);
        for (a, b) in [(65504.0, f32::INFINITY), (f32::INFINITY, 1e5), (f32::INFINITY, f32::NEG_INFINITY)] {
            assert_eq!(apart(&[a, 1.0], &[b, 1.0]), f32::INFINITY);
        }
        assert!(apart(&[f32::NAN], &[f32::INFINITY]).is_nan());
        assert_eq!(difference(&[vec![1.0]], &[vec![1.0], vec![1.0]]), f32::INFINITY);
    }

    #[test]
    fn rounding_is_that_of_the_types() {
        let to = |active, tf32| Rounding { active, tf32 };
        assert_eq!(to(Format::F16, false).kept(65519.996), 65504.0);
        assert_eq!(to(Format::F16, false).kept(-65520.0), f32::NEG_INFINITY);
        assert_eq!(to(Format::F32, true).kept(65520.0), 65520.0);
        for (number, rounded) in [(1.0 + 1.0 / 4096.0, 1.0), (1.0 + 3.0 / 4096.0, 1.0 + 1.0 / 1024.0), (-1.25, -1.25)] {
            assert_eq!(to(Format::F32, true).multiplied(number), rounded);
            assert_eq!(to(Format::F32, false).multiplied(number), number);
        }
    }

    #[test]
    fn products_that_do_not_round_as_the_place_says_are_seen() {
        let &(_, in_f32, in_bf16, run) = matrix::CHECKS.iter().find(|check| check.0 == matrix::ROUNDED).unwrap();
        let here = run(&Inputs { place: Place::Cpu, by_hand: Rounding::NONE }).unwrap();
        for (active, tf32) in [(Format::F32, true), (Format::F16, false), (Format::Bf16, false)] {
            let plain = run(&Inputs { place: Place::Cpu, by_hand: Rounding { active, tf32 } }).unwrap();
            let difference = difference(&here, &plain);
            assert_eq!(difference, 1.0 / 4096.0, "as f32 differs from {active:?}");
            assert!(difference > 100.0 * in_f32.max(in_bf16));
        }
    }

    #[test]
    fn what_has_no_room_in_f16_is_infinite() {
        let by_hand = Rounding { active: Format::F16, tf32: false };
        let infinite = |name: &str| {
            let check = CHECKS.into_iter().flatten().find(|check| check.0 == name).unwrap();
            let outputs = check.3(&Inputs { place: Place::Cpu, by_hand }).unwrap();
            let count = |values: Vec<f32>| values.iter().filter(|value| value.is_infinite()).count();
            outputs.into_iter().map(count).collect::<Vec<_>>()
        };
        assert_eq!(
            infinite("product that overflows f16"),
            [10, 0, 10],
            "two rows of three, and none where it is halved"
        );
        assert_eq!(infinite("numbers that overflow f16"), [22, 9], "two rows of three, and four of eight numbers");
    }
}
