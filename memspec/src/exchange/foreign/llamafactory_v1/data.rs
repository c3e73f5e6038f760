//! What LLaMA-Factory's version 1 trains on, and for how long.

use super::super::read::Reading;
use super::super::write::Writing;
use super::parallel::cards;
use crate::plan::Value;

pub(super) fn read(file: &mut Reading<'_>) {
    if file.text("train_dataset").is_some_and(|path| path.ends_with(".yaml")) {
        file.aside("train_dataset", "a list of datasets: what is in them is not read");
    }
    file.set_word("data.padding", "longest", "batching_strategy");
    // `core/utils/rendering.py`: answers have weight 1, all else 0, unless a sample says otherwise.
    file.set_word("data.loss_on", "assistant", "train_dataset");
    let key = "batching_strategy";
    let packing = match file.text(key).as_deref() {
        Some("normal") => false,
        Some("dynamic_batching") => {
            let how = "as many samples as fill `micro_batch_size` times `cutoff_len` tokens: they are costed as `micro_batch_size` whole ones";
            file.differ(key, how);
            false
        }
        Some("padding_free") => {
            file.differ(
                key,
                "`micro_batch_size` samples in a row, which are costed as if each were as long as it may be",
            );
            true
        }
        Some("dynamic_padding_free") => true,
        _ => return file.refuse(key, "it is normal, padding_free, dynamic_batching or dynamic_padding_free"),
    };
    file.set("data.packing", Value::Bool(packing), key);
}

pub(super) fn write(plan: &mut Writing) {
    let packed = plan.take("data.packing") == Some(true.into());
    if packed {
        plan.put("batching_strategy", "dynamic_padding_free");
    }
    if plan.take_word("data.padding").is_some_and(|padding| padding != "longest") {
        plan.lose("data.padding", "LLaMA-Factory fills samples to the batch's longest");
    }
    if plan.take_word("data.loss_on").as_deref() != Some("assistant") {
        plan.lose("data.loss_on", "samples say what counts of them, by `loss_weight`");
    }
}

/// `global_batch_size` is that of all cards (`core/utils/batching.py:91`).
pub(super) fn read_batch(file: &mut Reading<'_>) {
    let key = "global_batch_size";
    let Some(global) = file.number(key) else {
        return file.set_number("train.accumulate", 1.0, key);
    };
    let context = file.number("dist_config.cp_size").unwrap_or(1.0);
    let copies = cards(file).map_or(1.0, |(cards, _)| cards / context);
    let micro = file.number("micro_batch_size").unwrap_or(1.0);
    let steps = global / (micro * copies);
    if steps >= 1.0 && steps.fract() == 0.0 {
        file.set_number("train.accumulate", steps, key);
    } else {
        file.refuse(key, "it is a multiple of `micro_batch_size` times the cards");
    }
}

pub(super) fn write_batch(plan: &mut Writing) {
    let steps = plan.take("train.accumulate").and_then(|steps| steps.as_u64()).unwrap_or(1);
    if steps == 1 {
        return;
    }
    let micro = plan.get("train.micro_batch").and_then(|samples| samples.as_u64()).unwrap_or(1);
    let shared = plan.get("parallel.kind").is_some_and(|kind| kind == "fsdp2" || kind == "zero2" || kind == "zero3");
    let nodes = plan.get("parallel.nodes").and_then(|nodes| nodes.as_u64()).unwrap_or(1);
    let number = |path: &str| plan.get(path).and_then(|number| number.as_u64()).unwrap_or(1);
    let (cards, context) = (number("parallel.gpus"), number("parallel.context"));
    if shared && nodes == 1 && !cards.is_multiple_of(context) {
        return plan.lose("train.accumulate", "a batch is that of all cards, which do not share samples evenly");
    }
    let copies = if shared && nodes == 1 { cards / context } else { 1 };
    plan.put("global_batch_size", steps * micro * copies);
}
