//! Packed weights.

use super::inputs::{Check, on_cpu, random};
use crate::kernels::place::fetch;
use crate::kernels::{self, DeviceFailed, DoubleQuantized};
use crate::quantize::int8::Int8Encoder;
use crate::quantize::nf4::{Nf4Encoder, Scales};

pub(super) const CHECKS: &[Check] = &[
    ("nf4, plain and double", 1e-6, 4e-3, |at| {
        let (rows, columns) = (40, 136);
        let weight = random("weight", rows * columns, 1.0);
        let like = at.active("like", [1, 1]);
        let mut outputs = Vec::new();
        for double in [false, true] {
            let mut encoder = Nf4Encoder::new(rows * columns);
            encoder.push(&weight).map_err(|error| DeviceFailed(error.to_string()))?;
            let packed = encoder.finish(double).map_err(|error| DeviceFailed(error.to_string()))?;
            let codes = at.place.bytes(&packed.codes);
            let vector = |values: &[f32]| at.place.full(on_cpu([values.len()], values));
            for (first, count) in [(0, rows), (7, 9)] {
                outputs.push(fetch(&match &packed.scales {
                    Scales::Plain(absmax) => kernels::nf4_rows(&like, &vector(absmax), &codes, first, count, columns),
                    Scales::Double { codes: absmax, scales, offset } => {
                        let (scales, absmax) = (vector(scales), at.place.bytes(absmax));
                        let double = DoubleQuantized { offset: *offset };
                        kernels::nf4_double_rows(&like, &scales, &absmax, &codes, double, first, count, columns)
                    }
                })?);
            }
        }
        Ok(outputs)
    }),
    ("int8", 1e-6, 4e-3, |at| {
        let (rows, columns) = (12, 40);
        let mut encoder = Int8Encoder::new(rows, columns);
        encoder.push(&random("weight", rows * columns, 1.0)).map_err(|error| DeviceFailed(error.to_string()))?;
        let packed = encoder.finish();
        let codes = at.place.bytes(bytemuck::cast_slice(&packed.codes));
        let scales = at.place.full(on_cpu([rows], &packed.scales));
        let dense = kernels::int8_rows(&at.active("like", [1, 1]), &scales, &codes, 3, 5, columns);
        Ok(vec![fetch(&dense)?])
    }),
];
