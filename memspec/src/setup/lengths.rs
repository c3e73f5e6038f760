//! How long the samples of a file are, in tokens: what steps, padding, time and money depend on.

use serde::{Deserialize, Serialize};

use super::{Data, Drawn};
use crate::plan::Padding;

/// Bins of the histogram that [`Lengths::of`] makes.
const BINS: u64 = 64;

/// The lengths of a file's samples, in tokens, as they are trained: cut at the context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Samples.
    pub samples: u64,
    /// Tokens of all of them.
    pub tokens: u64,
    /// Tokens of the longest, where the samples were seen.
    pub longest: Option<u64>,
    /// Samples that were longer than the context.
    pub truncated: u64,
    /// How many samples have which length, the short ones first; empty where only the mean is known.
    pub histogram: Vec<Bin>,
}

/// Samples of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// The longest that falls into it, in tokens; the shortest is one more than the bin before has here.
    pub to: u64,
    /// Samples in it.
    pub samples: u64,
}

/// The length that a micro batch is filled to, on average, and the least and most that this average can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Padded {
    /// The best guess.
    pub value: f64,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Lengths {
    /// Of samples of these lengths, before they are cut at `context`.
    pub fn of(lengths: impl IntoIterator<Item = u64>, context: u64) -> Self {
        let width = context.div_ceil(BINS).max(1);
        let mut histogram: Vec<Bin> = Vec::new();
        let mut all = Self { samples: 0, tokens: 0, longest: None, truncated: 0, histogram: Vec::new() };
        for length in lengths {
            let kept = length.min(context);
            all.samples += 1;
            all.tokens += kept;
            all.truncated += u64::from(length > context);
            all.longest = all.longest.max(Some(kept));
            let bin = usize::try_from(kept.saturating_sub(1) / width).unwrap_or(usize::MAX);
            while histogram.len() <= bin {
                histogram.push(Bin { to: ((histogram.len() as u64 + 1) * width).min(context), samples: 0 });
            }
            histogram[bin].samples += 1;
        }
        // the last bin ends where the samples do, so that no batch is expected to be longer than the longest
        if let (Some(last), Some(longest)) = (histogram.last_mut(), all.longest) {
            last.to = longest;
        }
        histogram.retain(|bin| bin.samples > 0);
        Self { histogram, ..all }
    }

    /// What a plan says: so many samples of this mean length.
    pub fn declared(samples: u64, mean: u64, context: u64) -> Self {
        let tokens = samples.saturating_mul(mean.min(context));
        Self { samples, tokens, longest: None, truncated: 0, histogram: Vec::new() }
    }

    /// The largest micro batch that a run can draw from these samples: as many of the longest as there are, or as many packed ones as
    /// all tokens fill; `None` where the samples were not seen.
    pub fn drawn(&self, data: &Data, micro_batch: u32) -> Option<Drawn> {
        let rows = u64::from(micro_batch);
        let (longest, largest) = if data.packing {
            let longest = data.context.min(self.tokens);
            let all = rows.saturating_mul(data.context) > self.tokens;
            (longest, if all { (1, self.tokens) } else { (rows, longest) })
        } else {
            let longest = if data.padding == Padding::Max { data.context } else { self.longest? };
            (longest, (rows.min(self.samples), longest))
        };
        Some(Drawn { samples: self.samples, tokens: self.tokens, longest, largest })
    }

    /// Every sample has this many tokens.
    pub fn all_have(&self, tokens: u64) -> bool {
        self.samples > 0 && self.tokens == self.samples.saturating_mul(tokens)
    }

    /// Tokens of a sample on average; 0 without samples.
    pub fn mean(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.tokens as f64 / self.samples as f64 }
    }

    /// The share of samples that were cut, 0 to 1.
    pub fn truncated_share(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.truncated as f64 / self.samples as f64 }
    }

    /// The mean length of the longest of `count` samples that are drawn at random, which is what padding fills up to.
    ///
    /// With a histogram it is the sum of each bin's end times the chance that the longest falls into it, F(to)^n less F(from)^n.
    /// With the mean alone it is the mean times 1 + 1/2 + .. + 1/n, as of an exponential distribution; it is never less than the
    /// mean, and never more than n times the mean or the context.
    pub fn longest_of(&self, count: u32, context: u64) -> Padded {
        let (mean, context) = (self.mean(), context as f64);
        if self.histogram.is_empty() {
            let harmonic: f64 = (1..=count.min(10_000)).map(|n| 1.0 / f64::from(n)).sum();
            let high = (mean * f64::from(count.max(1))).min(context);
            return Padded { value: (mean * harmonic.max(1.0)).min(context), low: mean, high };
        }
        let power = |below: u64| (below as f64 / self.samples as f64).powf(f64::from(count.max(1)));
        let (mut below, mut from, mut value, mut low) = (0, 0, 0.0, 0.0);
        for bin in &self.histogram {
            let chance = power(below + bin.samples) - power(below);
            value += chance * (from + bin.to) as f64 / 2.0;
            low += chance * from as f64;
            below += bin.samples;
            from = bin.to;
        }
        // a sample lies somewhere in its bin: half a bin is all that is unknown
        let value = value.max(mean);
        Padded { value, low: low.max(mean), high: (2.0 * value - low).min(context).max(value) }
    }
}

impl From<Drawn> for Lengths {
    /// What the trainer measured, without the histogram.
    fn from(drawn: Drawn) -> Self {
        Self {
            samples: drawn.samples,
            tokens: drawn.tokens,
            longest: Some(drawn.longest),
            truncated: 0,
            histogram: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_cut_at_the_context_and_counted() {
        let lengths = Lengths::of([10, 20, 3000, 40], 2048);
        assert_eq!((lengths.samples, lengths.tokens, lengths.truncated), (4, 2118, 1));
        assert_eq!(lengths.longest, Some(2048));
        assert_eq!(
            lengths.histogram,
            [Bin { to: 32, samples: 2 }, Bin { to: 64, samples: 1 }, Bin { to: 2048, samples: 1 }]
        );
        assert_eq!(lengths.truncated_share(), 0.25);
        assert_eq!(Lengths::of([], 2048).mean(), 0.0);
        let said = Lengths::declared(1000, 300, 2048).longest_of(4, 2048);
        assert_eq!((said.low, said.value.round(), said.high), (300.0, 625.0, 1200.0));
    }

    proptest! {
        #[test]
        fn padding_lies_between_the_mean_and_the_longest(lengths in prop::collection::vec(1u64..5000, 1..200), count in 1u32..64) {
            let context = 2048;
            let seen = Lengths::of(lengths.iter().copied(), context);
            prop_assert_eq!(seen.tokens, lengths.iter().map(|&length| length.min(context)).sum::<u64>());
            prop_assert_eq!(seen.histogram.iter().map(|bin| bin.samples).sum::<u64>(), seen.samples);
            for of in [seen.longest_of(count, context), Lengths::declared(9, 300, context).longest_of(count, context)] {
                prop_assert!(of.low <= of.value + 1e-9 && of.value <= of.high + 1e-9 && of.high <= context as f64, "{of:?}");
            }
            prop_assert!(seen.longest_of(count, context).low + 1e-9 >= seen.mean());
        }
    }
}
