//! Packed weights: their rows dense, alone and with an adapter.

use burn::backend::Dispatch;

use super::inputs::{Check, Inputs, on_cpu, random};
use crate::kernels::place::fetch;
use crate::kernels::{DeviceFailed, Packed, RowsOf, packed_rows, packed_rows_adapted};
use crate::quantize::NotFinite;
use crate::quantize::int8::Int8Encoder;
use crate::quantize::nf4::{Nf4Encoder, Scales};

pub(super) const CHECKS: &[Check] = &[
    ("nf4, plain and double", 1e-6, 4e-3, |at| {
        let (rows, columns) = (40, 136);
        let like = at.active("like", [1, 1]);
        let mut outputs = Vec::new();
        for double in [false, true] {
            for (first, rows) in [(0, rows), (7, 9)] {
                let weight = nf4(at, [40, columns], double)?;
                outputs.push(fetch(&packed_rows(&like, weight, RowsOf { first, rows, columns }))?);
            }
        }
        Ok(outputs)
    }),
    ("int8", 1e-6, 4e-3, |at| {
        let rows = RowsOf { first: 3, rows: 5, columns: 40 };
        Ok(vec![fetch(&packed_rows(&at.active("like", [1, 1]), int8(at, [12, 40])?, rows))?])
    }),
    ("packed weights with an adapter", 2e-6, 4e-3, |at| {
        let shape = [70, 192];
        let rows = RowsOf { first: 3, rows: 67, columns: shape[1] };
        let mut outputs = Vec::new();
        for rank in [8, 16, 32, 40, 64] {
            let (b, a) = (at.active("b", [shape[0], rank]), at.active("a", [rank, shape[1]]));
            for weight in [nf4(at, shape, false)?, nf4(at, shape, true)?, int8(at, shape)?] {
                outputs.push(fetch(&packed_rows_adapted(weight, &b, &a, 0.25, rows))?);
            }
        }
        Ok(outputs)
    }),
];

fn failed(error: NotFinite) -> DeviceFailed {
    DeviceFailed(error.to_string())
}

/// A random weight as NF4.
fn nf4(at: &Inputs, [rows, columns]: [usize; 2], double: bool) -> Result<Packed<Dispatch>, DeviceFailed> {
    let mut encoder = Nf4Encoder::new(rows * columns);
    encoder.push(&random("weight", rows * columns, 1.0)).map_err(failed)?;
    let packed = encoder.finish(double).map_err(failed)?;
    let vector = |values: &[f32]| at.place.full(on_cpu([values.len()], values));
    let codes = at.place.bytes(&packed.codes);
    Ok(match packed.scales {
        Scales::Plain(absmax) => Packed::nf4(&codes, &vector(&absmax)),
        Scales::Double { codes: absmax, scales, offset } => {
            Packed::nf4_double(&codes, &at.place.bytes(&absmax), &vector(&scales), offset)
        }
    })
}

/// A random weight as int8.
fn int8(at: &Inputs, [rows, columns]: [usize; 2]) -> Result<Packed<Dispatch>, DeviceFailed> {
    let mut encoder = Int8Encoder::new(rows, columns);
    encoder.push(&random("weight", rows * columns, 1.0)).map_err(failed)?;
    let packed = encoder.finish();
    let codes = at.place.bytes(bytemuck::cast_slice(&packed.codes));
    Ok(Packed::int8(&codes, &at.place.full(on_cpu([rows], &packed.scales))))
}
