//! Which samples make the next batch: shuffled anew each epoch, the same for the same seed, and resumable.

/// How far a run has come through its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Micro batches done in this epoch.
    pub batch: u64,
}

/// Gives the indices of each micro batch, for ever. The last batch of an epoch may be smaller.
#[derive(Debug, Clone)]
pub struct Sampler {
    order: Vec<u32>,
    micro_batch: usize,
    seed: u64,
    position: Position,
}

impl Sampler {
    /// From the beginning. `samples` and `micro_batch` count as 1 at least.
    pub fn new(samples: usize, micro_batch: usize, seed: u64) -> Self {
        Self::resume(samples, micro_batch, seed, Position::default())
    }

    /// From where another sampler with the same arguments was; it goes on exactly as that one would have.
    pub fn resume(samples: usize, micro_batch: usize, seed: u64, position: Position) -> Self {
        let micro_batch = micro_batch.max(1);
        let mut sampler = Self { order: (0..samples.max(1) as u32).collect(), micro_batch, seed, position };
        // a position at an epoch's end is the next one's beginning
        if sampler.position.batch >= sampler.batches_per_epoch() {
            sampler.position = Position { epoch: position.epoch + 1, batch: 0 };
        }
        sampler.shuffle();
        sampler
    }

    /// Where the next batch comes from.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Batches until every sample was seen once.
    pub fn batches_per_epoch(&self) -> u64 {
        self.order.len().div_ceil(self.micro_batch) as u64
    }

    /// The samples of the next batch.
    pub fn next_batch(&mut self) -> Vec<usize> {
        let start = self.position.batch as usize * self.micro_batch;
        let end = (start + self.micro_batch).min(self.order.len());
        let batch = self.order[start..end].iter().map(|&sample| sample as usize).collect();
        self.position.batch += 1;
        if end == self.order.len() {
            self.position = Position { epoch: self.position.epoch + 1, batch: 0 };
            self.shuffle();
        }
        batch
    }

    /// The order depends on seed and epoch only, not on what came before.
    fn shuffle(&mut self) {
        for (index, place) in self.order.iter_mut().enumerate() {
            *place = index as u32;
        }
        let mut state = mix(self.seed ^ mix(self.position.epoch.wrapping_add(1)));
        for last in (1..self.order.len()).rev() {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            // 0..=last, by multiplication: the bias is below one in 2^32
            let chosen = ((u128::from(mix(state)) * (last as u128 + 1)) >> 64) as usize;
            self.order.swap(last, chosen);
        }
    }
}

/// splitmix64's output function.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
