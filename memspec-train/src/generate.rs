//! Words: the model's own, with and without the adapter.

use burn::tensor::Tensor;

use crate::kernels::place::fetch;
use crate::kernels::{self, DeviceFailed, Product, product};
use crate::network::Model;
use crate::network::cache::Cache;
use crate::random::Random;
use crate::step::{Batch, hidden};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// 0: always the likeliest token; 1: as likely as the model says.
    pub temperature: f32,
    /// Of the likeliest tokens only so many are drawn from that together are this likely; 1: from all. (Holtzman et al., 2019)
    pub top_p: f32,
    /// Seed for a temperature above 0.
    pub seed: u64,
}

/// Continues `prompt` until a token of `stop`, `max_tokens`, or the end of the rotary tables. `word` is called with each new token; false
/// ends the answer. What `cache` remembers of the prompt's beginning is not computed again.
///
/// # Errors
/// The device failed.
pub fn generate(
    model: &Model,
    cache: &mut Cache,
    prompt: &[u32],
    stop: &[u32],
    sampling: Sampling,
    mut word: impl FnMut(u32) -> bool,
) -> Result<Vec<u32>, DeviceFailed> {
    let mut random = Random::new(sampling.seed, "generate");
    // The last token is always computed: its output says what follows.
    let known = cache.ids().iter().zip(prompt).take_while(|(a, b)| a == b).count().min(prompt.len().saturating_sub(1));
    cache.truncate(model, known);
    let mut new = prompt[cache.ids().len()..].to_vec();
    let mut answer = Vec::new();
    while answer.len() < sampling.max_tokens && cache.ids().len() + new.len() < model.heads.context && !new.is_empty() {
        let logits = fetch(&logits(model, &cache.extend(model, &new)?))?;
        let next = choose(&logits, sampling, &mut random);
        if stop.contains(&next) {
            break;
        }
        answer.push(next);
        new = vec![next];
        if !word(next) {
            break;
        }
    }
    Ok(answer)
}

/// The logits of each token of one sample, `[T, vocabulary]`.
pub fn all_logits(model: &Model, ids: &[u32]) -> Tensor<2> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let (targets, context) = (vec![-1; ids.len()], ids.len());
    logits(model, &hidden(model, &Batch { ids, targets, context, packed: None }))
}

/// The logits of normed states, `[T, vocabulary]`.
pub fn logits(model: &Model, states: &Tensor<2>) -> Tensor<2> {
    let head = model.head();
    let [rows, _] = states.dims();
    product(kernels::buffer(states, rows, head.dims()[0]), states, head, Product::NT)
}

/// The likeliest token at a temperature of 0, else one drawn from the softmax of the scaled logits, less what `top_p` leaves out.
fn choose(logits: &[f32], sampling: Sampling, random: &mut Random) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Equal ones in order of their numbers, on every machine.
    let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if sampling.temperature <= 0.0 {
        return order.into_iter().min_by(likelier).unwrap_or(0) as u32;
    }
    order.sort_unstable_by(likelier);
    let largest = order.first().map_or(0.0, |&first| logits[first]);
    let weight = |index: &usize| f64::from((logits[*index] - largest) / sampling.temperature).exp();
    let mut weights: Vec<f64> = order.iter().map(weight).collect();
    let all: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let enough = |weight: &f64| {
        sum += weight;
        sum >= f64::from(sampling.top_p) * all
    };
    let kept = weights.iter().position(enough).map_or(weights.len(), |last| last + 1);
    weights.truncate(kept);
    let mut left = f64::from(random.unit()) * weights.iter().sum::<f64>();
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    order[drawn.unwrap_or(kept - 1)] as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(temperature: f32, top_p: f32) -> [usize; 4] {
        // probabilities 0.5, 0.3, 0.15 and 0.05
        let logits = [0.3_f32.ln(), 0.5_f32.ln(), 0.05_f32.ln(), 0.15_f32.ln()];
        let mut random = Random::new(3, "test");
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            let sampling = Sampling { max_tokens: 1, temperature, top_p, seed: 0 };
            counts[choose(&logits, sampling, &mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn tokens_are_drawn_as_likely_as_they_are() {
        for (count, expected) in drawn(1.0, 1.0).into_iter().zip([6_000_i64, 10_000, 1_000, 3_000]) {
            assert!((count as i64 - expected).abs() < 300, "{count} of {expected}");
        }
    }

    #[test]
    fn top_p_leaves_out_what_is_unlikely() {
        // 0.5 + 0.3 are enough for 0.7; drawn 5 to 3
        let counts = drawn(1.0, 0.7);
        assert_eq!([counts[2], counts[3]], [0, 0]);
        assert!((counts[1] as i64 - 12_500).abs() < 300, "{counts:?}");
        assert_eq!(drawn(1.0, 0.0)[1], 20_000);
        assert_eq!(drawn(0.0, 1.0)[1], 20_000);
    }
}
