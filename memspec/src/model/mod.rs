//! What a model is made of: [`Architecture`], and the places it can come from.
//!
//! - [`config`]: a Hugging Face `config.json`;
//! - [`gguf`]: the header of a GGUF file;
//! - [`catalog`]: models that memspec knows by name, without any file;
//! - [`find`]: whichever of these a plan's `model` setting means.

mod architecture;
pub mod catalog;
mod check;
pub mod config;
mod error;
mod find;
pub mod gguf;
mod linears;
mod nearest;
mod norms;
mod targets;
mod vision;
mod vision_linears;

pub use architecture::{
    Activation, Architecture, Dtype, Experts, Family, LinearAttention, Norm, PublishedQuantization, Rope, RopeScaling,
    SlidingLayers,
};
pub use check::Nonsense;
pub use error::ModelError;
pub use find::{Environment, Found, From, Measure, ThisCard, find};
pub use linears::Linear;
pub(crate) use nearest::nearest;
pub use norms::{NormModule, StreamNorms};
pub use targets::UnknownTarget;
pub use vision::{Resize, Vision, VisionKind};
