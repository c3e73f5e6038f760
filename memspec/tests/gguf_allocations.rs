//! A GGUF header that lies about its sizes must not make the reader allocate what it claims. This file has the one test
//! of its process, because it counts every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use memspec::model::gguf::Header;

struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The largest allocation while this is read as a header, after magic and version.
fn largest(parts: &[&[u8]]) -> usize {
    let mut bytes = [b"GGUF", &3u32.to_le_bytes()[..], &parts.concat()].concat();
    bytes.resize(64 << 10, 0);
    LARGEST.store(0, Ordering::Relaxed);
    let refused = Header::read(Cursor::new(&bytes)).is_err();
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(refused, "a lie was believed");
    largest
}

#[test]
fn a_lying_header_allocates_no_more_than_the_file_holds() {
    let key = [&1u64.to_le_bytes()[..], b"k"].concat();
    for lie in [1u64 << 16, 1 << 20, 1 << 32, 1 << 61, u64::MAX] {
        let lie = lie.to_le_bytes();
        let one = 1u64.to_le_bytes();
        let zero = 0u64.to_le_bytes();
        let lies: [Vec<&[u8]>; 6] = [
            vec![&lie, &zero],                                            // tensors
            vec![&zero, &lie],                                            // metadata
            vec![&zero, &one, &lie],                                      // a key's length
            vec![&zero, &one, &key, &[8, 0, 0, 0], &lie],                 // a string's length
            vec![&zero, &one, &key, &[9, 0, 0, 0], &[12, 0, 0, 0], &lie], // an array's length
            vec![&zero, &one, &key, &[9, 0, 0, 0], &[8, 0, 0, 0], &lie],  // an array of strings' length
        ];
        for parts in lies {
            let largest = largest(&parts);
            assert!(largest <= 64 << 10, "{largest} bytes at once for a file of 64 KiB: {parts:?}");
        }
    }
}
