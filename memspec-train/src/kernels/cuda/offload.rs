//! Block inputs in pinned host memory, copied there and back on a stream of their own, beside what CubeCL's stream computes.
//!
//! Two kinds of events hold the streams together. A copy begins after all that was queued before it: so what it reads is written, and
//! what had the memory that it writes is done. And what touches a tensor of a copy is queued behind the copy's end. CubeCL gives memory
//! to others as soon as nobody holds it, in the order of its own stream, so a tensor is held until that stream waits for its copy.
//!
//! Nothing is allocated, and nothing waits on the host, but for the first micro batch, which pins the memory.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use burn::backend::Cube;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::sys::{self, CUevent, CUresult, CUstream};
use memspec::quantity::Bytes;

use super::launch::{checked, submit};
use super::tensor::{elements, uninitialized};
use crate::kernels::lane::Lane;

/// The lane between a card and pinned memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinned {
    /// The card's number.
    pub(crate) card: usize,
    /// Bytes that are pinned for each input, whatever it has: those of the run's largest.
    pub(crate) place_bytes: usize,
}

/// An input in pinned memory, and what it was on the card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away {
    place: usize,
    shape: [usize; 2],
    dtype: DType,
}

/// A tensor that is written from a place.
#[derive(Debug)]
pub(crate) struct Coming {
    x: CubeTensor,
    place: usize,
}

impl Lane for Pinned {
    type Away = Away;
    type Coming = Coming;

    fn store(&mut self, x: &Tensor<2>, place: usize) -> Away {
        let tensor = on_card(x);
        let bytes = bytes(&tensor);
        let pinned = self.place_bytes.max(bytes);
        // `x` is named as written, though it is only read: a failure then goes on into all that is computed from it, and ends the run.
        submit([&tensor], 1, move |kept, stream, [from]| kept.places.store(place, pinned, from, bytes, stream));
        Away { place, shape: x.dims(), dtype: tensor.dtype }
    }

    fn release(&mut self, x: Tensor<2>, away: &Away) {
        let place = away.place;
        submit([&on_card(&x)], 1, move |kept, stream, _| kept.places.wait(place, stream));
    }

    fn load(&mut self, away: Away) -> Coming {
        let Away { place, shape, dtype } = away;
        let x = uninitialized(self.card, shape, dtype);
        let bytes = bytes(&x);
        submit([&x], 1, move |kept, stream, [to]| kept.places.load(place, to, bytes, stream));
        Coming { x, place }
    }

    fn arrive(&mut self, coming: Coming) -> Tensor<2> {
        let Coming { x, place } = coming;
        submit([&x], 1, move |kept, stream, _| kept.places.wait(place, stream));
        Tensor::from_primitive::<Cube>(x)
    }
}

/// The tensor as this backend has it.
fn on_card(x: &Tensor<2>) -> CubeTensor {
    super::tensor::here(x).unwrap_or_else(|| unreachable!("the activations of a model on a card are there"))
}

fn bytes(x: &CubeTensor) -> usize {
    elements(x) * x.dtype.size()
}

/// Bytes that are pinned now, by all of this process's devices.
static PINNED: AtomicU64 = AtomicU64::new(0);

/// Bytes of host memory that are pinned for block inputs.
pub(crate) fn pinned_bytes() -> u64 {
    PINNED.load(Relaxed)
}

/// A device's pinned memory and the stream of its copies, which it keeps from step to step until the process ends.
#[derive(Default)]
pub(super) struct Places {
    copies: Option<Copies>,
    places: Vec<Place>,
}

/// The stream of the copies. They are done in the order in which they are queued, so one that reads a place comes after the one that wrote it.
#[derive(Clone, Copy)]
struct Copies {
    stream: CUstream,
    /// Recorded on the computation's stream before each copy.
    queued: CUevent,
}

/// Pinned memory for one input.
struct Place {
    /// Null where nothing is pinned yet.
    start: *mut c_void,
    bytes: usize,
    /// Recorded behind the last copy to or from here.
    copied: CUevent,
}

impl Places {
    /// Copies an input to a place, for which so many bytes are pinned when it is first used.
    fn store(&mut self, place: usize, pinned: usize, from: u64, bytes: usize, compute: CUstream) -> Result<(), String> {
        let copies = self.copies()?;
        while self.places.len() <= place {
            self.places.push(Place { start: null_mut(), bytes: 0, copied: event()? });
        }
        let place = &mut self.places[place];
        place.grow(pinned, copies)?;
        copies.follow(compute)?;
        // SAFETY: the place has so many bytes, as has the tensor, which is held and not written over until `compute` waits for the copy.
        let status = unsafe { sys::cuMemcpyDtoHAsync_v2(place.start, from, bytes, copies.stream) };
        checked(status, "copying a block's input to host memory")?;
        place.record(copies)
    }

    /// Copies the input of a place to a tensor.
    fn load(&mut self, place: usize, to: u64, bytes: usize, compute: CUstream) -> Result<(), String> {
        let copies = self.copies()?;
        let place = self.place(place)?;
        if bytes > place.bytes {
            return Err(format!("{bytes} bytes of a block's input are not in host memory"));
        }
        copies.follow(compute)?;
        // SAFETY: as above; the copy that wrote the place is before this one on the same stream.
        let status = unsafe { sys::cuMemcpyHtoDAsync_v2(to, place.start, bytes, copies.stream) };
        checked(status, "copying a block's input from host memory")?;
        place.record(copies)
    }

    /// What is queued on `compute` from now on comes after the last copy to or from a place.
    fn wait(&mut self, place: usize, compute: CUstream) -> Result<(), String> {
        wait(compute, self.place(place)?.copied)
    }

    fn place(&self, place: usize) -> Result<&Place, String> {
        self.places.get(place).ok_or_else(|| "a block's input is not in host memory".to_owned())
    }

    fn copies(&mut self) -> Result<Copies, String> {
        if let Some(copies) = self.copies {
            return Ok(copies);
        }
        let mut stream = null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the result outlives the call; CubeCL's context is current on this thread.
        checked(unsafe { sys::cuStreamCreate(&mut stream, flags) }, "a stream for copies")?;
        let copies = Copies { stream, queued: event()? };
        self.copies = Some(copies);
        Ok(copies)
    }
}

impl Copies {
    /// The next copy comes after what is queued on `compute` now.
    fn follow(self, compute: CUstream) -> Result<(), String> {
        record(self.queued, compute)?;
        wait(self.stream, self.queued)
    }
}

impl Place {
    /// Pins so many bytes, unless there are as many: other memory in place of what is there.
    fn grow(&mut self, bytes: usize, copies: Copies) -> Result<(), String> {
        if bytes <= self.bytes {
            return Ok(());
        }
        if !self.start.is_null() {
            let (start, freed) = (self.start, self.bytes as u64);
            (self.start, self.bytes) = (null_mut(), 0);
            // SAFETY: pinned below, and not used any more when the copies are done.
            unsafe {
                checked(sys::cuStreamSynchronize(copies.stream), "waiting for copies of block inputs")?;
                checked(sys::cuMemFreeHost(start), "freeing pinned memory")?;
            }
            PINNED.fetch_sub(freed, Relaxed);
        }
        let mut start = null_mut();
        // SAFETY: the result outlives the call.
        let status = unsafe { sys::cuMemAllocHost_v2(&mut start, bytes) };
        if status == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            // In words that nobody takes for those of a card without room.
            return Err(format!(
                "the host has no {} of pinned memory for one more block's input, beside {} that it gave: leave out `activation_offload`, or recompute fewer blocks",
                Bytes(bytes as u64),
                Bytes(pinned_bytes())
            ));
        }
        checked(status, "pinning host memory")?;
        PINNED.fetch_add(bytes as u64, Relaxed);
        (self.start, self.bytes) = (start, bytes);
        Ok(())
    }

    fn record(&self, copies: Copies) -> Result<(), String> {
        record(self.copied, copies.stream)
    }
}

/// An event that orders streams and measures no time.
fn event() -> Result<CUevent, String> {
    let mut event = null_mut();
    let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
    // SAFETY: the result outlives the call; CubeCL's context is current on this thread.
    checked(unsafe { sys::cuEventCreate(&mut event, flags) }, "an event")?;
    Ok(event)
}

/// The event is past when what is queued on `stream` now is done.
fn record(event: CUevent, stream: CUstream) -> Result<(), String> {
    // SAFETY: both are of this thread's context and are never destroyed.
    checked(unsafe { sys::cuEventRecord(event, stream) }, "recording an event")
}

/// What is queued on `stream` from now on comes after what `event` was last recorded behind. That it may be recorded again does not change it.
fn wait(stream: CUstream, event: CUevent) -> Result<(), String> {
    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT as u32;
    // SAFETY: both are of this thread's context and are never destroyed.
    checked(unsafe { sys::cuStreamWaitEvent(stream, event, flags) }, "waiting for an event")
}
