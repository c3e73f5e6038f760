//! # images-without-size (TOK012)
//!
//! ## What it does
//! Finds samples with images whose size the plan does not say.
//!
//! ## Why is this bad?
//! How many patches an image makes depends on its size, and without it none are counted: the estimate is that of the text alone.
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data { context = 2048tok; images = 1 }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data { context = 2048tok; images = 1; image_size = "448x448" }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.images > 0 && setup.data.image_size.is_none() && setup.model.vision.is_some())?;
        Some(
            Finding::new(rule, "the images have no size, so what they take is not counted")
                .at(plan.written, "data.images", "how large?")
                .help("say the largest: `image_size = \"1344x896\"`"),
        )
    })
}
