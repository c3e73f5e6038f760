//! Matrix products by cuBLASLt, with the algorithm of each shape asked for once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cudarc::driver::sys::{self, CUstream};

use super::launch::{checked, submit};
use super::spans::span;
use super::tensor::matrix_shape;
use crate::kernels::Product;
use crate::libraries::{Folders, Library, find};

/// Bytes that cuBLASLt may use beside its operands; NVIDIA advises 32 MiB on Hopper.
pub(super) const WORKSPACE: usize = 32 << 20;

// cublasLt.h, library_types.h
const R_32F: c_int = 0;
const R_16F: c_int = 2;
const R_16BF: c_int = 14;
const COMPUTE_32F: c_int = 68;
const COMPUTE_32F_FAST_TF32: c_int = 77;
const DESC_TRANSA: c_int = 3;
const DESC_TRANSB: c_int = 4;
const PREFERENCE_WORKSPACE: c_int = 1;
const PREFERENCE_REDUCTION: c_int = 3;
const PREFERENCE_ALIGNMENT_A: c_int = 5;
/// Parts of a sum are kept in f32 too, and added in one order.
const REDUCTION_COMPUTE_TYPE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct Algorithm([u64; 8]);

#[repr(C)]
#[derive(Clone, Copy)]
struct Heuristic {
    algorithm: Algorithm,
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

/// Declares the functions that are used, and how they are looked up.
macro_rules! functions {
    ($($field:ident = $symbol:literal : fn($($Argument:ty),*),)+) => {
        struct CublasLt {
            $($field: unsafe extern "C" fn($($Argument),*) -> c_int,)+
            _library: libloading::Library,
        }

        impl CublasLt {
            fn open() -> Result<Self, String> {
                let file = find(Library::CublasLt, &Folders::of_process()).map_err(|missing| missing.to_string())?;
                let failed = |error: libloading::Error| format!("{}: {error}", file.display());
                // SAFETY: NVIDIA's library, whose initializers are safe to run.
                let library = unsafe { libloading::Library::new(&file) }.map_err(failed)?;
                Ok(Self {
                    // SAFETY: the types are those of cublasLt.h.
                    $($field: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }.map_err(failed)?,)+
                    _library: library,
                })
            }
        }
    };
}

functions! {
    create = "cublasLtCreate": fn(*mut *mut c_void),
    description = "cublasLtMatmulDescCreate": fn(*mut *mut c_void, c_int, c_int),
    set_description = "cublasLtMatmulDescSetAttribute": fn(*mut c_void, c_int, *const c_void, usize),
    layout = "cublasLtMatrixLayoutCreate": fn(*mut *mut c_void, c_int, u64, u64, i64),
    preference = "cublasLtMatmulPreferenceCreate": fn(*mut *mut c_void),
    set_preference = "cublasLtMatmulPreferenceSetAttribute": fn(*mut c_void, c_int, *const c_void, usize),
    destroy_preference = "cublasLtMatmulPreferenceDestroy": fn(*mut c_void),
    heuristic = "cublasLtMatmulAlgoGetHeuristic": fn(*mut c_void, *mut c_void, *mut c_void, *mut c_void, *mut c_void,
        *mut c_void, *mut c_void, c_int, *mut Heuristic, *mut c_int),
    multiply = "cublasLtMatmul": fn(*mut c_void, *mut c_void, *const c_void, *const c_void, *mut c_void, *const c_void,
        *mut c_void, *const c_void, *const c_void, *mut c_void, *mut c_void, *mut c_void, *const Algorithm, *mut c_void,
        usize, CUstream),
}

fn library() -> Result<&'static CublasLt, String> {
    static LIBRARY: OnceLock<Result<CublasLt, String>> = OnceLock::new();
    LIBRARY.get_or_init(CublasLt::open).as_ref().map_err(Clone::clone)
}

fn ok(status: c_int, what: &str) -> Result<(), String> {
    let name = match status {
        0 => return Ok(()),
        1 => "not initialized",
        3 => "no memory for it",
        7 => "invalid value",
        8 => "not on this card",
        13 => "it failed while it ran",
        14 => "internal error",
        15 => "not supported",
        _ => "cublasLt.h has the number",
    };
    Err(format!("{what}: cuBLASLt status {status} ({name})"))
}

/// A product in cuBLAS's terms: columns first, so the operands are swapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    transpose: [bool; 2],
    m: usize,
    n: usize,
    k: usize,
    leading: [usize; 3],
    operands: c_int,
    result: c_int,
    compute: c_int,
    /// Powers of two that the addresses are multiples of.
    alignment: [u32; 4],
}

/// The rows, inner dimension and columns as the caller has them, and which operand is transposed: `product NT 2048 x 4096 x 14336`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [b, a] = self.transpose.map(|transpose| if transpose { 'T' } else { 'N' });
        write!(f, "product {a}{b} {} x {} x {}", self.n, self.k, self.m)
    }
}

/// Everything that cuBLASLt wants to know of a product again.
struct Plan {
    description: *mut c_void,
    layouts: [*mut c_void; 3],
    algorithm: Algorithm,
}

/// A device's handle, workspace and plans.
#[derive(Default)]
pub(super) struct Products {
    handle: Option<*mut c_void>,
    workspace: u64,
    plans: HashMap<Key, Plan>,
}

fn pass<T>(value: &T) -> (*const c_void, usize) {
    (std::ptr::from_ref(value).cast(), size_of::<T>())
}

impl Products {
    fn prepare(&mut self, lt: &CublasLt) -> Result<*mut c_void, String> {
        if let Some(handle) = self.handle {
            return Ok(handle);
        }
        let mut handle = null_mut();
        // SAFETY: both results outlive the calls; CubeCL's context is current on this thread.
        unsafe {
            ok((lt.create)(&mut handle), "a handle")?;
            checked(sys::cuMemAlloc_v2(&mut self.workspace, WORKSPACE), "the workspace of matrix products")?;
        }
        self.handle = Some(handle);
        Ok(handle)
    }

    fn plan(&mut self, lt: &CublasLt, handle: *mut c_void, key: Key) -> Result<&Plan, String> {
        Ok(match self.plans.entry(key) {
            Entry::Occupied(plan) => plan.into_mut(),
            Entry::Vacant(place) => place.insert(Plan::new(lt, handle, key)?),
        })
    }

    fn run(
        &mut self,
        key: Key,
        alpha: f32,
        beta: f32,
        [a, b, onto, c]: [u64; 4],
        stream: CUstream,
    ) -> Result<(), String> {
        let lt = library()?;
        let handle = self.prepare(lt)?;
        let workspace = self.workspace;
        let plan = self.plan(lt, handle, key)?;
        let [la, lb, lc] = plan.layouts;
        // SAFETY: the layouts describe the operands (`product` checks their shapes), which live until the stream is past this.
        let status = unsafe {
            (lt.multiply)(
                handle,
                plan.description,
                (&raw const alpha).cast(),
                a as _,
                la,
                b as _,
                lb,
                (&raw const beta).cast(),
                onto as _,
                lc,
                c as _,
                lc,
                &plan.algorithm,
                workspace as _,
                WORKSPACE,
                stream,
            )
        };
        ok(status, &format!("{key:?}"))
    }
}

impl Plan {
    fn new(lt: &CublasLt, handle: *mut c_void, key: Key) -> Result<Self, String> {
        let what = format!("{key:?}");
        // SAFETY: all values outlive their calls; what is created lives as long as the plan, which is for ever.
        unsafe {
            let mut description = null_mut();
            ok((lt.description)(&mut description, key.compute, R_32F), &what)?;
            for (attribute, transpose) in [DESC_TRANSA, DESC_TRANSB].into_iter().zip(key.transpose) {
                let transpose = c_int::from(transpose);
                let (value, size) = pass(&transpose);
                ok((lt.set_description)(description, attribute, value, size), &what)?;
            }
            let stored = |transpose: bool, rows, columns| if transpose { (columns, rows) } else { (rows, columns) };
            let shapes =
                [stored(key.transpose[0], key.m, key.k), stored(key.transpose[1], key.k, key.n), (key.m, key.n)];
            let mut layouts = [null_mut(); 3];
            for (index, (rows, columns)) in shapes.into_iter().enumerate() {
                let dtype = if index == 2 { key.result } else { key.operands };
                let leading = key.leading[index] as i64;
                ok((lt.layout)(&mut layouts[index], dtype, rows as u64, columns as u64, leading), &what)?;
            }
            let mut preference = null_mut();
            ok((lt.preference)(&mut preference), &what)?;
            let workspace = WORKSPACE as u64;
            let (value, size) = pass(&workspace);
            ok((lt.set_preference)(preference, PREFERENCE_WORKSPACE, value, size), &what)?;
            let (value, size) = pass(&REDUCTION_COMPUTE_TYPE);
            ok((lt.set_preference)(preference, PREFERENCE_REDUCTION, value, size), &what)?;
            for (index, alignment) in key.alignment.into_iter().enumerate() {
                let (value, size) = pass(&alignment);
                ok((lt.set_preference)(preference, PREFERENCE_ALIGNMENT_A + index as c_int, value, size), &what)?;
            }
            let none = Heuristic { algorithm: Algorithm([0; 8]), workspace: 0, state: 0, waves: 0.0, reserved: [0; 4] };
            let (mut best, mut found) = (none, 0);
            let [a, b, c] = layouts;
            // The first is nearly always the fastest of eight (measured on an H200).
            let status = (lt.heuristic)(handle, description, a, b, c, c, preference, 1, &mut best, &mut found);
            (lt.destroy_preference)(preference);
            ok(status, &what)?;
            if found < 1 {
                return Err(format!("{what}: cuBLASLt has no algorithm for it"));
            }
            Ok(Self { description, layouts, algorithm: best.algorithm })
        }
    }
}

/// Whether products of f32 round their operands to TF32: a setting of the run, as it is one of the process in PyTorch.
static TF32: AtomicBool = AtomicBool::new(false);

/// Products of f32 that are queued from now on round their operands to TF32, or do not.
pub(crate) fn round_to_tf32(on: bool) {
    TF32.store(on, Relaxed);
}

/// How the sums of products of this type are computed: in f32.
fn compute(operands: c_int) -> c_int {
    if operands == R_32F && TF32.load(Relaxed) { COMPUTE_32F_FAST_TF32 } else { COMPUTE_32F }
}

fn dtype(tensor: &CubeTensor) -> c_int {
    match tensor.dtype {
        DType::F32 => R_32F,
        DType::F16 => R_16F,
        _ => R_16BF,
    }
}

/// See [`crate::kernels::Kernels::product`], and, where `onto` is what `beta` multiplies in place of `c`, `product_onto`.
pub(super) fn product(
    c: CubeTensor,
    onto: Option<&CubeTensor>,
    a: &CubeTensor,
    b: &CubeTensor,
    how: Product,
) -> CubeTensor {
    let (a_rows, a_width) = matrix_shape(a);
    let (b_height, b_width) = matrix_shape(b);
    let (c_height, c_width) = matrix_shape(&c);
    let (a_first, a_columns) = how.a_columns.unwrap_or((0, a_width));
    let (b_first, b_rows) = how.b_rows.unwrap_or((0, b_height));
    let (c_first, c_columns) = how.c_columns.unwrap_or((0, c_width));
    let (c_top, c_rows) = how.c_rows.unwrap_or((0, c_height));
    assert!(a_first + a_columns <= a_width && b_first + b_rows <= b_height, "the parts of a product's operands");
    assert!(c_first + c_columns <= c_width && c_top + c_rows <= c_height, "the part of a product's result");
    let (m, k) = if how.transpose_a { (a_columns, a_rows) } else { (a_rows, a_columns) };
    let (inner, n) = if how.transpose_b { (b_width, b_rows) } else { (b_rows, b_width) };
    assert!(k == inner && m <= c_rows && n == c_columns && a.dtype == b.dtype, "a product of {m}x{k} and {inner}x{n}");
    let key = Key {
        transpose: [how.transpose_b, how.transpose_a],
        m: n,
        n: m,
        k,
        leading: [b_width, a_width, c_width],
        operands: dtype(a),
        result: dtype(&c),
        compute: compute(dtype(a)),
        alignment: [0; 4],
    };
    let a_offset = (a_first * a.dtype.size()) as u64;
    let b_offset = (b_first * b_width * b.dtype.size()) as u64;
    let c_offset = ((c_top * c_width + c_first) * c.dtype.size()) as u64;
    submit([&c, onto.unwrap_or(&c), a, b], 1, move |kept, stream, [c, onto, a, b]| {
        let addresses = [b + b_offset, a + a_offset, onto + c_offset, c + c_offset];
        let alignment = addresses.map(|address| 1 << address.trailing_zeros().min(8));
        let key = Key { alignment, ..key };
        span(stream, || key.to_string(), || kept.products.run(key, how.alpha, how.beta, addresses, stream))
    });
    c
}
