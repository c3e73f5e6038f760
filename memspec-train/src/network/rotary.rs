//! Tables of the rotary position embedding.

use std::f64::consts::PI;

use burn::tensor::Tensor;
use memspec::model::{Rope, RopeScaling};

use crate::kernels::place::Place;
use crate::kernels::storage;

/// Cosines and sines, each `[positions, rotated / 2]`, where the first `rotated` elements of a head are rotated, in f32.
#[derive(Debug)]
pub struct Table {
    /// Cosines.
    pub cos: Tensor<2>,
    /// Sines.
    pub sin: Tensor<2>,
}

/// The tables of a model.
#[derive(Debug)]
pub struct Rotary {
    /// Of batches whose longest sample is not beyond [`Rotary::short`]; of all where there is no other.
    table: Table,
    /// LongRoPE's for longer samples, where a run has any: they are rotated by other frequencies from their first token on.
    long: Option<Long>,
}

#[derive(Debug)]
struct Long {
    /// Samples of more tokens are long.
    beyond: usize,
    table: Table,
}

impl Rotary {
    /// Tables for samples of up to `longest` tokens; `None` for a scaling that is not known.
    pub(super) fn new(rope: &Rope, head_dim: u64, longest: u64, place: Place) -> Option<Self> {
        let dimension = rope.rotated(head_dim) as usize;
        let (short, long, factor) = frequencies(rope, dimension)?;
        let mut positions = rope.tables(longest).into_iter();
        let first = positions.next()? as usize;
        let table = Table::new(&short, factor, first, place);
        let long = positions.next().map(|positions| {
            let table = Table::new(&long, factor, positions as usize, place);
            Long { beyond: first, table }
        });
        Some(Self { table, long })
    }

    /// The table for a batch whose longest sample has so many tokens.
    pub fn table(&self, longest: usize) -> &Table {
        match &self.long {
            Some(long) if longest > long.beyond => &long.table,
            _ => &self.table,
        }
    }

    /// Whether a sample of `before` tokens is rotated otherwise when it has `after`: keys that were rotated are of no use then.
    pub fn changes(&self, before: usize, after: usize) -> bool {
        self.long.as_ref().is_some_and(|long| (before > long.beyond) != (after > long.beyond))
    }
}

impl Table {
    fn new(frequencies: &[f64], factor: f64, positions: usize, place: Place) -> Self {
        let table = |of: fn(f32) -> f32| {
            let filled = storage::f32_tensor([positions, frequencies.len()], |out| {
                for (position, row) in out.chunks_exact_mut(frequencies.len().max(1)).enumerate() {
                    for (value, frequency) in row.iter_mut().zip(frequencies) {
                        // f32 as transformers computes it.
                        *value = of(position as f32 * *frequency as f32) * factor as f32;
                    }
                }
                Ok::<(), std::convert::Infallible>(())
            });
            match filled {
                Ok(table) => place.full(table),
                Err(never) => match never {},
            }
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// The rows of `tokens` positions from `first` on, as a table of their own.
    pub(super) fn rows(&self, first: usize, tokens: usize, place: Place) -> Self {
        let [cos, sin] = [&self.cos, &self.sin].map(|table| {
            let [_, half] = table.dims();
            let rows = storage::read(table, |values| values[first * half..(first + tokens) * half].to_vec());
            place.full(storage::write(storage::zeros_tensor([tokens, half]), &rows))
        });
        Self { cos, sin }
    }
}

/// The frequencies of short samples, those of long ones, and what cosines and sines are multiplied with
/// (transformers' `modeling_rope_utils.py`).
fn frequencies(rope: &Rope, dimension: usize) -> Option<(Vec<f64>, Vec<f64>, f64)> {
    let plain: Vec<f64> =
        (0..dimension / 2).map(|index| 1.0 / rope.theta.powf(2.0 * index as f64 / dimension as f64)).collect();
    let divided = |factors: &[f64]| plain.iter().zip(factors).map(|(frequency, factor)| frequency / factor).collect();
    Some(match &rope.scaling {
        RopeScaling::LongRope { short_factors, long_factors, attention_factor, .. } => {
            (divided(short_factors), divided(long_factors), *attention_factor)
        }
        scaling => (plain.iter().map(|frequency| scaled(*frequency, scaling)).collect::<Option<_>>()?, Vec::new(), 1.0),
    })
}

/// A frequency after a scaling that has a rule for all.
fn scaled(frequency: f64, scaling: &RopeScaling) -> Option<f64> {
    match *scaling {
        RopeScaling::None => Some(frequency),
        RopeScaling::Linear { factor } => Some(frequency / factor),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            let original = original_max_positions as f64;
            let wavelength = 2.0 * PI / frequency;
            if wavelength < original / high_freq_factor {
                Some(frequency)
            } else if wavelength > original / low_freq_factor {
                Some(frequency / factor)
            } else {
                let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                Some((1.0 - smooth) * frequency / factor + smooth * frequency)
            }
        }
        _ => None,
    }
}
