//! Models that see: what an image's size, and the names of an adapter's targets, cost in each family of towers.

use memspec::cost::engine::trl;
use memspec::cost::{CostError, Event, estimate, peak_allocated};
use memspec::exchange::job::Job;
use memspec::setup::Setup;
use serde_json::{Value, json};

fn setup(job: Value) -> Setup {
    Job::read(&job).unwrap().setup("h100-80").unwrap()
}

fn peak(model: &str, images: u32, size: &str) -> u64 {
    peak_allocated(&setup(json!({"model": model, "layers": 6, "seq": 2048, "images": images, "image_px": size})))
        .unwrap()
}

#[test]
fn an_images_pixels_take_what_the_processor_makes_of_them() {
    for model in ["qwen2-vl-7b", "qwen2.5-vl-7b", "qwen3-vl-4b", "mistral-small-3.1-24b"] {
        let [none, small, large] = [peak(model, 0, "448x448"), peak(model, 1, "448x448"), peak(model, 1, "1344x896")];
        assert!(none < small && small < large, "{model}: {none} {small} {large}");
    }
    // Their processors make one square of every image.
    for model in ["gemma3-4b", "llava-1.5-7b"] {
        let [none, small, large] = [peak(model, 0, "448x448"), peak(model, 1, "448x448"), peak(model, 1, "1344x896")];
        assert!(none < small && small == large, "{model}: {none} {small} {large}");
        assert!(peak(model, 2, "448x448") > small, "{model}");
    }
}

/// Parameters of all adapters, by what the engine allocates for them in float32.
fn adapted(model: &str, layers: u64, targets: &str) -> u64 {
    let job = json!({"model": model, "layers": layers, "targets": targets, "images": 1, "image_px": "448x448"});
    let trace = trl::trace(&setup(job)).unwrap();
    let allocated = trace.events().iter().filter_map(|event| match event {
        Event::Allocate(tensor) => Some(trace.tensor(*tensor)),
        _ => None,
    });
    allocated.filter(|entry| entry.part.what == "adapter weights").map(|entry| entry.bytes / 4).sum()
}

#[test]
fn adapters_go_on_what_their_names_end_in_the_tower_too() {
    // `trainable` of measured runs.
    assert_eq!(adapted("qwen2.5-vl-7b", 10, "attn"), 3_604_480);
    assert_eq!(adapted("qwen2.5-vl-7b", 10, "all"), 16_673_920);
    assert_eq!(adapted("qwen2.5-vl-7b", 10, "all-linear"), 18_205_824);
    assert_eq!(adapted("llava-1.5-7b", 6, "attn"), 3_735_552);
    assert_eq!(adapted("llava-1.5-7b", 6, "all"), 8_085_504);
    assert_eq!(adapted("llava-1.5-7b", 6, "all-linear"), 9_478_144);
    assert_eq!(adapted("gemma3-4b", 7, "attn"), 2_609_152);
    assert_eq!(adapted("gemma3-4b", 7, "all-linear"), 8_390_144);
    assert_eq!(adapted("qwen3-vl-4b", 18, "all"), 16_515_072);
    assert_eq!(adapted("qwen3-vl-4b", 18, "all-linear"), 22_183_936);
    assert_eq!(adapted("mistral-small-3.1-24b", 6, "attn"), 3_735_552);
    assert_eq!(adapted("mistral-small-3.1-24b", 6, "all-linear"), 16_465_920);
}

#[test]
fn what_nobody_reads_is_adapted_and_not_stepped() {
    // LLaVA reads the layer before the tower's last: the last one's adapters have no gradient, so the optimizer keeps no states for them.
    let states = |model: &str, images: u32| {
        let job = json!({"model": model, "layers": 6, "targets": "attn", "images": images, "image_px": "336x336"});
        let trace = trl::trace_in_full(&setup(job)).unwrap();
        let tensors = trace.events().iter().filter_map(|event| match event {
            Event::Allocate(tensor) => Some(trace.tensor(*tensor)),
            _ => None,
        });
        tensors.filter(|entry| entry.part.what == "optimizer states" && entry.bytes > 4).count()
    };
    // Two states for each of two matrices of four linears in a decoder block, and of three in a block of the tower.
    let decoder = 6 * 4 * 2 * 2;
    assert_eq!(states("llava-1.5-7b", 1), decoder + 5 * 3 * 2 * 2);
    assert_eq!(states("gemma3-4b", 1), decoder + 6 * 3 * 2 * 2);
    // Without an image nothing comes to the tower.
    assert_eq!(states("gemma3-4b", 0), decoder);
}

#[test]
fn a_full_fine_tune_steps_every_weight_that_an_image_reaches() {
    // Bytes of both states of all parameters, in float32, and parameters of the model.
    let stepped = |model: &str, images: u32| {
        let size = if images > 0 { json!("448x448") } else { Value::Null };
        let mut job = json!({"model": model, "layers": 6, "method": "full", "images": images});
        if images > 0 {
            job["image_px"] = size;
        }
        let setup = setup(job);
        let trace = trl::trace_in_full(&setup).unwrap();
        let states = trace.events().iter().filter_map(|event| match event {
            Event::Allocate(tensor) => Some(trace.tensor(*tensor)),
            _ => None,
        });
        let states = states.filter(|entry| entry.part.what == "optimizer states" && entry.bytes > 4);
        (states.map(|entry| entry.bytes / 8).sum::<u64>(), setup.model)
    };
    for model in ["qwen2-vl-7b", "qwen2.5-vl-7b", "gemma3-4b", "qwen3-vl-4b", "mistral-small-3.1-24b"] {
        let (states, architecture) = stepped(model, 1);
        let reached = architecture.parameters()
            - match &architecture.vision {
                // Cut to six blocks, the depths of two further mergers are not there.
                Some(vision) if model == "qwen3-vl-4b" => {
                    let square = vision.merge * vision.merge * vision.hidden;
                    let linears = (square + 1) * square + (square + 1) * architecture.hidden;
                    2 * (linears + 2 * square)
                }
                _ => 0,
            };
        assert_eq!(states, reached, "{model}");
    }
    // LLaVA's last block, and the norm after it, are not read.
    let (states, architecture) = stepped("llava-1.5-7b", 1);
    let width = 1024;
    let block = 4 * (width + 1) * width + (width + 1) * 4 * width + (4 * width + 1) * width + 4 * width;
    assert_eq!(states, architecture.parameters() - block - 2 * width);
    // Without an image nothing comes to the tower.
    let (states, architecture) = stepped("gemma3-4b", 0);
    let tower = architecture.vision.as_ref().unwrap().parameters(architecture.hidden);
    assert_eq!(states, architecture.parameters() - tower);
}

#[test]
fn what_is_not_costed_of_towers_is_refused_by_its_setting() {
    let check = |change: Value, expected: &str| {
        let mut job = json!({"model": "qwen2.5-vl-7b", "images": 1, "image_px": "448x448"});
        for (key, value) in change.as_object().unwrap() {
            job[key] = value.clone();
        }
        match estimate(&setup(job)) {
            Err(CostError::Unsupported { setting, .. }) => assert_eq!(setting, expected, "{change}"),
            other => panic!("{change}: {other:?}"),
        }
    };
    check(json!({"liger": true}), "train.liger");
    check(json!({"world": 2, "shard": "ddp"}), "parallel");
    check(json!({"method": "full", "images": 0, "world": 2, "shard": "fsdp2"}), "parallel");
}
