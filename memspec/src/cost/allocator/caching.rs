//! PyTorch's caching allocator: blocks cut from segments, kept when they are freed, and given back only under pressure.
//!
//! Source: `c10/cuda/CUDACachingAllocator.cpp` of torch 2.11. Constants have its names in their comments.

use std::num::NonZeroU32;

use super::free::{Free, Key};

/// Every size is a multiple of this (`kMinBlockSize`).
const GRAIN: u64 = 512;
/// The largest request of the small pool (`kSmallSize`); in the large pool, also the largest tail that is not split off.
const SMALL: u64 = 1 << 20;
/// A segment of the small pool (`kSmallBuffer`).
pub(super) const SMALL_SEGMENT: u64 = 2 << 20;
/// Requests below this come from segments of [`MIDDLE_SEGMENT`] (`kMinLargeAlloc`).
const LARGE: u64 = 10 << 20;
/// A segment for requests between [`SMALL`] and [`LARGE`] (`kLargeBuffer`).
pub(super) const MIDDLE_SEGMENT: u64 = 20 << 20;
/// Segments for larger requests are multiples of this (`kRoundLarge`).
const ROUND: u64 = 2 << 20;

/// Bytes that the allocator asks the driver for when no free block holds a tensor (`get_allocation_size`). It is this that an error says was tried.
pub fn allocation_size(bytes: u64) -> u64 {
    if bytes <= SMALL { SMALL_SEGMENT } else { large_segment(bytes) }
}

fn large_segment(size: u64) -> u64 {
    if size < LARGE { MIDDLE_SEGMENT } else { size.div_ceil(ROUND) * ROUND }
}

/// A block's place in [`Caching`]; what an allocation returns and a release takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId(NonZeroU32);

impl BlockId {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> u32 {
        self.0.get() - 1
    }
}

pub(super) const NONE: u32 = u32::MAX;

/// A part of a segment; those of one segment are linked by their addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) address: u64,
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) pool: u16,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Used,
    Free,
    /// Addresses of an expandable segment that no memory is behind.
    Unmapped,
}

/// One stream's small or large pool.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) small: bool,
    pub(super) free: Free,
    /// The unmapped blocks of its expandable segment, by address.
    pub(super) unmapped: Vec<u32>,
}

/// The device refused: what was asked for, and what was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Bytes asked for.
    pub tried: u64,
    /// Bytes in blocks then.
    pub allocated: u64,
    /// Bytes in segments then, after everything that could be given back was.
    pub reserved: u64,
}

/// Where `cudaMalloc` puts segments. Among free blocks of one size the allocator takes the lowest address, so this decides which hole a tensor
/// goes to. As seen in 27 recorded runs (driver 580): the lowest hole that is large enough; if there is none, below everything, in pieces of 32 MiB.
///
/// It is the one thing here that is not PyTorch's: of 119 runs recorded later event by event, the reserved bytes of 94 are exact with these
/// addresses, and those of all 119 with the addresses that the driver gave.
#[derive(Clone, Debug)]
struct Addresses {
    /// Start and size of each, by start.
    holes: Vec<(u64, u64)>,
    lowest: u64,
}

impl Addresses {
    const PIECE: u64 = 32 << 20;
    /// Above everything.
    const TOP: u64 = 1 << 62;

    fn new() -> Self {
        Self { holes: Vec::new(), lowest: Self::TOP }
    }

    fn take(&mut self, size: u64) -> u64 {
        if let Some(at) = self.holes.iter().position(|hole| hole.1 >= size) {
            let hole = &mut self.holes[at];
            let address = hole.0;
            *hole = (hole.0 + size, hole.1 - size);
            if hole.1 == 0 {
                self.holes.remove(at);
            }
            return address;
        }
        let piece = size.next_multiple_of(Self::PIECE);
        self.lowest -= piece;
        if piece > size {
            self.give(self.lowest + size, piece - size);
        }
        self.lowest
    }

    fn give(&mut self, address: u64, size: u64) {
        let at = self.holes.partition_point(|hole| hole.0 < address);
        self.holes.insert(at, (address, size));
        if at + 1 < self.holes.len() && address + size == self.holes[at + 1].0 {
            self.holes[at].1 += self.holes.remove(at + 1).1;
        }
        if at > 0 && self.holes[at - 1].0 + self.holes[at - 1].1 == address {
            self.holes[at - 1].1 += self.holes.remove(at).1;
        }
    }
}

/// The allocator's state.
#[derive(Clone, Debug)]
pub struct Caching {
    limit: u64,
    pub(super) expandable: bool,
    pub(super) blocks: Vec<Block>,
    unused: Vec<u32>,
    pub(super) pools: Vec<Pool>,
    addresses: Addresses,
    allocated: u64,
    pub(super) reserved: u64,
    peak_reserved: u64,
    retries: u32,
}

impl Caching {
    /// An empty allocator that may reserve `limit` bytes; `expandable`: `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.
    pub fn new(limit: u64, expandable: bool) -> Self {
        Self {
            limit,
            expandable,
            blocks: Vec::new(),
            unused: Vec::new(),
            pools: Vec::new(),
            addresses: Addresses::new(),
            allocated: 0,
            reserved: 0,
            peak_reserved: 0,
            retries: 0,
        }
    }

    /// The same state, which may reserve `limit` bytes from now on.
    pub fn under(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Bytes in blocks that are in use (`torch.cuda.memory_allocated`).
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes in segments (`torch.cuda.memory_reserved`).
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The most bytes that were in segments.
    pub fn peak_reserved(&self) -> u64 {
        self.peak_reserved
    }

    /// How often everything unused was given back to make room (`num_alloc_retries`).
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Bytes of a block in use: at least what was asked for.
    pub fn size(&self, block: BlockId) -> u64 {
        self.blocks[block.index() as usize].size
    }

    /// A block of at least `bytes` for work on `stream` (`malloc`).
    ///
    /// # Errors
    /// The limit would be passed although every unused segment was given back.
    pub fn allocate(&mut self, bytes: u64, stream: u8) -> Result<BlockId, Refused> {
        let size = bytes.max(1).div_ceil(GRAIN) * GRAIN;
        let pool = self.pool(stream, size <= SMALL);
        let found =
            if self.expandable { self.best_fit_to_expand(pool, size) } else { self.pools[pool].free.best_fit(size) };
        let index = match found {
            Some(index) => index,
            None => self.grow(pool, size, bytes)?,
        };
        self.split(pool, index, size);
        let block = &mut self.blocks[index as usize];
        block.state = State::Used;
        self.allocated += block.size;
        Ok(BlockId::new(index))
    }

    /// Frees a block; it merges with free neighbours and stays reserved (`free_block`).
    pub fn release(&mut self, block: BlockId) {
        let index = block.index();
        self.allocated -= self.blocks[index as usize].size;
        self.merge_free(index);
    }

    /// Gives back every segment that nothing is in (`torch.cuda.empty_cache`, `release_cached_blocks`).
    pub fn empty_cache(&mut self) {
        for pool in 0..self.pools.len() {
            for key in self.pools[pool].free.drain() {
                let index = key.place();
                let Block { size, address, previous, next, .. } = self.blocks[index as usize];
                if self.expandable {
                    self.unmap(pool, index);
                } else if previous == NONE && next == NONE {
                    self.reserved -= size;
                    self.addresses.give(address, size);
                    self.unused.push(index);
                } else {
                    self.pools[pool].free.insert(key);
                }
            }
        }
    }

    /// The pool of a stream: two each.
    fn pool(&mut self, stream: u8, small: bool) -> usize {
        let pool = usize::from(stream) * 2 + usize::from(small);
        while self.pools.len() <= pool {
            let small = self.pools.len() % 2 == 1;
            self.pools.push(Pool { small, free: Free::new(), unmapped: Vec::new() });
        }
        pool
    }

    /// A block of new memory; after a flush of the cache if there is no room (`alloc_block`).
    fn grow(&mut self, pool: usize, size: u64, tried: u64) -> Result<u32, Refused> {
        // The limit is held against it even where fewer pages are mapped.
        let bytes = if self.pools[pool].small { SMALL_SEGMENT } else { large_segment(size) };
        if self.reserved + bytes > self.limit {
            self.retries += 1;
            self.empty_cache();
            if self.reserved + bytes > self.limit {
                return Err(Refused { tried, allocated: self.allocated, reserved: self.reserved });
            }
        }
        let index = if self.expandable { self.expand(pool, size) } else { self.segment(pool, bytes) };
        self.peak_reserved = self.peak_reserved.max(self.reserved);
        Ok(index)
    }

    fn segment(&mut self, pool: usize, size: u64) -> u32 {
        self.reserved += size;
        let address = self.addresses.take(size);
        self.insert(Block { size, address, previous: NONE, next: NONE, pool: pool as u16, state: State::Used })
    }

    /// Cuts what `size` leaves of the block off, where the allocator would (`should_split`).
    fn split(&mut self, pool: usize, index: u32, size: u64) {
        let rest = self.blocks[index as usize].size - size;
        let all = self.pools[pool].small || self.expandable;
        if if all { rest >= GRAIN } else { rest > SMALL } {
            let tail = self.cut(index, size);
            self.blocks[tail as usize].state = State::Free;
            self.list(tail);
        }
    }

    /// Cuts a block in two; returns what follows its first `size` bytes.
    pub(super) fn cut(&mut self, index: u32, size: u64) -> u32 {
        let whole = self.blocks[index as usize];
        let tail =
            self.insert(Block { size: whole.size - size, address: whole.address + size, previous: index, ..whole });
        if whole.next != NONE {
            self.blocks[whole.next as usize].previous = tail;
        }
        let block = &mut self.blocks[index as usize];
        (block.size, block.next) = (size, tail);
        tail
    }

    /// The block is free: with its free neighbours it is one, which is returned.
    pub(super) fn merge_free(&mut self, index: u32) -> u32 {
        let Block { previous, next, .. } = self.blocks[index as usize];
        let mut kept = index;
        if self.is(next, State::Free) {
            self.unlist(next);
            self.absorb(kept, next);
        }
        if self.is(previous, State::Free) {
            self.unlist(previous);
            self.absorb(previous, kept);
            kept = previous;
        }
        self.blocks[kept as usize].state = State::Free;
        self.list(kept);
        kept
    }

    /// There is such a block, in this state.
    pub(super) fn is(&self, index: u32, state: State) -> bool {
        index != NONE && self.blocks[index as usize].state == state
    }

    /// `second`, which follows `first`, becomes part of it.
    pub(super) fn absorb(&mut self, first: u32, second: u32) {
        let Block { size, next, .. } = self.blocks[second as usize];
        let block = &mut self.blocks[first as usize];
        block.size += size;
        block.next = next;
        if next != NONE {
            self.blocks[next as usize].previous = first;
        }
        self.unused.push(second);
    }

    pub(super) fn insert(&mut self, block: Block) -> u32 {
        match self.unused.pop() {
            Some(index) => {
                self.blocks[index as usize] = block;
                index
            }
            None => {
                self.blocks.push(block);
                (self.blocks.len() - 1) as u32
            }
        }
    }

    pub(super) fn list(&mut self, index: u32) {
        let (pool, key) = self.key(index);
        self.pools[pool].free.insert(key);
    }

    pub(super) fn unlist(&mut self, index: u32) {
        let (pool, key) = self.key(index);
        self.pools[pool].free.remove(key);
    }

    fn key(&self, index: u32) -> (usize, Key) {
        let Block { size, address, pool, .. } = self.blocks[index as usize];
        (usize::from(pool), Key::new(size, address, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn sizes_round_and_segments_are_shared() {
        let mut memory = Caching::new(u64::MAX, false);
        let a = memory.allocate(1, 0).unwrap();
        assert_eq!((memory.allocated(), memory.reserved()), (512, 2 * MIB));
        let b = memory.allocate(3 * MIB, 0).unwrap();
        assert_eq!((memory.size(b), memory.reserved()), (3 * MIB, 22 * MIB));
        memory.release(a);
        memory.release(b);
        assert_eq!((memory.allocated(), memory.reserved()), (0, 22 * MIB));
        // The large pool's tails of up to 1 MiB stay with their block.
        let c = memory.allocate(19 * MIB + 512, 0).unwrap();
        assert_eq!((memory.size(c), memory.reserved()), (20 * MIB, 22 * MIB));
        memory.empty_cache();
        assert_eq!(memory.reserved(), 20 * MIB);
    }

    #[test]
    fn streams_share_nothing() {
        let mut memory = Caching::new(u64::MAX, false);
        let a = memory.allocate(64 * MIB, 0).unwrap();
        memory.release(a);
        memory.allocate(64 * MIB, 1).unwrap();
        assert_eq!(memory.reserved(), 128 * MIB);
    }

    #[test]
    fn at_the_limit_the_cache_is_flushed_and_then_it_fails() {
        let mut memory = Caching::new(100 * MIB, false);
        let a = memory.allocate(60 * MIB, 0).unwrap();
        memory.release(a);
        let b = memory.allocate(80 * MIB, 0).unwrap();
        assert_eq!((memory.retries(), memory.reserved()), (1, 80 * MIB));
        let refused = memory.allocate(30 * MIB, 0).unwrap_err();
        assert_eq!(refused, Refused { tried: 30 * MIB, allocated: 80 * MIB, reserved: 80 * MIB });
        memory.release(b);
    }
}
