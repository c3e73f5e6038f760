//! Words: the model's own, with and without the adapter.

use burn::tensor::Tensor;

use crate::kernels::{self, Product, product, storage};
use crate::network::Model;
use crate::random::Random;
use crate::step::{Batch, hidden};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// 0: always the likeliest token; 1: as likely as the model says.
    pub temperature: f32,
    /// Seed for a temperature above 0.
    pub seed: u64,
}

/// Continues `prompt` until a token of `stop`, `max_tokens`, or the end of the rotary tables. `word` is called with each new token.
pub fn generate(
    model: &Model,
    prompt: &[u32],
    stop: &[u32],
    sampling: Sampling,
    mut word: impl FnMut(u32) -> bool,
) -> Vec<u32> {
    let mut random = Random::new(sampling.seed, "generate");
    let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    let mut answer = Vec::new();
    while answer.len() < sampling.max_tokens && ids.len() < model.heads.context {
        let row = last_row(&states(model, &ids));
        let logits = storage::read(&logits(model, &row), <[f32]>::to_vec);
        let next = choose(&logits, sampling.temperature, &mut random);
        if stop.contains(&next) {
            break;
        }
        answer.push(next);
        ids.push(next as i32);
        if !word(next) {
            break;
        }
    }
    answer
}

/// The logits of each token of one sample, `[T, vocabulary]`.
pub fn all_logits(model: &Model, ids: &[u32]) -> Tensor<2> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    logits(model, &states(model, &ids))
}

fn states(model: &Model, ids: &[i32]) -> Tensor<2> {
    hidden(model, &Batch { ids: ids.to_vec(), targets: vec![-1; ids.len()], context: ids.len() })
}

fn last_row(states: &Tensor<2>) -> Tensor<2> {
    let [rows, width] = states.dims();
    let values = storage::read(states, |values| values[(rows - 1) * width..].to_vec());
    storage::write(storage::zeros_tensor([1, width]), &values)
}

/// The logits of normed states, `[T, vocabulary]`.
pub fn logits(model: &Model, states: &Tensor<2>) -> Tensor<2> {
    let head = model.head();
    let [rows, _] = states.dims();
    product(kernels::buffer(states, rows, head.dims()[0]), states, head, Product::NT)
}

fn choose(logits: &[f32], temperature: f32, random: &mut Random) -> u32 {
    let best = |values: &[f32]| {
        values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index as u32)
    };
    if temperature <= 0.0 {
        return best(logits);
    }
    // Gumbel noise on the scaled logits draws from their softmax.
    let noisy: Vec<f32> =
        logits.iter().map(|logit| logit / temperature - (-(random.unit().max(1e-20)).ln()).ln()).collect();
    best(&noisy)
}
