//! Tables of the rotary position embedding.

use std::f64::consts::PI;

use burn::tensor::Tensor;
use memspec::model::{Rope, RopeScaling};

use crate::kernels::storage;

/// Cosines and sines for positions `0..context`, each `[context, head_dim / 2]`, in f32.
/// `None` for a scaling that is not known.
pub(super) fn tables(rope: &Rope, head_dim: usize, context: usize) -> Option<(Tensor<2>, Tensor<2>)> {
    let half = head_dim / 2;
    let frequencies: Vec<f64> = (0..half)
        .map(|index| scaled(1.0 / rope.theta.powf(2.0 * index as f64 / head_dim as f64), &rope.scaling))
        .collect::<Option<_>>()?;
    let table = |of: fn(f32) -> f32| {
        let filled = storage::f32_tensor([context, half], |out| {
            for (position, row) in out.chunks_exact_mut(half).enumerate() {
                for (value, frequency) in row.iter_mut().zip(&frequencies) {
                    // f32 as transformers computes it.
                    *value = of(position as f32 * *frequency as f32);
                }
            }
            Ok::<(), std::convert::Infallible>(())
        });
        match filled {
            Ok(table) => table,
            Err(never) => match never {},
        }
    };
    Some((table(f32::cos), table(f32::sin)))
}

/// A frequency after scaling (transformers' `modeling_rope_utils.py`).
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
