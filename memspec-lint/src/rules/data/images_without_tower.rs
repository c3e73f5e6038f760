//! # images-without-tower (TOK010)
//!
//! ## What it does
//! Finds samples with images for a model that sees none.
//!
//! ## Why is this bad?
//! The model has no vision tower: trainers stop at the first record, or read the text alone.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! data { context = 512tok; images = 1; image_size = "448x448" }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! data { context = 512tok }
//! ```
//!
//! ## Fix safety
//! Unsafe: the samples are read without their images.
//!
//! ## References
//! - TRL, `trainer/sft_trainer.py`: "the provided model does not seem to be a vision-language model"

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.data.images > 0 && setup.model.vision.is_none())?;
        Some(
            Finding::new(rule, format!("`{}` has no vision tower", setup.model_name))
                .at(plan.written, "data.images", "nothing sees them")
                .help("name a model with a vision tower, or leave the images out")
                .fix(context.remove(plan, "data.images", Applicability::Unsafe)),
        )
    })
}
