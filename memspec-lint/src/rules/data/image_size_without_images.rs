//! # image-size-without-images (TOK011)
//!
//! ## What it does
//! Finds `image_size` where samples have no images.
//!
//! ## Why is this bad?
//! It does nothing: `images`, how many a sample has, was forgotten, and none are costed.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; image_size = "448x448" }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.images == 0 && setup.data.image_size.is_some())?;
        Some(
            Finding::new(rule, "samples have no images, so their size does nothing")
                .at(plan.written, "data.image_size", "does nothing")
                .help("say how many a sample has, `images = 1`, or remove it")
                .fix(context.remove(plan, "data.image_size", Applicability::Safe)),
        )
    })
}
