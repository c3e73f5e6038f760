//! Codecs of quantized weights: plain bytes in, `f32` out, and back. Streaming, so that no weight is ever whole in `f32`.

pub mod dynamic_map;
pub mod int8;
pub mod nf4;

/// A weight that is no finite number, met while quantizing: a scale made of it would spoil its whole block.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "element {element} is {value}, which cannot be quantized; the checkpoint is damaged or was saved after a diverged run"
)]
pub struct NotFinite {
    /// Index of the element in the row-major weight.
    pub element: usize,
    /// Its value.
    pub value: f32,
}

/// The largest magnitude, or the first value that is not finite (`first` is the index of `values[0]`).
fn largest(values: &[f32], first: usize) -> Result<f32, NotFinite> {
    // lanes, so that the compiler can use vectors: a maximum must otherwise keep its order
    let (chunks, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    let mut bad = false;
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let size = value.abs();
            bad |= !size.is_finite();
            *lane = if size > *lane { size } else { *lane };
        }
    }
    let mut most = lanes.into_iter().fold(0.0, f32::max);
    for value in rest {
        bad |= !value.is_finite();
        most = most.max(value.abs());
    }
    if bad && let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(NotFinite { element: first + at, value: values[at] });
    }
    Ok(most)
}

#[cfg(test)]
mod tests;
