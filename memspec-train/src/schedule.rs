//! How long a run is, and the learning rate of each step.

use memspec::plan::Schedule;
use memspec::setup::{Length, Train, Warmup};

/// Optimizer steps of a run; `batches` says how many micro batches so many epochs have.
pub fn total_steps(train: &Train, batches: impl FnOnce(f64) -> f64) -> u64 {
    match train.length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => {
            let steps = batches(epochs) / f64::from(train.accumulate);
            (steps.ceil() as u64).max(1)
        }
    }
}

/// The learning rate of `step` (from 0) of `total`: a linear rise over the warm-up, then the schedule down to zero.
pub fn learning_rate(train: &Train, step: u64, total: u64) -> f64 {
    let warmup = match train.warmup {
        Warmup::Share(share) => (share * total as f64).ceil() as u64,
        Warmup::Steps(steps) => steps,
    };
    if step < warmup {
        return train.learning_rate * (step + 1) as f64 / (warmup + 1) as f64;
    }
    let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    let factor = match train.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => 1.0 - progress,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    };
    train.learning_rate * factor.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memspec::plan::{Attention, DeviceMap, LossKind, OptimizerKind, Precision, Script, Upcast};

    fn train(schedule: Schedule, warmup: Warmup, length: Length) -> Train {
        Train {
            precision: Precision::F32,
            base_dtype: None,
            device_map: DeviceMap::None,
            script: Script::Sft,
            upcast: Upcast::None,
            micro_batch: 4,
            accumulate: 2,
            recomputed_blocks: 0,
            activation_offload: false,
            attention: Attention::Auto,
            loss: LossKind::Auto,
            liger: false,
            expandable_segments: false,
            tf32: false,
            use_cache: false,
            optimizer: OptimizerKind::Adamw,
            learning_rate: 1.0,
            schedule,
            warmup,
            weight_decay: 0.0,
            betas: (0.9, 0.999),
            clip: 1.0,
            length,
        }
    }

    #[test]
    fn epochs_become_whole_steps() {
        let epochs = |epochs| train(Schedule::Constant, Warmup::Steps(0), Length::Epochs(epochs));
        // batches of four, two of them a step
        let steps = |of, samples: usize| total_steps(&epochs(of), |epochs| epochs * samples.div_ceil(4) as f64);
        assert_eq!(steps(1.0, 16), 2);
        assert_eq!(steps(1.0, 17), 3);
        assert_eq!(steps(0.01, 17), 1);
    }

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let train = train(schedule, Warmup::Share(0.2), Length::Steps(10));
            let rates: Vec<f64> = (0..=10).map(|step| learning_rate(&train, step, 10)).collect();
            assert!(rates[0] > 0.0 && rates[0] < rates[1] && rates[1] < rates[2], "{rates:?}");
            assert_eq!(rates[2], 1.0);
            assert!(rates[2..].windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
            assert!(rates[10].abs() < 1e-12);
        }
    }
}
