//! Free blocks, by size and then address: what best fit looks through.

/// Sizes and addresses are multiples of this.
const GRAIN: u64 = 512;
/// Sizes share a bucket with those that begin with the same five binary digits.
const DIGITS: u32 = 4;
/// Buckets for sizes of up to 2^48 grains.
const BUCKETS: usize = 48 << DIGITS;

/// A free block as one number: its size and its address in grains, then its place among the allocator's blocks. Best fit takes the lowest number
/// that is large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u128);

impl Key {
    const PLACE_BITS: u32 = 32;
    const ADDRESS_BITS: u32 = 48;

    /// The key of a block.
    pub(super) fn new(size: u64, address: i64, place: u32) -> Self {
        // Addresses go below zero.
        let address = (address / GRAIN as i64 + (1 << (Self::ADDRESS_BITS - 1))) as u128;
        Self(Self::lowest(size).0 | address << Self::PLACE_BITS | u128::from(place))
    }

    /// The block's place among the allocator's blocks.
    pub(super) fn place(self) -> u32 {
        self.0 as u32
    }

    /// No key of this size is lower.
    fn lowest(size: u64) -> Self {
        Self(u128::from(size / GRAIN) << (Self::ADDRESS_BITS + Self::PLACE_BITS))
    }

    /// The bucket of its size; larger sizes have no lower one.
    fn bucket(self) -> usize {
        let grains = (self.0 >> (Self::ADDRESS_BITS + Self::PLACE_BITS)) as u64;
        let exponent = grains.ilog2();
        let digits = ((grains << DIGITS) >> exponent) - (1 << DIGITS);
        ((exponent as usize) << DIGITS) + digits as usize
    }
}

/// The free blocks of a pool.
#[derive(Clone, Debug)]
pub(super) struct Free {
    /// The lowest key last.
    buckets: Vec<Vec<Key>>,
    /// A bit for each bucket that has blocks.
    filled: [u64; BUCKETS / 64],
}

impl Free {
    /// None.
    pub(super) fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], filled: [0; BUCKETS / 64] }
    }

    /// Takes the smallest block of at least `size`; of several the one with the lowest address.
    pub(super) fn best_fit(&mut self, size: u64) -> Option<u32> {
        let lowest = Key::lowest(size);
        let bucket = lowest.bucket();
        let key = match self.buckets[bucket].iter().rposition(|key| *key >= lowest) {
            Some(at) => self.take(bucket, at),
            None => {
                let bucket = self.next(bucket + 1)?;
                self.take(bucket, self.buckets[bucket].len() - 1)
            }
        };
        Some(key.place())
    }

    /// Adds a block.
    pub(super) fn insert(&mut self, key: Key) {
        let bucket = key.bucket();
        let keys = &mut self.buckets[bucket];
        keys.insert(keys.partition_point(|other| *other > key), key);
        self.filled[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Takes a block that is there.
    pub(super) fn remove(&mut self, key: Key) {
        let bucket = key.bucket();
        self.take(bucket, self.buckets[bucket].partition_point(|other| *other > key));
    }

    /// All blocks, taken.
    pub(super) fn drain(&mut self) -> Vec<Key> {
        self.filled.fill(0);
        self.buckets.iter_mut().flat_map(std::mem::take).collect()
    }

    fn take(&mut self, bucket: usize, at: usize) -> Key {
        let key = self.buckets[bucket].remove(at);
        if self.buckets[bucket].is_empty() {
            self.filled[bucket / 64] &= !(1 << (bucket % 64));
        }
        key
    }

    /// The first bucket from `from` on that has blocks.
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = *self.filled.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.filled.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}
