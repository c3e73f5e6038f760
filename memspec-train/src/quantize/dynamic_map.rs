//! bitsandbytes' dynamic 8-bit maps: 256 numbers of -1 to 1 or of 0 to 1, denser towards zero (Dettmers et al., 2022, "8-bit Optimizers via
//! Block-wise Quantization"); what its 8-bit optimizers and double quantization use.

use std::sync::LazyLock;

/// The signed map, ascending: seven decades, the highest with 64 values a sign, each lower one with half of that; 0 and 1.
///
/// The same as bitsandbytes' `create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8)`.
pub static SIGNED: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let mut map = [0.0; 256];
    let mut at = 0;
    for decade in 0..7 {
        let steps = 1_usize << decade;
        let power = 10_f64.powi(decade - 6) as f32;
        for step in 0..steps {
            let mean = (boundary(step, steps) + boundary(step + 1, steps)) / 2.0;
            map[at] = power * mean;
            map[at + 1] = -(power * mean);
            at += 2;
        }
    }
    // of 254 values so far; the 255th stays zero
    map[255] = 1.0;
    map.sort_by(f32::total_cmp);
    map
});

/// The map without signs, ascending: seven decades, the highest with 128 values, each lower one with half of that; 0 and 1.
///
/// The same as bitsandbytes' `create_dynamic_map(signed=False, max_exponent_bits=7, total_bits=8)`.
pub static UNSIGNED: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let mut map = [0.0; 256];
    let mut at = 0;
    for decade in 0..7 {
        let steps = 2_usize << decade;
        let power = 10_f64.powi(decade - 6) as f32;
        for step in 0..steps {
            map[at] = power * ((boundary(step, steps) + boundary(step + 1, steps)) / 2.0);
            at += 1;
        }
    }
    // of 254 values so far; the 255th stays zero
    map[255] = 1.0;
    map.sort_by(f32::total_cmp);
    map
});

/// `torch.linspace(0.1, 1, steps + 1)[i]`: from the nearer end, in f32.
fn boundary(i: usize, steps: usize) -> f32 {
    let step = (1.0_f32 - 0.1) / steps as f32;
    match i < steps.div_ceil(2) {
        true => step.mul_add(i as f32, 0.1),
        false => (-step).mul_add((steps - i) as f32, 1.0),
    }
}

/// The code of the map's value nearest to `value`; the lower of two that are equally near.
///
/// As bitsandbytes' CUDA and default backends: by the midpoints. Its native CPU library looks up one of 65536 steps instead,
/// and is one code off where a midpoint falls inside a step.
pub fn nearest(map: &[f32; 256], value: f32) -> u8 {
    let (mut code, mut above) = (0, 255);
    while code < above {
        let middle = (code + above) / 2;
        match (map[middle] + map[middle + 1]) / 2.0 < value {
            true => code = middle + 1,
            false => above = middle,
        }
    }
    code as u8
}
