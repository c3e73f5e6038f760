//! DDP: a reducer's buckets beside the gradients (`torch/csrc/distributed/c10d/reducer.cpp`; `gradient_as_bucket_view` is off).

use std::cell::RefCell;

use super::super::super::super::Part;
use super::super::super::super::expand::Blocks;
use super::super::super::super::torch::{Tape, Tensor};
use super::super::weights::Model;
use crate::model::Dtype;

/// Gradients on their way to other ranks.
const BUCKETS: Part = Part { what: "gradient buckets", setting: "parallel" };
/// Parameters on their way to other ranks.
const BROADCAST: Part = Part { what: "broadcast parameters", setting: "parallel" };
/// Bytes that close the first bucket (`kDefaultFirstBucketBytes`, `reducer.hpp`).
const FIRST_BUCKET: u64 = 1 << 20;
/// Bytes that close any other (`bucket_cap_mb`, `distributed.py`).
const BUCKET: u64 = 25 << 20;
/// Bytes that close a bucket of broadcast parameters (`broadcast_bucket_size`, `distributed.py`).
const BROADCAST_BUCKET: u64 = 250 << 20;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Reducer {
    buckets: RefCell<Vec<Tensor>>,
    /// Elements and type of each in the order that gradients arrive; `None`: already so.
    rebuilt: RefCell<Option<Vec<(u64, Dtype)>>>,
}

impl Reducer {
    pub(super) fn new(tape: &mut Tape<'_>, model: &Model, all: Blocks) -> Self {
        tape.at(None);
        broadcast(tape, model, all);
        let sizes = sizes(tape, model, all);
        let first = assign(sizes.iter().copied());
        let rebuilt = assign(sizes.iter().rev().copied());
        // The assignment's result is reversed: the last bucket is ready first.
        let buckets = first.iter().rev().map(|bucket| tape.new_as(BUCKETS, bucket.0, bucket.1)).collect();
        Self { buckets: RefCell::new(buckets), rebuilt: RefCell::new(Some(rebuilt)) }
    }

    /// After the first backward pass the buckets are made anew, in the order that gradients became ready (`Reducer::rebuild_buckets`).
    pub(super) fn rebuild(&self, tape: &mut Tape<'_>) {
        let Some(rebuilt) = self.rebuilt.borrow_mut().take() else { return };
        tape.at(None);
        self.buckets.borrow_mut().clear();
        *self.buckets.borrow_mut() = rebuilt.iter().map(|bucket| tape.new_as(BUCKETS, bucket.0, bucket.1)).collect();
    }
}

/// Elements and type of each trained parameter of `all` blocks, in the model's order.
pub(super) fn sizes(tape: &Tape<'_>, model: &Model, all: Blocks) -> Vec<(u64, Dtype)> {
    let mut sizes = Vec::new();
    for trained in model.trained.chunk_by(|a, b| a.block == b.block) {
        let times = trained[0].block.map_or(1, |block| model.stands_for_block(block, all));
        for _ in 0..times {
            sizes.extend(trained.iter().map(|trained| tape.leaf_type(trained.leaf)));
        }
    }
    sizes
}

/// `compute_bucket_assignment_by_size`: a bucket is closed once it holds the limit, and the next has the next limit.
fn assign(sizes: impl Iterator<Item = (u64, Dtype)>) -> Vec<(u64, Dtype)> {
    let (mut buckets, mut open, mut limit) = (Vec::new(), None, FIRST_BUCKET);
    for (elements, dtype) in sizes {
        let bucket = open.get_or_insert((0, dtype));
        bucket.0 += elements;
        if bucket.0 * dtype.bytes() >= limit {
            buckets.extend(open.take());
            limit = BUCKET;
        }
    }
    buckets.extend(open);
    buckets
}

/// The first rank's parameters go to the others in buckets by type, two at a time; a bucket of one tensor is no copy
/// (`torch/csrc/distributed/c10d/comm.cpp`, `broadcast_coalesced`; `flatten_dense_tensors`).
fn broadcast(tape: &mut Tape<'_>, model: &Model, all: Blocks) {
    let mut open: Vec<(Dtype, u64, u32)> = Vec::new();
    let mut closed: Vec<(Dtype, u64, u32)> = Vec::new();
    model.for_each_tensor(all, |elements, dtype| {
        let at = match open.iter().position(|bucket| bucket.0 == dtype) {
            Some(at) => at,
            None => {
                open.push((dtype, 0, 0));
                open.len() - 1
            }
        };
        open[at].1 += elements;
        open[at].2 += 1;
        if open[at].1 * dtype.bytes() >= BROADCAST_BUCKET {
            closed.push(open.remove(at));
        }
    });
    closed.extend(open);
    let mut flying: Vec<Option<Tensor>> = Vec::new();
    for (dtype, elements, tensors) in closed {
        if flying.len() == 2 {
            flying.remove(0);
        }
        flying.push((tensors > 1).then(|| tape.new_as(BROADCAST, elements, dtype)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bucket_closes_at_one_mebibyte_and_the_others_at_25() {
        let half = (131_072, Dtype::F32);
        assert_eq!(assign([half; 3].into_iter()), [(262_144, Dtype::F32), (131_072, Dtype::F32)]);
        let large = (5 << 20, Dtype::F32);
        assert_eq!(
            assign([large; 4].into_iter()),
            [(5 << 20, Dtype::F32), (10 << 20, Dtype::F32), (5 << 20, Dtype::F32)]
        );
    }
}
