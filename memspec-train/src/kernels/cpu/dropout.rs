//! Dropout by a counter: which elements are left out is computed wherever it is needed, and is the same on every device.

use rayon::prelude::*;

use super::{GRAIN, elements, elements_mut};
use crate::kernels::Mask;
use crate::kernels::storage::{F32, unfilled};

/// Counters that are computed at a time: as many as the compiler keeps in vector registers.
const LANES: usize = 8;

/// Elements that they decide on, of which [`GRAIN`] is a multiple.
const STRETCH: usize = 4 * LANES;

/// Philox4x32-10 (Salmon et al., 2011) of the counters from `first` on: four words, each for all of them.
#[inline(always)]
fn philox(first: u64, mask: Mask) -> [[u32; LANES]; 4] {
    let counters: [u64; LANES] = std::array::from_fn(|lane| first + lane as u64);
    let draw = [mask.draw as u32, (mask.draw >> 32) as u32].map(|word| [word; LANES]);
    let mut words =
        [counters.map(|counter| counter as u32), counters.map(|counter| (counter >> 32) as u32), draw[0], draw[1]];
    let mut key = [mask.stream as u32, (mask.stream >> 32) as u32];
    for _ in 0..10 {
        for lane in 0..LANES {
            let [a, b, c, d] = words.map(|word| word[lane]);
            let (a, c) = (0xd251_1f53 * u64::from(a), 0xcd9e_8d57 * u64::from(c));
            let next = [(c >> 32) as u32 ^ b ^ key[0], c as u32, (a >> 32) as u32 ^ d ^ key[1], a as u32];
            (0..4).for_each(|word| words[word][lane] = next[word]);
        }
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    words
}

/// What the elements from number `first` on, a multiple of [`STRETCH`], are multiplied with: 0 where they are dropped.
#[inline(always)]
fn factors(first: usize, mask: Mask) -> [f32; STRETCH] {
    let (threshold, scale) = (mask.threshold(), mask.scale());
    let words = philox(first as u64 / 4, mask);
    std::array::from_fn(|at| if u64::from(words[at % 4][at / 4]) < threshold { 0.0 } else { scale })
}

pub(super) fn dropout(x: &F32, mask: Mask) -> F32 {
    let mut out = unfilled(x.layout().shape().clone());
    each(&mut out, x, mask, |out, x, factor| *out = x * factor);
    out
}

pub(super) fn add_dropout(mut x: F32, y: &F32, mask: Mask) -> F32 {
    each(&mut x, y, mask, |x, y, factor| *x += y * factor);
    x
}

/// Calls `write` with each element of `out`, that of `x`, and what the mask multiplies it with.
fn each(out: &mut F32, x: &F32, mask: Mask, write: impl Fn(&mut f32, f32, f32) + Sync) {
    let parts = elements_mut(out).par_chunks_mut(GRAIN).zip(elements(x).par_chunks(GRAIN));
    parts.enumerate().for_each(|(part, (out, x))| {
        super::simd::run(
            #[inline(always)]
            || {
                for (index, (out, x)) in out.chunks_mut(STRETCH).zip(x.chunks(STRETCH)).enumerate() {
                    let factors = factors(part * GRAIN + index * STRETCH, mask);
                    for ((out, &x), factor) in out.iter_mut().zip(x).zip(factors) {
                        write(out, x, factor);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_philox() {
        // Of Random123's own list of known answers.
        let mask = Mask { share: 0.5, stream: 0, draw: 0 };
        assert_eq!(philox(0, mask).map(|word| word[0]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let mask = Mask { stream: 0x299f_31d0_a409_3822, draw: 0x0370_7344_1319_8a2e, ..mask };
        let words = philox(0x85a3_08d3_243f_6a88, mask).map(|word| word[0]);
        assert_eq!(words, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn as_many_are_dropped_as_was_asked_and_the_mean_stays() {
        let ones = |count: usize| {
            let mut tensor = unfilled([count]);
            elements_mut(&mut tensor).fill(1.0);
            tensor
        };
        let count = 100_003;
        for share in [0.05, 0.5, 0.9] {
            let mask = Mask { share, stream: 11, draw: 3 };
            let kept = elements(&dropout(&ones(count), mask)).to_vec();
            let dropped = kept.iter().filter(|&&value| value == 0.0).count() as f32 / count as f32;
            // Four standard deviations.
            let spread = 4.0 * (share * (1.0 - share) / count as f32).sqrt();
            assert!((dropped - share).abs() < spread, "{share}: {dropped}");
            let mean = kept.iter().sum::<f32>() / count as f32;
            assert!((mean - 1.0).abs() < spread / (1.0 - share) + 1e-4, "{share}: {mean}");
            // A longer tensor begins alike; another time, and another module, are independent.
            assert_eq!(elements(&dropout(&ones(37), mask)), &kept[..37]);
            let both = |other: Mask| {
                let other = elements(&dropout(&ones(count), other)).to_vec();
                kept.iter().zip(other).filter(|(a, b)| **a == 0.0 && *b == 0.0).count() as f32 / count as f32
            };
            for other in [Mask { draw: 4, ..mask }, Mask { stream: 12, ..mask }] {
                assert!((both(other) - share * share).abs() < spread, "{share}: {}", both(other));
            }
            let added = elements(&add_dropout(ones(count), &ones(count), mask)).to_vec();
            assert!(added.iter().zip(&kept).all(|(added, kept)| *added == 1.0 + kept));
        }
        let none = dropout(&ones(100), Mask { share: 1.0, stream: 1, draw: 1 });
        assert!(elements(&none).iter().all(|&value| value == 0.0));
    }
}
