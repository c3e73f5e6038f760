//! Keys and values of the tokens that were seen, so that a further token costs one token's work.
//!
//! They lie in host memory: a new token's queries are compared with them there, on any device. A prompt from its start goes
//! through the device's own attention.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::Model;
use super::block::Positions;
use crate::kernels::place::{Place, fetch};
use crate::kernels::{self, DeviceFailed, Heads, storage};

/// What a model remembers of a sequence.
#[derive(Debug)]
pub struct Cache {
    ids: Vec<u32>,
    blocks: Vec<Remembered>,
}

/// One block's keys and values, token after token, after rotation.
#[derive(Debug, Default)]
struct Remembered {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    /// An empty one for `model`.
    pub fn new(model: &Model) -> Self {
        Self { ids: Vec::new(), blocks: model.blocks.iter().map(|_| Remembered::default()).collect() }
    }

    /// The tokens that are remembered.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Forgets all but the first `tokens`; all of them, where fewer are rotated otherwise.
    pub fn truncate(&mut self, model: &Model, tokens: usize) {
        let tokens = if model.rotary.changes(self.ids.len(), tokens) { 0 } else { tokens };
        let width = model.heads.kv_heads * model.heads.head_dim;
        self.ids.truncate(tokens);
        for block in &mut self.blocks {
            block.keys.truncate(tokens * width);
            block.values.truncate(tokens * width);
        }
    }

    /// Adds tokens and gives the normed output of the last one, `[1, hidden]`. There must be at least one, and positions for all.
    /// Where that makes the sequence one that is rotated otherwise, all of it is computed again, as transformers does.
    ///
    /// # Errors
    /// The device failed; what was remembered is of no use then.
    pub fn extend(&mut self, model: &Model, ids: &[u32]) -> Result<Tensor<2>, DeviceFailed> {
        let start = self.ids.len();
        if start > 0 && model.rotary.changes(start, start + ids.len()) {
            let all = [&self.ids, ids].concat();
            self.truncate(model, 0);
            return self.extend(model, &all);
        }
        let place = model.place;
        let rotary = model.rotary.table(start + ids.len()).rows(start, ids.len(), place);
        let at = Positions { rotary: &rotary, heads: Heads { context: ids.len(), ..model.heads }, starts: None };
        let numbers: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let mut x = kernels::embed(model.embedding.used(), &place.integers(&numbers));
        for (block, remembered) in model.blocks.iter().zip(&mut self.blocks) {
            let heads = block.heads(at);
            let mut failed = None;
            x = block.forward_with(&x, at, |q, k, v| {
                remembered.attend([&q, &k, &v], start, heads, place).unwrap_or_else(|error| {
                    failed = Some(error);
                    q
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        self.ids.extend_from_slice(ids);
        let [tokens, width] = x.dims();
        let last = &fetch(&x)?[(tokens - 1) * width..];
        Ok(model.norm.forward(&place.frozen(storage::write(storage::zeros_tensor([1, width]), last))))
    }
}

impl Remembered {
    /// Remembers keys and values of the tokens from `start` on, and computes their attention.
    fn attend(
        &mut self,
        [q, k, v]: [&Tensor<2>; 3],
        start: usize,
        heads: Heads,
        place: Place,
    ) -> Result<Tensor<2>, DeviceFailed> {
        self.keys.extend(fetch(k)?);
        self.values.extend(fetch(v)?);
        Ok(match start {
            0 => kernels::attention(q, k, v, None, heads).0,
            _ => place.frozen(self.attention(q, start, heads)?),
        })
    }

    /// Attention of the tokens from `start` on, whose own keys and values are there already; on the CPU, wherever their queries are.
    fn attention(&self, q: &Tensor<2>, start: usize, heads: Heads) -> Result<Tensor<2>, DeviceFailed> {
        let Heads { heads: count, kv_heads, head_dim, window, .. } = heads;
        let width = kv_heads * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut out = fetch(q)?;
        out.par_chunks_mut(head_dim).enumerate().for_each(|(index, query)| {
            let (position, head) = (start + index / count, index % count);
            let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
            let at = head / (count / kv_heads) * head_dim;
            let tokens = first..=position;
            let mut scores: Vec<f32> = tokens
                .clone()
                .map(|token| {
                    let key = &self.keys[token * width + at..][..head_dim];
                    scale * key.iter().zip(query.iter()).map(|(k, q)| k * q).sum::<f32>()
                })
                .collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let inverse = 1.0 / scores.iter().sum::<f32>();
            query.fill(0.0);
            for (token, score) in tokens.zip(scores) {
                let value = &self.values[token * width + at..][..head_dim];
                for (to, v) in query.iter_mut().zip(value) {
                    *to += score * inverse * v;
                }
            }
        });
        Ok(storage::write(storage::zeros_tensor(q.dims()), &out))
    }
}
