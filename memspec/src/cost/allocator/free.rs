//! Free blocks, by size and then address: what best fit looks through.

/// Sizes and addresses are multiples of 2 to this.
const GRAIN_BITS: u32 = 9;
/// Sizes share a bucket with those that begin with the same four binary digits.
const DIGITS: u32 = 3;
const BUCKETS: usize = ((u64::BITS - GRAIN_BITS) << DIGITS) as usize;

/// A free block as one number: its size, its address, then its place among the allocator's blocks. Best fit takes the lowest that is large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u128);

impl Key {
    const PLACE_BITS: u32 = 26;

    /// The key of a block, one of at most 64 million. Only the order of addresses that are less than 128 TiB apart is right.
    #[inline]
    pub(super) fn new(size: u64, address: u64, place: u32) -> Self {
        let address = address << (Self::PLACE_BITS - GRAIN_BITS);
        Self(u128::from(size) << u64::BITS | u128::from(address | u64::from(place)))
    }

    /// The block's place among the allocator's blocks.
    #[inline]
    pub(super) fn place(self) -> u32 {
        self.0 as u32 & ((1 << Self::PLACE_BITS) - 1)
    }

    /// The bucket of its size; larger sizes have no lower one.
    #[inline]
    fn bucket(self) -> usize {
        let size = (self.0 >> u64::BITS) as u64;
        let exponent = size.ilog2();
        let digits = (size >> (exponent - DIGITS)) as usize - (1 << DIGITS);
        ((exponent - GRAIN_BITS) as usize) << DIGITS | digits
    }
}

/// The free blocks of a pool.
#[derive(Clone, Debug)]
pub(super) struct Free {
    /// The lowest key last.
    buckets: Vec<Vec<Key>>,
    /// A bit for each bucket that has blocks.
    filled: [u64; BUCKETS.div_ceil(64)],
}

impl Free {
    /// None.
    pub(super) fn new() -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], filled: [0; BUCKETS.div_ceil(64)] }
    }

    /// Takes the smallest block of at least `size`; of several the one with the lowest address.
    #[inline]
    pub(super) fn best_fit(&mut self, size: u64) -> Option<u32> {
        let lowest = Key::new(size, 0, 0);
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

    /// The smallest block of at least `size`, as [`Free::best_fit`], which stays.
    pub(super) fn first(&self, size: u64) -> Option<Key> {
        self.from(Key::new(size, 0, 0))
    }

    /// The block that is next in size and address.
    pub(super) fn after(&self, key: Key) -> Option<Key> {
        self.from(Key(key.0 + 1))
    }

    fn from(&self, lowest: Key) -> Option<Key> {
        let bucket = lowest.bucket();
        let same = self.buckets[bucket].iter().rfind(|key| **key >= lowest);
        same.or_else(|| self.buckets[self.next(bucket + 1)?].last()).copied()
    }

    /// Adds a block.
    #[inline]
    pub(super) fn insert(&mut self, key: Key) {
        let bucket = key.bucket();
        let keys = &mut self.buckets[bucket];
        if keys.last().is_none_or(|lowest| *lowest > key) {
            keys.push(key);
        } else {
            keys.insert(keys.partition_point(|other| *other > key), key);
        }
        self.filled[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Takes a block that is there.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) {
        let bucket = key.bucket();
        self.take(bucket, self.buckets[bucket].partition_point(|other| *other > key));
    }

    /// All blocks, taken.
    pub(super) fn drain(&mut self) -> Vec<Key> {
        self.filled.fill(0);
        self.buckets.iter_mut().flat_map(std::mem::take).collect()
    }

    #[inline]
    fn take(&mut self, bucket: usize, at: usize) -> Key {
        let keys = &mut self.buckets[bucket];
        let key = keys[at];
        keys.copy_within(at + 1.., at);
        keys.pop();
        if keys.is_empty() {
            self.filled[bucket / 64] &= !(1 << (bucket % 64));
        }
        key
    }

    /// The first bucket from `from` on that has blocks.
    #[inline]
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A list in order does the same.
        #[test]
        fn best_fit_is_the_lowest_that_is_large_enough(
            steps in prop::collection::vec((1..1u64 << 20, 0..64u64, any::<bool>()), 0..200),
        ) {
            let (mut free, mut list) = (Free::new(), Vec::<(u64, u64, u32)>::new());
            for (place, (grains, address, take)) in steps.into_iter().enumerate() {
                let (size, address) = (grains << GRAIN_BITS, address << GRAIN_BITS);
                if take {
                    list.sort();
                    let best = list.iter().position(|&(other, ..)| other >= size);
                    prop_assert_eq!(free.best_fit(size), best.map(|at| list.remove(at).2));
                } else {
                    free.insert(Key::new(size, address, place as u32));
                    list.push((size, address, place as u32));
                }
            }
            for (size, address, place) in list {
                free.remove(Key::new(size, address, place));
            }
            prop_assert_eq!(free.drain(), []);
        }
    }
}
