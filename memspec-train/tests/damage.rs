//! Model files that are cut short, that lie, or whose bytes have changed: a report or a run, never a panic.

mod common;

use common::files::safetensors;
use common::{Place, gguf, split};
use serde_json::{Value, json};

const MODEL: &str = "model/model.safetensors";
const Q: &str = "model.layers.0.self_attn.q_proj.weight";
const K: &str = "model.layers.0.self_attn.k_proj.weight";

/// The model with another header does not load.
fn check_header(change: impl FnOnce(&mut Value), says: &[&str]) {
    let place = Place::new();
    let (mut header, data) = split(&std::fs::read(place.path(MODEL)).unwrap());
    change(&mut header);
    place.write(MODEL, safetensors(&header.to_string(), &data)).refuses_to_start(2, says);
}

fn check_bytes(change: impl FnOnce(Vec<u8>) -> Vec<u8>, says: &[&str]) {
    let place = Place::new();
    let bytes = change(std::fs::read(place.path(MODEL)).unwrap());
    place.write(MODEL, bytes).refuses_to_start(2, says);
}

#[test]
fn safetensors_cut_short() {
    check_bytes(
        |mut bytes| bytes.drain(..bytes.len() - 1).collect(),
        &[MODEL, "it was cut short; fetch the file again"],
    );
    check_bytes(|bytes| bytes[..1000].to_vec(), &["it was cut short"]);
    check_bytes(|bytes| bytes[..5].to_vec(), &["it was cut short"]);
    check_bytes(|_| Vec::new(), &["it was cut short"]);
    check_bytes(|_| b"<!DOCTYPE html><title>404</title>".to_vec(), &["broken header", "fetch the file again"]);
}

#[test]
fn safetensors_that_lie() {
    let length = |length: u64| move |bytes: Vec<u8>| [&length.to_le_bytes(), &bytes[8..]].concat();
    check_bytes(length(u64::MAX), &["broken header", "18446744073709551615 bytes"]);
    check_bytes(length(99_000_000), &["it was cut short"]);
    check_bytes(length(3), &["broken header"]);

    check_header(|header| header[Q]["shape"] = json!([128, 127]), &[Q, "the shape [128, 127] as BF16 takes"]);
    check_header(|header| header[Q]["shape"] = json!([u64::MAX, u64::MAX]), &[Q, "more elements than can be counted"]);
    check_header(|header| header[Q]["shape"] = json!([1_u64 << 62, 8]), &[Q]);
    check_header(|header| header[Q]["shape"] = json!([-1, 128]), &["broken header", Q]);
    check_header(|header| header[Q]["shape"] = json!([64, 256]), &[Q, "has the shape [64, 256]", "says [128, 128]"]);
    check_header(|header| header[Q]["dtype"] = json!("F9"), &[Q, "unknown dtype `F9`"]);
    let stored = |header: &mut Value| {
        header[Q] = json!({"dtype": "I16", "shape": [128, 128], "data_offsets": header[Q]["data_offsets"]})
    };
    check_header(stored, &[Q, "stored as I16", "original weights"]);
    check_header(|header| header[Q]["data_offsets"] = json!([0, u64::MAX]), &[Q]);
    check_header(|header| header[Q]["data_offsets"] = json!([100, 50]), &[Q, "end (50) before they begin (100)"]);
    let past = |header: &mut Value| header[Q]["data_offsets"] = json!([1_u64 << 40, (1_u64 << 40) + 32768]);
    check_header(past, &["it was cut short"]);
    let overlap = |header: &mut Value| {
        let begin = header[Q]["data_offsets"][0].as_u64().unwrap() + 2;
        header[K]["data_offsets"] = json!([begin, begin + 64 * 128 * 2]);
    };
    check_header(overlap, &[Q, K, "overlap"]);
    let missing = |header: &mut Value| drop(header.as_object_mut().unwrap().remove(Q));
    check_header(missing, &["no tensor", Q, "is this the model that the plan names?"]);
    check_header(|header| *header = json!({}), &["no tensor `model.embed_tokens.weight`"]);
    check_header(|header| *header = json!([]), &["broken header"]);
}

#[test]
fn an_index_of_shards() {
    let place = Place::new();
    let (header, data) = split(&std::fs::read(place.path(MODEL)).unwrap());
    let names: Vec<&String> = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__").collect();
    // two shards, each with a part of the header and all bytes
    let shard = |of: usize| {
        let part: serde_json::Map<String, Value> =
            names.iter().skip(of).step_by(2).map(|&name| (name.clone(), header[name].clone())).collect();
        safetensors(&Value::Object(part).to_string(), &data)
    };
    let index = |second: &str| {
        let map: serde_json::Map<String, Value> = names
            .iter()
            .enumerate()
            .map(|(at, &name)| (name.clone(), [json!("a.safetensors"), json!(second)][at % 2].clone()))
            .collect();
        json!({ "weight_map": map }).to_string()
    };
    let whole = {
        place.run(&["--quiet"]);
        place.losses("out")
    };
    std::fs::remove_dir_all(place.path("out")).unwrap();
    place.remove(MODEL).write("model/a.safetensors", shard(0)).write("model/b.safetensors", shard(1));
    place.write("outside.safetensors", shard(1));

    let check = |second: &str, says: &[&str]| {
        place.write("model/model.safetensors.index.json", index(second)).refuses_to_start(2, says);
    };
    check("../outside.safetensors", &["`../outside.safetensors` is outside the model's folder", "copy the file there"]);
    let absolute = place.path("outside.safetensors");
    check(absolute.to_str().unwrap(), &["is outside the model's folder"]);
    check("c.safetensors", &["the index names `c.safetensors`, which is not in the folder"]);
    check("a.safetensors", &["a.safetensors"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, place.path("model/link.safetensors")).unwrap();
        check("link.safetensors", &["`link.safetensors` is outside the model's folder"]);
    }
    place.write("model/model.safetensors.index.json", "{").refuses_to_start(2, &["model.safetensors.index.json"]);
    place.write("model/model.safetensors.index.json", index("b.safetensors")).run(&["--quiet"]);
    assert_eq!(place.losses("out"), whole);
}

#[test]
fn a_gguf_file_trains_as_its_folder_does() {
    let place = Place::new();
    place.run(&["--quiet"]);
    let folder = place.losses("out");
    place.write("model.gguf", gguf::of(&place).bytes()).plan(&[("\"model\"", "\"model.gguf\"")]);
    place.run(&["--overwrite", "--quiet"]);
    assert_eq!(place.losses("out"), folder);
    let done = place.call(&["generate", "plan.mem", "--prompt", "What does the smith sell?"]);
    assert_eq!(done.stdout.trim(), "The smith sells iron pots.", "{}", done.stderr);
}

#[test]
fn gguf_files_that_are_cut_short_or_lie() {
    let place = Place::new();
    place.plan(&[("\"model\"", "\"model.gguf\"")]);
    let good = gguf::of(&place).bytes();
    let check = |bytes: &[u8], says: &[&str]| place.write("model.gguf", bytes).refuses_to_start(2, says);
    // the counts of tensors and of metadata stand behind the magic and the version
    let with = |at: usize, number: u64| [&good[..at], &number.to_le_bytes(), &good[at + 8..]].concat();
    check(&good[..good.len() - 100], &["model.gguf"]);
    check(&good[..2000], &["model.gguf"]);
    check(&good[..20], &["model.gguf"]);
    check(b"GGUF", &["model.gguf"]);
    check(b"", &["model.gguf"]);
    check(&with(8, u64::MAX), &["model.gguf"]);
    check(&with(16, u64::MAX), &["model.gguf"]);
    check(&with(8, 1 << 40), &["model.gguf"]);
    check(&with(24, u64::MAX), &["model.gguf"]);
    check(&[&good[..4], &9_u32.to_le_bytes(), &good[8..]].concat(), &["model.gguf", "version"]);

    let check = |gguf: common::files::Gguf, says: &[&str]| check(&gguf.bytes(), says);
    check(gguf::of(&place).tensor("blk.0.attn_q.weight", &[1, 1], 0, &[0; 4]), &["blk.0.attn_q.weight", "twice"]);
    check(gguf::of(&place).tensor("huge", &[1 << 40, 1 << 30], 0, &[0; 4]), &["huge"]);
    check(gguf::of(&place).tensor("past", &[1 << 30], 0, &[0; 4]), &["past"]);
    check(gguf::of(&place).tensor("strange", &[32], 999, &[0; 4]), &["strange"]);
}

/// Bytes changed and cut at random places, by a generator of its own so that a failure is there again.
#[test]
fn random_damage_is_no_panic() {
    let place = Place::new();
    let text = std::fs::read_to_string(place.path("train.jsonl")).unwrap();
    place.write("train.jsonl", text.lines().take(4).collect::<Vec<_>>().join("\n"));
    let safetensors = std::fs::read(place.path(MODEL)).unwrap();
    let header = u64::from_le_bytes(safetensors[..8].try_into().unwrap()) as usize;
    let gguf = gguf::of(&place).bytes();
    let files = [
        ("model", MODEL, &safetensors, 8 + header),
        ("model.gguf", "model.gguf", &gguf, gguf.len() - (safetensors.len() - header)),
    ];
    let mut state = 0x9e37_79b9_u64;
    let mut random = |below: usize| {
        // the generator of Knuth's MMIX
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    let (mut refused, mut ran) = (0, 0);
    for case in 0..160 {
        let (model, path, good, header) = &files[case % 2];
        let mut bytes = (*good).clone();
        for _ in 0..=random(3) {
            // mostly in the header, where bytes mean something
            let at = if random(5) > 0 { random(*header) } else { random(bytes.len()) };
            bytes[at] = if random(2) == 0 { bytes[at] ^ (1 << random(8)) } else { random(256) as u8 };
        }
        if random(6) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        place.write(path, &bytes).plan(&[("\"model\"", &format!("\"{model}\"")), ("steps         = 4", "steps = 1")]);
        let done = place.call(&["run", "plan.mem", "--overwrite", "--quiet"]);
        match done.code {
            Some(0) => ran += 1,
            _ => {
                done.refused(2, &[]);
                refused += 1;
            }
        }
    }
    assert!(refused > 20 && ran > 5, "{refused} refused, {ran} ran");
}
