//! # context-shorter-than-images (TOK013)
//!
//! ## What it does
//! Finds samples whose images alone take the whole `context`.
//!
//! ## Why is this bad?
//! The sample is cut within its images' tokens; transformers stops ("Image features and image tokens do not match").
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data { context = 256tok; images = 1; image_size = "1344x896" }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data { context = 2048tok; images = 1; image_size = "1344x896" }
//! ```
//!
//! ## References
//! - transformers 5.17, `models/qwen2_vl/modeling_qwen2_vl.py`: `get_placeholder_mask`

use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| tokens(setup).is_some_and(|tokens| tokens >= setup.data.context))?;
        let (images, tokens) = (setup.data.images, tokens(setup)?);
        let which = if images == 1 { "the image takes".to_owned() } else { format!("the {images} images take") };
        Some(
            Finding::new(rule, format!("{which} {tokens} tokens of a context of {}", setup.data.context))
                .at(plan.written, "data.context", "cuts the images")
                .at(plan.written, "data.image_size", "")
                .help(format!("use a context well above {tokens}, or smaller images")),
        )
    })
}

/// Tokens of a sample's images.
fn tokens(setup: &Setup) -> Option<u64> {
    let size = setup.data.image_size.filter(|_| setup.data.images > 0)?;
    let tokens = setup.model.vision.as_ref()?.tokens(u64::from(size.width), u64::from(size.height)).ok()?;
    Some(tokens.saturating_mul(u64::from(setup.data.images)))
}
