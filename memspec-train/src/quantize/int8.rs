//! 8-bit weights with one scale a row: `round(w / scale)`, `scale` = the row's largest magnitude / 127.

use super::{NotFinite, largest};

/// A quantized matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8 {
    /// Elements of a row.
    pub columns: usize,
    /// Row-major, -127 to 127.
    pub codes: Vec<i8>,
    /// One a row.
    pub scales: Vec<f32>,
}

impl Int8 {
    /// Decodes weights from flat index `first_element` on, as many as fit `out`.
    ///
    /// # Panics
    /// When the weight has fewer.
    pub fn decode_range(&self, first_element: usize, out: &mut [f32]) {
        decode(&self.codes, &self.scales, self.columns, first_element, out);
    }
}

/// Decodes weights from flat index `first_element` on, as many as fit `out`.
///
/// # Panics
/// When `codes` or `scales` end before the range does, or `columns` is zero.
pub fn decode(codes: &[i8], scales: &[f32], columns: usize, first_element: usize, out: &mut [f32]) {
    let mut codes = &codes[first_element..first_element + out.len()];
    let (mut row, mut column) = (first_element / columns, first_element % columns);
    let mut out = out;
    while !out.is_empty() {
        let piece = (columns - column).min(out.len());
        let (now, later) = out.split_at_mut(piece);
        let scale = scales[row];
        for (value, &code) in now.iter_mut().zip(&codes[..piece]) {
            *value = f32::from(code) * scale;
        }
        codes = &codes[piece..];
        (out, row, column) = (later, row + 1, 0);
    }
}

/// Quantizes a matrix that comes in slices of any length, in row-major order.
#[derive(Debug)]
pub struct Int8Encoder {
    columns: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// The row that is not complete yet.
    pending: Vec<f32>,
}

impl Int8Encoder {
    /// For a matrix of `rows` x `columns`; the room is reserved at once and exactly.
    pub fn new(rows: usize, columns: usize) -> Self {
        Self {
            columns,
            codes: Vec::with_capacity(rows * columns),
            scales: Vec::with_capacity(rows),
            pending: Vec::new(),
        }
    }

    /// The next elements.
    pub fn push(&mut self, mut values: &[f32]) -> Result<(), NotFinite> {
        while !values.is_empty() {
            if self.pending.is_empty() && values.len() >= self.columns {
                let (row, rest) = values.split_at(self.columns);
                self.row(row)?;
                values = rest;
                continue;
            }
            let (piece, rest) = values.split_at(values.len().min(self.columns - self.pending.len()));
            self.pending.reserve_exact(self.columns - self.pending.len());
            self.pending.extend_from_slice(piece);
            values = rest;
            if self.pending.len() == self.columns {
                let mut row = std::mem::take(&mut self.pending);
                self.row(&row)?;
                row.clear();
                self.pending = row;
            }
        }
        Ok(())
    }

    /// The quantized matrix; a last row that is incomplete is dropped.
    pub fn finish(self) -> Int8 {
        Int8 { columns: self.columns, codes: self.codes, scales: self.scales }
    }

    fn row(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        let scale = largest(values, self.codes.len())? / 127.0;
        let reciprocal = 1.0 / scale;
        let reciprocal = if reciprocal.is_finite() { reciprocal } else { 0.0 };
        self.scales.push(scale);
        self.codes.extend(values.iter().map(|value| (value * reciprocal).round_ties_even() as i8));
        Ok(())
    }
}
