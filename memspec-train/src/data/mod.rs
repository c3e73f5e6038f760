//! A data set on disk to tokens in memory: which tokens there are, and which of them the loss counts.

mod dataset;
mod error;
mod packing;
mod record;
mod sample;
mod sampler;

pub use dataset::{Batch, Dataset, Sample};
pub use error::{DataError, LineProblem};
pub use packing::Packing;
pub use record::Format;
pub use sampler::{Order, Position, Sampler};

/// Which tokens of a conversation the loss counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossOn {
    /// Every token.
    #[default]
    All,
    /// What the assistant says and the token that ends its turn.
    Assistant,
}

/// How far the rows of a batch are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Padding {
    /// To the batch's longest sample.
    #[default]
    Longest,
    /// To the plan's `context`, each batch.
    Max,
}

/// How to read a data set.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// What a line holds.
    pub format: Format,
    /// Which tokens the loss counts.
    pub loss_on: LossOn,
    /// The longest sample, in tokens; longer ones are cut there.
    pub context: usize,
    /// How conversations are written out. Without one, `chat` is an error and `instruction` is joined as it stands.
    pub template: Option<&'a crate::template::ChatTemplate>,
}

#[cfg(test)]
mod tests;
