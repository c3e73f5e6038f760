//! Which samples make the next batch: in an order that is the same for the same seed, and resumable.

use std::sync::Arc;

use super::packing::{self, Packing};

/// Batches whose samples are sorted among themselves: transformers' `LengthGroupedSampler` takes as many.
const SORTED_BATCHES: usize = 50;

/// Epochs that are packed to count their batches before a run.
const COUNTED_EPOCHS: f64 = 1000.0;

/// How far a run has come through its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Micro batches done in this epoch.
    pub batch: u64,
}

/// In what order samples come.
#[derive(Debug, Clone)]
pub enum Order {
    /// Shuffled anew each epoch.
    Random,
    /// As in their file.
    Sequential,
    /// Shuffled anew each epoch, but for those of one batch, which are of like length: the tokens of each sample.
    ByLength(Arc<[u32]>),
}

/// Gives the rows of each micro batch, for ever. The last batch of an epoch may be smaller.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// The samples of this epoch, row after row.
    order: Vec<u32>,
    how: Order,
    rows: Rows,
    micro_batch: usize,
    seed: u64,
    position: Position,
}

/// How an epoch's samples lie in rows.
#[derive(Debug, Clone)]
enum Rows {
    /// One in each.
    Single,
    /// As many in each as fit.
    Packed {
        packing: Packing,
        /// One past each row's last sample in the epoch's order.
        ends: Vec<u32>,
    },
}

impl Sampler {
    /// From the beginning, a sample a row, or as many as fit. `samples` and `micro_batch` count as 1 at least.
    pub fn new(samples: usize, packing: Option<Packing>, how: Order, micro_batch: usize, seed: u64) -> Self {
        let rows = match packing {
            Some(packing) => Rows::Packed { packing, ends: Vec::new() },
            None => Rows::Single,
        };
        let order = (0..samples.max(1) as u32).collect();
        let micro_batch = micro_batch.max(1);
        let mut sampler = Self { order, how, rows, micro_batch, seed, position: Position::default() };
        sampler.arrange();
        sampler
    }

    /// Goes to where another sampler with the same beginning was; it goes on exactly as that one would have.
    pub fn resume(mut self, position: Position) -> Self {
        self.position = position;
        self.arrange();
        // a position at an epoch's end is the next one's beginning
        if self.position.batch >= self.batches_per_epoch() {
            self.next_epoch();
        }
        self
    }

    /// Where the next batch comes from.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Batches until every sample of this epoch was seen once. Packed samples may fill more rows in one epoch than in another.
    pub fn batches_per_epoch(&self) -> u64 {
        self.rows().div_ceil(self.micro_batch) as u64
    }

    /// Batches of so many epochs from this one on. Packed ones are counted epoch by epoch, those beyond the thousandth by the mean.
    pub fn batches(mut self, epochs: f64) -> f64 {
        if matches!(self.rows, Rows::Single) {
            return epochs * self.batches_per_epoch() as f64;
        }
        let counted = epochs.min(COUNTED_EPOCHS);
        let (mut batches, mut left) = (0.0, counted);
        while left > 0.0 {
            batches += self.batches_per_epoch() as f64 * left.min(1.0);
            left -= 1.0;
            self.next_epoch();
        }
        if epochs > counted { batches / counted * epochs } else { batches }
    }

    /// The samples of each row of the next batch.
    pub fn next_batch(&mut self) -> Vec<Vec<usize>> {
        let start = self.position.batch as usize * self.micro_batch;
        let end = (start + self.micro_batch).min(self.rows());
        let batch = (start..end).map(|row| self.row(row).iter().map(|&sample| sample as usize).collect()).collect();
        self.position.batch += 1;
        if end == self.rows() {
            self.next_epoch();
        }
        batch
    }

    fn rows(&self) -> usize {
        match &self.rows {
            Rows::Single => self.order.len(),
            Rows::Packed { ends, .. } => ends.len(),
        }
    }

    fn row(&self, row: usize) -> &[u32] {
        match &self.rows {
            Rows::Single => &self.order[row..=row],
            Rows::Packed { ends, .. } => {
                let first = row.checked_sub(1).map_or(0, |before| ends[before] as usize);
                &self.order[first..ends[row] as usize]
            }
        }
    }

    fn next_epoch(&mut self) {
        self.position = Position { epoch: self.position.epoch.saturating_add(1), batch: 0 };
        self.arrange();
    }

    /// The order depends on seed and epoch only, not on what came before.
    fn arrange(&mut self) {
        for (index, place) in self.order.iter_mut().enumerate() {
            *place = index as u32;
        }
        let mut state = mix(self.seed ^ mix(self.position.epoch.wrapping_add(1)));
        if !matches!(self.how, Order::Sequential) {
            shuffle(&mut self.order, &mut state);
        }
        if let (Order::ByLength(lengths), Rows::Single) = (&self.how, &self.rows) {
            let length = |sample: &u32| lengths.get(*sample as usize).copied().unwrap_or(0);
            for part in self.order.chunks_mut(SORTED_BATCHES.saturating_mul(self.micro_batch)) {
                part.sort_by_key(|sample| std::cmp::Reverse(length(sample)));
            }
            // Whole batches change places; what is left over for a smaller one stays last.
            let mut batches: Vec<Vec<u32>> = self.order.chunks_exact(self.micro_batch).map(<[u32]>::to_vec).collect();
            shuffle(&mut batches, &mut state);
            for (place, batch) in self.order.chunks_exact_mut(self.micro_batch).zip(batches) {
                place.copy_from_slice(&batch);
            }
        }
        if let Rows::Packed { packing, ends } = &mut self.rows {
            *ends = packing::pack(&mut self.order, packing);
        }
    }
}

/// Each order is as likely as any other.
fn shuffle<T>(items: &mut [T], state: &mut u64) {
    for last in (1..items.len()).rev() {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // 0..=last, by multiplication: the bias is below one in 2^32
        let chosen = ((u128::from(mix(*state)) * (last as u128 + 1)) >> 64) as usize;
        items.swap(last, chosen);
    }
}

/// splitmix64's output function.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
