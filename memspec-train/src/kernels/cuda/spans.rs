//! How long operations take on a card: events of the driver around each launch, while somebody wants to know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cudarc::driver::sys::{self, CUevent, CUstream};

use super::launch::{checked, on_thread_of};
use crate::bench::Operation;
use crate::kernels::DeviceFailed;

static ON: AtomicBool = AtomicBool::new(false);

/// One launch: its name, and the events before and after it.
type Span = (String, CUevent, CUevent);

thread_local! {
    /// Those of the card's thread.
    static SPANS: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
}

/// From now on launches are timed, until [`collect`].
pub(crate) fn begin() {
    ON.store(true, Relaxed);
}

/// Does `work`, which launches something on `stream`.
pub(super) fn span(
    stream: CUstream,
    name: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    if !ON.load(Relaxed) {
        return work();
    }
    let before = event(stream)?;
    work()?;
    let after = event(stream)?;
    SPANS.with_borrow_mut(|spans| spans.push((name(), before, after)));
    Ok(())
}

fn event(stream: CUstream) -> Result<CUevent, String> {
    let mut event = std::ptr::null_mut();
    // SAFETY: the event outlives the calls, and the stream is CubeCL's.
    unsafe {
        checked(sys::cuEventCreate(&mut event, 0), "an event")?;
        checked(sys::cuEventRecord(event, stream), "an event")?;
    }
    Ok(event)
}

/// What was timed on a card since [`begin`], the longest first.
///
/// # Errors
/// The device failed.
pub(crate) fn collect(card: usize) -> Result<Vec<Operation>, DeviceFailed> {
    ON.store(false, Relaxed);
    let mut all = on_thread_of(card, || summed(&SPANS.take())).map_err(DeviceFailed)?;
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(all)
}

fn summed(spans: &[Span]) -> Result<Vec<Operation>, String> {
    let mut sums: BTreeMap<&str, (u32, f64)> = BTreeMap::new();
    for (name, before, after) in spans {
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events were recorded, and nobody uses them after this.
        unsafe {
            checked(sys::cuEventSynchronize(*after), "an event")?;
            checked(sys::cuEventElapsedTime_v2(&mut milliseconds, *before, *after), "an event")?;
            sys::cuEventDestroy_v2(*before);
            sys::cuEventDestroy_v2(*after);
        }
        let (launches, seconds) = sums.entry(name).or_default();
        (*launches, *seconds) = (*launches + 1, *seconds + f64::from(milliseconds) / 1e3);
    }
    let operation = |(name, (launches, seconds)): (&str, _)| Operation { name: name.to_owned(), launches, seconds };
    Ok(sums.into_iter().map(operation).collect())
}
