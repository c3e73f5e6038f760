//! Expandable segments (`PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`): a pool has one long range of addresses. Pages of it are mapped when memory is
//! needed, and unmapped when the cache is given back.

use super::caching::{Block, Caching, MIDDLE_SEGMENT, NONE, SMALL_SEGMENT, State};

/// Addresses of a segment: more than any device has memory.
const ADDRESSES: u64 = 1 << 55;

impl Caching {
    /// `get_free_block`: a block that unmapped addresses follow counts as large as it can grow, so it is left for later where another is large enough.
    pub(super) fn best_fit_to_expand(&mut self, pool: usize, size: u64) -> Option<u32> {
        let free = &self.pools[pool].free;
        let mut found = free.first(size)?;
        while self.can_grow(found.place())
            && let Some(next) = free.after(found)
            && self.grown(next.place()) < self.grown(found.place())
        {
            found = next;
        }
        self.pools[pool].free.remove(found);
        Some(found.place())
    }

    fn can_grow(&self, index: u32) -> bool {
        self.is(self.blocks[index as usize].next, State::Unmapped)
    }

    /// The size that a block can grow to.
    fn grown(&self, index: u32) -> u64 {
        let Block { size, next, .. } = self.blocks[index as usize];
        if self.can_grow(index) { size + self.blocks[next as usize].size } else { size }
    }

    /// A block of `size` from the lowest addresses that are free or unmapped (`try_allocate_expandable_block`).
    pub(super) fn expand(&mut self, pool: usize, size: u64) -> u32 {
        let mut index = self.lowest_room(pool, size);
        if self.is(index, State::Unmapped) {
            index = self.map(pool, index, size);
        }
        while self.blocks[index as usize].size < size {
            let Block { size: there, next, .. } = self.blocks[index as usize];
            index = self.map(pool, next, size - there);
        }
        self.unlist(index);
        index
    }

    /// Where `size` bytes that are free or unmapped begin (`find_expandable_block`).
    fn lowest_room(&mut self, pool: usize, size: u64) -> u32 {
        for &unmapped in &self.pools[pool].unmapped {
            let previous = self.blocks[unmapped as usize].previous;
            let first = if self.is(previous, State::Free) { previous } else { unmapped };
            let (mut bytes, mut index) = (0, first);
            while bytes < size && index != NONE && !self.is(index, State::Used) {
                let block = self.blocks[index as usize];
                bytes += block.size;
                index = block.next;
            }
            if bytes >= size {
                return first;
            }
        }
        let state = State::Unmapped;
        let segment =
            self.insert(Block { size: ADDRESSES, address: 0, previous: NONE, next: NONE, pool: pool as u16, state });
        self.note_unmapped(pool, segment);
        segment
    }

    /// Maps the pages of the first `size` bytes of an unmapped block, or all of it; returns the free block that they are in then (`map_block`).
    fn map(&mut self, pool: usize, index: u32, size: u64) -> u32 {
        let whole = self.blocks[index as usize].size;
        let mapped = size.next_multiple_of(self.page(pool)).min(whole);
        self.pools[pool].unmapped.retain(|other| *other != index);
        if mapped < whole {
            let rest = self.cut(index, mapped);
            self.note_unmapped(pool, rest);
        }
        self.reserved += mapped;
        self.merge_free(index)
    }

    /// Unmaps the pages that are wholly in a free block, which is not in the list (`unmap_block`).
    pub(super) fn unmap(&mut self, pool: usize, index: u32) {
        let page = self.page(pool);
        let Block { size, address, .. } = self.blocks[index as usize];
        let (begin, end) = (address.next_multiple_of(page), (address + size) / page * page);
        if begin >= end {
            self.list(index);
            return;
        }
        let mut index = index;
        if begin > address {
            let rest = self.cut(index, begin - address);
            self.list(index);
            index = rest;
        }
        if end < address + size {
            let rest = self.cut(index, end - begin);
            self.list(rest);
        }
        self.reserved -= end - begin;
        self.blocks[index as usize].state = State::Unmapped;
        let Block { previous, next, .. } = self.blocks[index as usize];
        if self.is(next, State::Unmapped) {
            self.pools[pool].unmapped.retain(|other| *other != next);
            self.absorb(index, next);
        }
        if self.is(previous, State::Unmapped) {
            self.absorb(previous, index);
        } else {
            self.note_unmapped(pool, index);
        }
    }

    fn note_unmapped(&mut self, pool: usize, index: u32) {
        let blocks = &self.blocks;
        let address = blocks[index as usize].address;
        let unmapped = &mut self.pools[pool].unmapped;
        let at = unmapped.partition_point(|other| blocks[*other as usize].address < address);
        unmapped.insert(at, index);
    }

    fn page(&self, pool: usize) -> u64 {
        if self.pools[pool].small { SMALL_SEGMENT } else { MIDDLE_SEGMENT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn segments_grow_by_pages_and_waste_no_tails() {
        let mut memory = Caching::new(u64::MAX, true);
        let a = memory.allocate(30 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 40 * MIB);
        memory.allocate(25 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 60 * MIB);
        memory.release(a);
        let c = memory.allocate(29 * MIB + 512, 0).unwrap();
        assert_eq!((memory.size(c), memory.reserved()), (29 * MIB + 512, 60 * MIB));
    }

    #[test]
    fn the_end_that_can_grow_is_taken_last() {
        let mut memory = Caching::new(u64::MAX, true);
        let a = memory.allocate(30 * MIB, 0).unwrap();
        // 8 MiB are left at the end.
        memory.allocate(22 * MIB, 0).unwrap();
        memory.release(a);
        memory.allocate(7 * MIB, 0).unwrap();
        // It went to the 30 MiB, so that the end, 12 MiB more, is enough for 20.
        memory.allocate(20 * MIB, 0).unwrap();
        memory.allocate(20 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 80 * MIB);
    }

    #[test]
    fn pages_are_unmapped_wherever_they_are_and_mapped_again_lowest_first() {
        let mut memory = Caching::new(u64::MAX, true);
        let all: Vec<_> = (0..4).map(|_| memory.allocate(30 * MIB, 0).unwrap()).collect();
        assert_eq!(memory.reserved(), 120 * MIB);
        let [a, b, c, d] = all.try_into().unwrap();
        // Between 30 and 60 MiB one page, from 40 on, is wholly free.
        memory.release(b);
        memory.empty_cache();
        assert_eq!(memory.reserved(), 100 * MIB);
        // What needs more than the gap goes to the end.
        let e = memory.allocate(35 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 140 * MIB);
        // 10 MiB before the gap and 20 in it.
        memory.allocate(30 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 160 * MIB);
        for block in [a, c, d, e] {
            memory.release(block);
        }
        memory.empty_cache();
        assert_eq!(memory.reserved(), 40 * MIB);
    }

    #[test]
    fn the_limit_is_held_against_what_a_segment_would_take() {
        let mut memory = Caching::new(100 * MIB, true);
        memory.allocate(70 * MIB, 0).unwrap();
        // 10 MiB are free at the end and 20 may be mapped, but a segment of 28 MiB would be too much.
        let refused = memory.allocate(28 * MIB, 0).unwrap_err();
        assert_eq!((refused.reserved, memory.retries()), (80 * MIB, 1));
        memory.allocate(20 * MIB, 0).unwrap();
        assert_eq!(memory.reserved(), 100 * MIB);
    }
}
