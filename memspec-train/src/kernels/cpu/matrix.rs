//! Matrix products through the `gemm` crate.

use gemm::Parallelism;

use super::{elements, elements_mut, matrix_shape};
use crate::kernels::Product;
use crate::kernels::storage::F32;

/// Products below this many multiplications run on one thread: handing them out costs more than it saves.
const PARALLEL_FROM: usize = 4 << 20;

/// A strided matrix that is only read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `rows x columns` from the start of `data`, whose rows are `row_stride` elements apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        let used = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns };
        assert!(used <= data.len(), "a {rows} x {columns} matrix lies outside its {} elements", data.len());
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A row-major matrix to write, by pointer: attention's parallel heads write disjoint columns of one buffer.
#[derive(Clone, Copy)]
pub(super) struct Target {
    start: *mut f32,
    row_stride: usize,
}

// SAFETY: whoever makes a target promises (see `Target::new`) that nobody else touches its elements meanwhile.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    /// Every element of the `rows x columns` that are written through it must be valid and touched by nobody else meanwhile.
    pub(super) unsafe fn new(start: *mut f32, row_stride: usize) -> Self {
        Self { start, row_stride }
    }
}

/// `c = beta c + alpha a b`.
pub(super) fn multiply(c: Target, a: View<'_>, b: View<'_>, alpha: f32, beta: f32, parallelism: Parallelism) {
    assert_eq!(a.columns, b.rows, "the inner dimensions of a matrix product agree");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: the views were checked against their slices, the target by its maker.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.start,
            1,
            c.row_stride as isize,
            beta != 0.0,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// All threads where it pays.
pub(super) fn parallelism(m: usize, n: usize, k: usize) -> Parallelism {
    if m * n * k >= PARALLEL_FROM { Parallelism::Rayon(0) } else { Parallelism::None }
}

/// See [`crate::kernels::Kernels::product`].
pub(super) fn product(mut c: F32, a: &F32, b: &F32, how: Product) -> F32 {
    let (a_rows, a_width) = matrix_shape(a);
    let (a_first, a_columns) = how.a_columns.unwrap_or((0, a_width));
    assert!(a_first + a_columns <= a_width, "columns of `a`");
    let (b_height, b_columns) = matrix_shape(b);
    let (b_first, b_rows) = how.b_rows.unwrap_or((0, b_height));
    let (c_height, c_width) = matrix_shape(&c);
    let (c_first, c_columns) = how.c_columns.unwrap_or((0, c_width));
    let (c_top, c_rows) = how.c_rows.unwrap_or((0, c_height));
    assert!(c_first + c_columns <= c_width && c_top + c_rows <= c_height, "the part of `c`");

    let a = View::new(&elements(a)[a_first..], a_rows, a_columns, a_width);
    let b = View::new(&elements(b)[b_first * b_columns..], b_rows, b_columns, b_columns);
    let a = if how.transpose_a { a.transposed() } else { a };
    let b = if how.transpose_b { b.transposed() } else { b };
    assert_eq!((a.rows, b.columns), (c_rows, c_columns), "the shape of a matrix product");
    let parallelism = parallelism(a.rows, b.columns, a.columns);
    // SAFETY: `c` is borrowed for writing, and its part was checked against its shape.
    let target = unsafe { Target::new(elements_mut(&mut c).as_mut_ptr().add(c_top * c_width + c_first), c_width) };
    multiply(target, a, b, how.alpha, how.beta, parallelism);
    c
}
