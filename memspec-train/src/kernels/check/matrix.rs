//! Matrix products.

use super::inputs::{Check, Inputs, Outputs, on_cpu};
use crate::kernels::place::fetch;
use crate::kernels::{self, Product, buffer, product};

/// The check that products round what goes into them as the place says, and no more.
pub(super) const ROUNDED: &str = "product rounds its operands";

/// Products of all kinds with parts that begin at odd places of matrices whose rows are odd too: no address but that of the whole is a multiple of
/// more than one element. `[m, n]` are rows and columns of what is computed, `k` the elements of one of its sums.
fn odd(at: &Inputs, [m, n, k]: [usize; 3]) -> Outputs {
    const FIRST: usize = 3;
    let wide = |count| count + FIRST + 3;
    let part = |count| Some((FIRST, count));
    let (x, w, g) = (at.active("x", [m, k]), at.active("w", [wide(n), k]), at.active("g", [m, wide(n)]));
    // Some rows of a weight, written to all columns, and to some columns.
    let rows = Product { b_rows: part(n), ..Product::NT };
    let y = product(buffer(&x, m, n), &x, &w, rows);
    let to_columns = Product { c_columns: part(n), ..rows };
    let columns = product(at.active("y", [m, wide(n)]), &x, &w, to_columns);
    // Their gradient in `x`, and in the weight.
    let how = Product { a_columns: part(n), b_rows: part(n), ..Product::NN };
    let gx = product(at.active("gx", [m, k]), &g, &w, how.added());
    let how = Product { a_columns: part(n), c_rows: part(n), ..Product::TN };
    let gw = product(at.trained("gw", [wide(n), k]), &g, &x, how.added());
    // Onto another tensor: all of it, and a part, around which both have the same numbers.
    let onto = kernels::product_onto(buffer(&x, m, n), &at.active("onto", [m, n]), &x, &w, rows.times(0.5));
    let around = || at.active("around", [m, wide(n)]);
    let part_onto = kernels::product_onto(around(), &around(), &x, &w, to_columns);
    [y, columns, gx, gw, onto, part_onto].iter().map(fetch).collect()
}

pub(super) const CHECKS: &[Check] = &[
    ("product NT, NN, TN", 2e-6, 5e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [64, 96]), at.active("g", [24, 64]));
        let y = product(buffer(&x, 24, 64), &x, &w, Product::NT);
        let gx = product(buffer(&x, 24, 96), &g, &w, Product::NN.times(0.5));
        let gw = product(at.trained("gw", [64, 96]), &g, &x, Product::TN.added());
        let onto = kernels::product_onto(buffer(&x, 24, 64), &g, &x, &w, Product::NT);
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&gw)?, fetch(&onto)?])
    }),
    ("product of columns", 2e-6, 8e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [16, 96]), at.active("g", [24, 64]));
        let y = at.active("y", [24, 64]);
        let y = product(y, &x, &w, Product { c_columns: Some((32, 16)), ..Product::NT });
        let how = Product { a_columns: Some((16, 16)), ..Product::NN };
        let gx = product(at.active("gx", [24, 96]), &g, &w, how.added());
        Ok(vec![fetch(&y)?, fetch(&gx)?])
    }),
    ("product of rows", 2e-6, 8e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [64, 96]), at.active("g", [24, 16]));
        let y = product(buffer(&x, 24, 16), &x, &w, Product { b_rows: Some((32, 16)), ..Product::NT });
        let how = Product { b_rows: Some((48, 16)), ..Product::NN };
        let gx = product(at.active("gx", [24, 96]), &g, &w, how.added());
        let how = Product { c_rows: Some((16, 16)), ..Product::TN };
        let gw = product(at.trained("gw", [64, 96]), &g, &x, how.added());
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&gw)?])
    }),
    ("product of parts at odd addresses", 2e-6, 8e-3, |at| odd(at, [24, 27, 33])),
    ("product of large parts at odd addresses", 2e-6, 8e-3, |at| odd(at, [190, 155, 333])),
    // 1 + 2^-12 is a number of f32, and 1 for TF32 and types of 16 bits: what is rounded too much or too little differs by 2^-12.
    (ROUNDED, 1e-6, 1e-6, |at| {
        let (fine, one) = (at.constant(&[1.0 + 1.0 / 4096.0; 256], 256), at.constant(&[1.0; 256], 256));
        let of = |a, b, how| fetch(&product(buffer(&one, 256, 256), a, b, how));
        let [nt, nn, tn] = [Product::NT, Product::NN, Product::TN];
        Ok(vec![of(&fine, &one, nt)?, of(&one, &fine, nt)?, of(&fine, &one, nn)?, of(&one, &fine, tn)?])
    }),
    // 98304, which has no room in f16, half of it, which has, and 3072. Sums are f32 until they are multiplied.
    ("product that overflows f16", 1e-6, 5e-3, |at| {
        let (a, b) = (at.constant(&[32.0, -32.0, 1.0], 96), at.constant(&[32.0; 5], 96));
        let of = |how| at.kept(&product(buffer(&a, 3, 5), &a, &b, how));
        let half = at.constant(&[49152.0, -49152.0, 1.0], 5);
        let onto = kernels::product_onto(buffer(&a, 3, 5), &half, &a, &b, Product::NT.times(0.5));
        Ok(vec![of(Product::NT)?, of(Product::NT.times(0.5))?, at.kept(&onto)?])
    }),
    // Half of a long sum is 2^21, and the other half takes it off again: however it is divided, nothing of it may be rounded to 16 bits.
    ("product whose sums leave f16", 1e-6, 1e-6, |at| {
        let (rows, count) = (16, 4096);
        let element = |row: usize, i: usize| match i {
            0 => 32.0 + row as f32,
            i if i < count / 2 => 32.0,
            _ => -32.0,
        };
        let values: Vec<f32> = (0..rows * count).map(|i| element(i / count, i % count)).collect();
        let a = at.place.frozen(on_cpu([rows, count], &values));
        let b = at.constant(&[32.0; 16], count);
        Ok(vec![fetch(&product(buffer(&a, rows, 16), &a, &b, Product::NT))?])
    }),
];
