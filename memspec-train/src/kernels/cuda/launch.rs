//! Work on CubeCL's own stream: kernels of ours and library calls between its allocations and copies, in the order of the calls.
//!
//! CubeCL runs its server on a thread of its own. `DeviceHandle::submit` queues a closure there, in order with everything else that is
//! queued; inside it the operands become device pointers, and their stream the raw `CUstream`. So nothing waits: no synchronization, no event.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use burn::backend::Cube;
use burn_cubecl::tensor::CubeTensor;
use cubecl::device_handle::DeviceHandle;
use cubecl::server::{BufferBinding, Server as _, ServerError, ServerStorage};
use cubecl_common::device::{Device as _, DeviceId};
use cubecl_environment::backtrace::BackTrace;
use cubecl_environment::stream::StreamId;
use cubecl_server::runtime::Runtime;
use cubecl_server::stream::WriteScoped;
use cudarc::driver::sys::{self, CUfunction, CUstream};

use super::gemm::Products;
use super::offload::Places;
use super::spans::span;
use crate::kernels::Samples;
use crate::kernels::compile::{Source, cubin};

pub(super) type Server = <cubecl::cuda::CudaRuntime as Runtime>::Server;

/// What a device's thread keeps between calls.
#[derive(Default)]
pub(super) struct Kept {
    functions: HashMap<(Source, &'static str), CUfunction>,
    modules: HashMap<Source, sys::CUmodule>,
    capability: i32,
    pub(super) products: Products,
    pub(super) places: Places,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

fn handle(device: DeviceId) -> DeviceHandle<Server> {
    thread_local! {
        static HANDLES: RefCell<HashMap<(u16, u16), DeviceHandle<Server>>> = RefCell::default();
    }
    HANDLES.with_borrow_mut(|handles| {
        handles.entry((device.type_id, device.index_id)).or_insert_with(|| DeviceHandle::new(device)).clone()
    })
}

/// Queues `work` with the addresses of `operands`, of which the first `written` are written. What goes wrong is remembered with
/// those, and the next read of them reports it.
pub(super) fn submit<const N: usize>(
    operands: [&CubeTensor; N],
    written: usize,
    work: impl FnOnce(&mut Kept, CUstream, [u64; N]) -> Result<(), String> + Send + 'static,
) {
    submit_all(&operands, written, move |kept, stream, addresses| {
        let mut all = [0; N];
        all.copy_from_slice(addresses);
        work(kept, stream, all)
    });
}

/// The same for any number of operands, of which there is at least one.
pub(super) fn submit_all(
    operands: &[&CubeTensor],
    written: usize,
    work: impl FnOnce(&mut Kept, CUstream, &[u64]) -> Result<(), String> + Send + 'static,
) {
    let cubecl::Device::Cuda(device) = &operands[0].device else {
        unreachable!("the only runtime that this build has is CUDA");
    };
    let stream = StreamId::current();
    let bindings: Vec<BufferBinding> = operands.iter().map(|tensor| tensor.handle.clone().binding()).collect();
    handle(device.to_id()).submit(move |server: &mut Server| {
        if let Err(reason) = resolve(server, stream, &bindings, written, work) {
            let error = ServerError::Generic { reason, backtrace: BackTrace::capture() };
            if let Ok(mut streams) = server.write_streams().resolve(stream, [].iter()) {
                streams.taint(error, bindings[..written].iter());
            }
        }
    });
}

/// Does `work` on a card's thread, after everything that is queued, and waits for it.
pub(super) fn on_thread_of<R: Send>(card: usize, work: impl FnOnce() -> Result<R, String> + Send) -> Result<R, String> {
    let cubecl::Device::Cuda(device) = super::tensor::device(card) else {
        unreachable!("the only runtime that this build has is CUDA");
    };
    let done = handle(device.to_id()).submit_blocking(move |_: &mut Server| work());
    done.map_err(|error| format!("{error:?}"))?
}

fn resolve(
    server: &mut Server,
    stream: StreamId,
    bindings: &[BufferBinding],
    written: usize,
    work: impl FnOnce(&mut Kept, CUstream, &[u64]) -> Result<(), String>,
) -> Result<(), String> {
    let mut addresses = Vec::with_capacity(bindings.len());
    for binding in bindings {
        let resource = server.get_resource(binding.clone(), stream).map_err(|error| format!("{error:?}"))?;
        addresses.push(resource.resource().ptr);
    }
    let mut streams = server.write_streams().resolve(stream, bindings.iter()).map_err(|error| format!("{error:?}"))?;
    let raw = streams.current().sys;
    KEPT.with_borrow_mut(|kept| work(kept, raw, &addresses))?;
    streams.written(bindings[..written].iter());
    drop(streams);
    if WATCH.load(Relaxed)
        && let Some(report) = server.memory_report(stream)
    {
        PEAK.fetch_max(report.pools.usage().bytes_in_use, Relaxed);
    }
    Ok(())
}

/// Whether every call looks at the memory that is in use: slower, so only for a step whose peaks are wanted.
static WATCH: AtomicBool = AtomicBool::new(false);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Calls look at the memory that is in use.
pub(crate) fn is_watched() -> bool {
    WATCH.load(Relaxed)
}

/// Begins or ends to look at the memory in use whenever something is queued.
pub(crate) fn watch(on: bool) {
    WATCH.store(on, Relaxed);
}

/// The most bytes in use, of those that were seen since the last call.
pub(super) fn seen() -> u64 {
    PEAK.swap(0, Relaxed)
}

/// A number that a kernel takes after its pointers.
#[derive(Clone, Copy)]
pub(super) enum Number {
    U32(u32),
    U64(u64),
    F32(f32),
}

/// A kernel and the blocks that it is launched with.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) source: Source,
    pub(super) name: &'static str,
    pub(super) grid: (u32, u32),
    pub(super) threads: u32,
    /// Bytes of shared memory beside what the kernel declares.
    pub(super) shared: u32,
}

/// Most parameters of a kernel.
const PARAMETERS: usize = 20;

impl Kernel {
    /// A kernel over `blocks` blocks of `threads` threads.
    pub(super) fn new(source: Source, name: &'static str, blocks: usize, threads: u32) -> Self {
        Self { source, name, grid: (blocks as u32, 1), threads, shared: 0 }
    }

    /// A kernel over `elements` in a loop of its own: enough threads to fill any card.
    pub(super) fn flat(source: Source, name: &'static str, elements: usize) -> Self {
        Self::new(source, name, elements.div_ceil(256).clamp(1, 132 * 16), 256)
    }

    /// Queues it: pointers to `operands` (the first `written` are written), then numbers.
    pub(super) fn run<const N: usize, const M: usize>(
        self,
        operands: [&CubeTensor; N],
        written: usize,
        numbers: [Number; M],
    ) {
        self.run_without(operands, 0, written, numbers);
    }

    /// The same with a pointer to where samples begin after those of the operands; null where each has a row of its own.
    pub(super) fn run_for<const N: usize, const M: usize>(
        self,
        samples: &Samples<Cube>,
        operands: [&CubeTensor; N],
        written: usize,
        numbers: [Number; M],
    ) {
        match samples {
            Samples::Rows => self.queue(&operands, 1, written, numbers),
            Samples::Packed(starts) => self.queue(&[&operands[..], &[starts]].concat(), 0, written, numbers),
        }
    }

    /// The same with so many null pointers after those of the operands.
    pub(super) fn run_without<const N: usize, const M: usize>(
        self,
        operands: [&CubeTensor; N],
        nulls: usize,
        written: usize,
        numbers: [Number; M],
    ) {
        self.queue(&operands, nulls, written, numbers);
    }

    fn queue<const M: usize>(self, operands: &[&CubeTensor], nulls: usize, written: usize, numbers: [Number; M]) {
        submit_all(operands, written, move |kept, stream, addresses| {
            let mut values = [0_u64; PARAMETERS];
            values[..addresses.len()].copy_from_slice(addresses);
            for (value, number) in values[addresses.len() + nulls..].iter_mut().zip(numbers) {
                *value = match number {
                    Number::U32(number) => number.into(),
                    Number::U64(number) => number,
                    Number::F32(number) => number.to_bits().into(),
                };
            }
            let mut pointers: [*mut c_void; PARAMETERS] = std::array::from_fn(|i| (&raw mut values[i]).cast());
            let function = kept.function(&self)?;
            let (x, y) = self.grid;
            span(
                stream,
                || self.name.to_owned(),
                || {
                    // SAFETY: the kernel's parameters are pointers and numbers in this order (the checks run every kernel), their buffers live until
                    // the stream has come past this launch, and the values outlive the call.
                    let status = unsafe {
                        sys::cuLaunchKernel(
                            function,
                            x,
                            y,
                            1,
                            self.threads,
                            1,
                            1,
                            self.shared,
                            stream,
                            pointers.as_mut_ptr(),
                            std::ptr::null_mut(),
                        )
                    };
                    checked(status, self.name)
                },
            )
        });
    }
}

/// An error of the driver, in its words.
pub(super) fn checked(status: sys::CUresult, what: &str) -> Result<(), String> {
    if status == sys::CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut text = std::ptr::null();
    // SAFETY: the driver's texts live as long as the driver.
    let said = unsafe {
        sys::cuGetErrorString(status, &mut text);
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(format!("{what}: {said} ({status:?})"))
}

impl Kept {
    fn function(&mut self, kernel: &Kernel) -> Result<CUfunction, String> {
        let key = (kernel.source, kernel.name);
        if let Some(function) = self.functions.get(&key) {
            return Ok(*function);
        }
        let module = self.module(kernel.source)?;
        let name = CString::new(kernel.name).map_err(|_| "a name with a NUL".to_owned())?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded and never unloaded; the name outlives the call.
        checked(unsafe { sys::cuModuleGetFunction(&mut function, module, name.as_ptr()) }, kernel.name)?;
        if kernel.shared > 0 {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of a loaded module.
            checked(unsafe { sys::cuFuncSetAttribute(function, attribute, kernel.shared as i32) }, kernel.name)?;
        }
        self.functions.insert(key, function);
        Ok(function)
    }

    fn module(&mut self, source: Source) -> Result<sys::CUmodule, String> {
        if let Some(module) = self.modules.get(&source) {
            return Ok(*module);
        }
        if self.capability == 0 {
            self.capability = capability()?;
        }
        let code = cubin(source, self.capability)?;
        let mut module = std::ptr::null_mut();
        // SAFETY: the code is a whole cubin and outlives the call; CubeCL made its context current on this thread.
        checked(unsafe { sys::cuModuleLoadData(&mut module, code.as_ptr().cast()) }, "loading kernels")?;
        self.modules.insert(source, module);
        Ok(module)
    }
}

/// The compute capability of the current context's card: 90 for 9.0.
fn capability() -> Result<i32, String> {
    let mut device = 0;
    // SAFETY: the number outlives the call.
    checked(unsafe { sys::cuCtxGetDevice(&mut device) }, "asking for the card")?;
    capability_of(device)
}

/// The same of the card that a tensor is on.
pub(super) fn capability_at(tensor: &CubeTensor) -> Result<i32, String> {
    let card = super::tensor::card(tensor).ok_or("a tensor on no card")?;
    let mut device = 0;
    // SAFETY: the number outlives the call, and CubeCL has begun to use the driver.
    checked(unsafe { sys::cuDeviceGet(&mut device, card as i32) }, "asking for the card")?;
    capability_of(device)
}

fn capability_of(device: sys::CUdevice) -> Result<i32, String> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both outlive the calls.
    unsafe {
        checked(sys::cuDeviceGetAttribute(&mut major, MAJOR, device), "asking for its compute capability")?;
        checked(sys::cuDeviceGetAttribute(&mut minor, MINOR, device), "asking for its compute capability")?;
    }
    Ok(major * 10 + minor)
}
