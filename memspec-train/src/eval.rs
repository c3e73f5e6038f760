//! Loss and perplexity of a model on a data set.

use memspec::setup::Setup;
use serde::Serialize;

use crate::data::Dataset;
use crate::kernels::DeviceFailed;
use crate::network::Model;
use crate::prepare::batch;
use crate::step::evaluate;

/// What a model makes of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross entropy over the scored tokens, in nats.
    pub loss: f64,
    /// The exponential of the loss: among how many equally likely tokens the model hesitates.
    pub perplexity: f64,
    /// Tokens whose prediction was scored.
    pub scored_tokens: u64,
    /// Samples.
    pub samples: u64,
}

/// How a data set is gone through.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Samples that are computed together.
    pub micro_batch: usize,
    /// Tokens whose logits exist at a time.
    pub loss_rows: usize,
    /// The token that fills short samples; never scored.
    pub pad: u32,
}

/// Scores every sample once, in the file's order. `progress` is called after each batch with the samples done.
///
/// # Errors
/// The device failed.
pub fn score(
    setup: &Setup,
    model: &Model,
    dataset: &Dataset,
    pass: Pass,
    progress: &mut dyn FnMut(u64),
) -> Result<Evaluation, DeviceFailed> {
    let rows: Vec<Vec<usize>> = (0..dataset.len()).map(|index| vec![index]).collect();
    let (mut sum, mut scored, mut done) = (0.0, 0, 0);
    for samples in rows.chunks(pass.micro_batch.max(1)) {
        let (batch, _) = batch(setup, dataset, samples, pass.pad);
        scored += batch.scored() as u64;
        sum += f64::from(evaluate(model, &batch, pass.loss_rows)?);
        done += samples.len() as u64;
        progress(done);
    }
    let loss = sum / scored.max(1) as f64;
    Ok(Evaluation { loss, perplexity: loss.exp(), scored_tokens: scored, samples: done })
}
