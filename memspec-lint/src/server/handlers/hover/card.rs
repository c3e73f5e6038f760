//! Cards of models and devices.

use std::fmt::Write;

use memspec::device;
use memspec::model;
use memspec::quantity::Bytes;

use super::super::document_link;
use crate::Context;

/// What a model is made of; or why it is not known.
pub(super) fn model(name: &str, context: &Context<'_>) -> Option<String> {
    let found = match model::find(name, context.base, context.environment) {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    let model = &found.architecture;
    let parameters = model.parameters();
    let mut text = format!("**{}**", model.name);
    if let Some(page) = document_link::card(&model.name) {
        let _ = write!(text, " ([card]({page}))");
    }
    text += "\n\n| | |\n| --- | --- |\n";
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("type", model.model_type.clone());
    row("parameters", format!("{:.2} billion", parameters as f64 / 1e9));
    let dtype = format!("{:?}", model.dtype).to_lowercase();
    row("weights", format!("{} as {dtype}", Bytes(parameters.saturating_mul(model.dtype.bytes()))));
    row("layers", model.layers.to_string());
    row("hidden", format!("{}, feed-forward {}", model.hidden, model.intermediate));
    row("heads", format!("{} of {}, {} for keys and values", model.heads, model.head_dim, model.kv_heads));
    row("vocabulary", model.vocab.to_string());
    if let Some(experts) = &model.experts {
        row("experts", format!("{}, {} for each token", experts.count, experts.per_token));
    }
    row("positions", model.max_positions.to_string());
    row(
        "found",
        match found.from {
            model::From::Folder => "in its folder",
            model::From::Gguf => "in its GGUF file",
            model::From::HubCache => "in the local Hugging Face cache",
            model::From::Catalog => "in memspec's catalog",
        }
        .to_owned(),
    );
    Some(text)
}

/// What a device has; or why it is not known.
pub(super) fn device(name: &str) -> Option<String> {
    let device = match device::find(name) {
        Ok(device) => device,
        Err(error) => return Some(error.to_string()),
    };
    let mut text = format!("**{}**\n\n| | |\n| --- | --- |\n", device.title);
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("memory", format!("{}, {} usable", device.memory, device.usable));
    row("bf16", if device.bf16 { "yes" } else { "no, fp16" }.to_owned());
    row("FlashAttention 2", if device.flash2 { "yes" } else { "no" }.to_owned());
    if let Some((major, minor)) = device.compute_capability {
        row("compute capability", format!("{major}.{minor}"));
    }
    if let Some(bandwidth) = device.bandwidth_gbs {
        row("bandwidth", format!("{bandwidth} GB/s"));
    }
    if let Some(rate) = device.tflops_16bit() {
        row("16 bit matrix rate", format!("{rate} TFLOP/s"));
    }
    if let Some(machine) = device.rented(1) {
        row("rented as", machine.name.clone());
    }
    Some(text)
}
