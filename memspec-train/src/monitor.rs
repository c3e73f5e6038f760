//! What memory is really taken: a counting global allocator, and the process as the operating system sees it.
//!
//! Tensor storage is the only memory that is asked for with [`TENSOR_ALIGN`], and the matrix library asks for its packing buffers with 128;
//! the allocator counts by what it is asked for, so a phase's measured bytes come from the allocations themselves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::kernels::place::Place;
use crate::kernels::storage::TENSOR_ALIGN;

/// Alignment of the `gemm` crate's packing buffers (its `CACHELINE_ALIGN`).
const WORKSPACE_ALIGN: usize = 128;

/// The global allocator of `memspec-train`: the system's, counted.
#[derive(Debug)]
pub struct Counting;

/// Live bytes of one kind of memory, and the most there have been since the last reset.
#[derive(Debug)]
pub struct Meter {
    live: AtomicUsize,
    peak: AtomicUsize,
}

impl Meter {
    const fn new() -> Self {
        Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    fn add(&self, bytes: usize) {
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(live, Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Relaxed);
    }

    /// Bytes allocated now.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed) as u64
    }

    /// The high-water mark since the last [`Meter::reset_peak`].
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed) as u64
    }

    /// Starts a new high-water mark at what is live now.
    pub fn reset_peak(&self) {
        self.peak.store(self.live.load(Relaxed), Relaxed);
    }
}

/// Tensors: the backend's allocations.
pub static TENSORS: Meter = Meter::new();
/// Packing buffers of the matrix products.
pub static WORKSPACE: Meter = Meter::new();
/// Everything else on the heap: tokenizer, data, text.
pub static HOST: Meter = Meter::new();

fn meter(layout: Layout) -> &'static Meter {
    match layout.align() {
        TENSOR_ALIGN => &TENSORS,
        WORKSPACE_ALIGN => &WORKSPACE,
        _ => &HOST,
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        let start = unsafe { System.alloc(layout) };
        if !start.is_null() {
            meter(layout).add(layout.size());
        }
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        let start = unsafe { System.alloc_zeroed(layout) };
        if !start.is_null() {
            meter(layout).add(layout.size());
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        meter(layout).sub(layout.size());
        // SAFETY: by the caller.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the caller.
        let moved = unsafe { System.realloc(start, layout, size) };
        if !moved.is_null() {
            let meter = meter(layout);
            meter.sub(layout.size());
            meter.add(size);
        }
        moved
    }
}

/// The process's resident bytes: now, and at their highest. `None` where the system does not tell (outside Linux).
pub fn resident() -> Option<Resident> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line[name.len()..].trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Resident { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// What the process holds now and will go on to hold while it trains: its resident memory, less what it has freed to its heap, which
/// tensors will take over.
pub fn beside_tensors() -> Option<u64> {
    let freed = HOST.peak().saturating_sub(HOST.live());
    Some(resident()?.now.saturating_sub(freed))
}

/// Resident bytes of the process.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Now.
    pub now: u64,
    /// The high-water mark.
    pub peak: u64,
}

/// What the backend holds at a place, used or not: tensors or pools, and the workspace of products.
pub fn reserved(place: Place) -> u64 {
    match place {
        Place::Cpu => TENSORS.live() + WORKSPACE.peak(),
        #[cfg(feature = "cuda")]
        Place::Cuda { card, .. } => crate::kernels::cuda::reserved(card),
    }
}

/// The workspace of matrix products at a place.
pub fn workspace(place: Place) -> u64 {
    match place {
        Place::Cpu => WORKSPACE.peak(),
        #[cfg(feature = "cuda")]
        Place::Cuda { .. } => crate::kernels::cuda::WORKSPACE,
    }
}

/// Host memory at its highest, beside tensors and workspace of the CPU: the heap, and what is pinned for a card.
pub fn host(place: Place) -> u64 {
    HOST.peak() + pinned(place)
}

/// Host memory that is pinned for block inputs of a card.
pub fn pinned(place: Place) -> u64 {
    match place {
        Place::Cpu => 0,
        #[cfg(feature = "cuda")]
        Place::Cuda { .. } => crate::kernels::cuda::offload::pinned_bytes(),
    }
}

/// What the process holds: resident memory at its highest, or on a card what its driver says now. `None`: nobody says.
pub fn process(place: Place) -> Option<u64> {
    match place {
        Place::Cpu => Some(resident()?.peak),
        #[cfg(feature = "cuda")]
        Place::Cuda { card, .. } => crate::devices::used_by_this_process(card),
    }
}

/// What the process holds of a place, and could take beside what others do. `None`: nobody says.
pub fn room(place: Place) -> Option<u64> {
    match place {
        Place::Cpu => None,
        #[cfg(feature = "cuda")]
        Place::Cuda { card, .. } => crate::devices::room(card),
    }
}
