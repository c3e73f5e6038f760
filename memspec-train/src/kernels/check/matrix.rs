//! Matrix products.

use super::inputs::Check;
use crate::kernels::place::fetch;
use crate::kernels::{self, Product, buffer, product};

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
];
