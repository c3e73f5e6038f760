//! What a run tells of its steps.

use serde::Serialize;

/// What a run tells whoever watches it.
#[derive(Clone, Debug)]
pub enum Event {
    /// Loading: blocks done, of how many.
    Loading {
        /// Blocks that are on the device.
        done: u64,
        /// All blocks.
        blocks: u64,
    },
    /// Training begins or goes on at `step`.
    Started {
        /// Steps that an earlier run did.
        step: u64,
        /// All steps.
        steps: u64,
    },
    /// A step was done.
    Step(StepMetrics),
    /// An evaluation was done.
    Evaluated {
        /// Steps done.
        step: u64,
        /// The mean loss.
        loss: f32,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps done.
        step: u64,
    },
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepMetrics {
    /// The step, from 1.
    pub step: u64,
    /// Mean loss over the step's scored tokens.
    pub loss: f32,
    /// The learning rate that was applied.
    pub learning_rate: f64,
    /// The gradient's global norm before clipping; JSON has `null` where it overflowed.
    pub grad_norm: f32,
    /// How the loss was scaled, in fp16.
    #[serde(flatten)]
    pub scaled: Option<Scaled>,
    /// Trained tokens, padding not counted.
    pub tokens: u64,
    /// Tokens a second of this step.
    pub tokens_per_second: f64,
    /// The most tensor bytes in any phase so far.
    pub measured_bytes: u64,
    /// What was promised for that.
    pub promised_bytes: u64,
}

/// How the loss of a step was scaled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scaled {
    /// What it was multiplied with.
    pub loss_scale: f32,
    /// Gradients overflowed, so that nothing was changed.
    pub skipped: bool,
}
