use super::*;
use crate::testing::{Gguf, f32_bytes, fixture, safetensors, write};
use ::safetensors::SafeTensors;
use proptest::prelude::*;

const TWO: &str = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}}"#;

fn two() -> Vec<u8> {
    safetensors(TWO, &f32_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0]))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

/// Opening fails, and the message has every one of `parts`.
fn check_fails(path: &Path, parts: &[&str]) {
    let error = Checkpoint::open(path).map(|_| ()).expect_err("this must not open");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn values_come_back_in_order_and_by_range() {
    let folder = folder();
    write(folder.path(), "model.safetensors", two());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(checkpoint.shape("a").unwrap(), [2, 2]);
    assert_eq!(checkpoint.dtype("a").unwrap(), Encoding::F32);
    assert_eq!(checkpoint.stored_bytes(), 20);
    assert_eq!(checkpoint.read_all("a").unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let mut piece = [0.0; 2];
    checkpoint.read_f32("a", 1..3, &mut piece).unwrap();
    assert_eq!(piece, [2.0, 3.0]);
}

#[test]
fn half_precision_becomes_f32() {
    let folder = folder();
    let header = r#"{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}}"#;
    let mut data = Vec::new();
    data.extend([0.5, -2.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()));
    data.extend([0.25, -3.0].iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()));
    let path = write(folder.path(), "x.safetensors", safetensors(header, &data));
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!(checkpoint.read_all("h").unwrap(), [0.5, -2.0]);
    assert_eq!(checkpoint.read_all("b").unwrap(), [0.25, -3.0]);
}

#[test]
fn a_long_tensor_goes_through_a_small_scratch() {
    let folder = folder();
    let values: Vec<f32> = (0..200_000).map(|i| i as f32).collect();
    let header = r#"{"a":{"dtype":"F32","shape":[200000],"data_offsets":[0,800000]}}"#;
    write(folder.path(), "model.safetensors", safetensors(header, &f32_bytes(&values)));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.read_all("a").unwrap(), values);
    assert!(checkpoint.scratch.lock().unwrap().capacity() <= SCRATCH_BYTES);
}

#[test]
fn broken_safetensors_are_named_and_explained() {
    let check = |bytes: &[u8], parts: &[&str]| {
        let folder = folder();
        write(folder.path(), "model.safetensors", bytes);
        check_fails(folder.path(), parts);
    };
    let whole = two();
    check(&whole[..whole.len() - 1], &["model.safetensors", "cut short", "fetch the file again"]);
    check(&whole[..40], &["cut short"]);
    check(&[], &["cut short"]);
    check(&u64::MAX.to_le_bytes(), &["claims to be 18446744073709551615 bytes"]);
    check(&99_000_000_u64.to_le_bytes(), &["header needs 99000008"]);
    check(&safetensors("not json", &[]), &["broken header"]);
    check(&safetensors("[1]", &[]), &["broken header"]);
    let one = |entry: &str| safetensors(&format!(r#"{{"a":{entry}}}"#), &[0; 16]);
    check(&one(r#"{"dtype":"F32","shape":[4],"data_offsets":[16,0]}"#), &["`a`", "before they begin"]);
    check(&one(r#"{"dtype":"F32","shape":[9],"data_offsets":[0,36]}"#), &["cut short"]);
    check(&one(r#"{"dtype":"F32","shape":[5],"data_offsets":[0,16]}"#), &["`a`", "takes 20 bytes", "16"]);
    check(&one(r#"{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,16]}"#), &["more elements"]);
    check(&one(r#"{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]}"#), &["`a`", "beyond any file"]);
    check(&one(r#"{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}"#), &["broken header", "`a`"]);
    check(&one(r#"{"dtype":"Q9","shape":[4],"data_offsets":[0,16]}"#), &["unknown dtype `Q9`"]);
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    check(&safetensors(overlap, &[0; 12]), &["`a` and `b` overlap"]);
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    check(&safetensors(twice, &[0; 8]), &["`a` is there twice"]);
}

#[test]
fn a_wrong_question_about_a_tensor_is_answered() {
    let folder = folder();
    let header = r#"{"layer.q_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"packed":{"dtype":"U8","shape":[4],"data_offsets":[16,20]}}"#;
    write(folder.path(), "model.safetensors", safetensors(header, &[0; 20]));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let check = |result: Result<(), CheckpointError>, parts: &[&str]| {
        let message = result.expect_err("a wrong question").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    check(
        checkpoint.read_all("layer.q_prj.weight").map(|_| ()),
        &["layer.q_prj.weight", "nearest is `layer.q_proj.weight`"],
    );
    check(checkpoint.expect_shape("layer.q_proj.weight", &[2, 3]), &["[2, 2]", "[2, 3]"]);
    check(checkpoint.expect_shape("packed", &[4]), &["U8", "original weights"]);
    check(checkpoint.read_all("packed").map(|_| ()), &["U8"]);
    check(checkpoint.read_f32("layer.q_proj.weight", 2..5, &mut [0.0; 3]), &["4 elements", "2..5"]);
    check(checkpoint.read_f32("layer.q_proj.weight", 0..2, &mut [0.0; 3]), &["room for 3"]);
    assert!(checkpoint.expect_shape("layer.q_proj.weight", &[2, 2]).is_ok());
}

fn shard(name: &str) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
    safetensors(&header, &f32_bytes(&[7.0]))
}

#[test]
fn shards_are_read_as_one() {
    let folder = folder();
    write(folder.path(), "one.safetensors", shard("a"));
    write(folder.path(), "two.safetensors", shard("b"));
    let index = r#"{"metadata":{},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    write(folder.path(), "model.safetensors.index.json", index);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.read_all("a").unwrap(), [7.0]);
    assert_eq!(checkpoint.read_all("b").unwrap(), [7.0]);
}

#[test]
fn shards_stay_in_the_folder() {
    let outside = folder();
    write(outside.path(), "secret.safetensors", shard("a"));
    let check = |index: &str, parts: &[&str]| {
        let folder = folder();
        write(folder.path(), "one.safetensors", shard("a"));
        write(folder.path(), "again.safetensors", shard("a"));
        write(folder.path(), "model.safetensors.index.json", index);
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path().join("secret.safetensors"), folder.path().join("link.safetensors"))
            .unwrap();
        check_fails(folder.path(), parts);
    };
    let absolute = outside.path().join("secret.safetensors").display().to_string();
    check(&format!(r#"{{"weight_map":{{"a":"{absolute}"}}}}"#), &["outside the model's folder", "absolute"]);
    check(r#"{"weight_map":{"a":"../x.safetensors"}}"#, &["outside the model's folder", "`..`"]);
    #[cfg(unix)]
    check(r#"{"weight_map":{"a":"link.safetensors"}}"#, &["outside the model's folder", "a link to"]);
    check(r#"{"weight_map":{"a":"gone.safetensors"}}"#, &["gone.safetensors", "fetch the missing file"]);
    check(r#"{"weight_map":{"b":"one.safetensors"}}"#, &["`b`", "is not"]);
    let both = r#"{"weight_map":{"a":"one.safetensors","x":"again.safetensors"}}"#;
    check(both, &["`x`", "is not"]);
    check(r#"{"weight_map":{}}"#, &["weight_map is empty"]);
    check("{", &["model.safetensors.index.json", "broken header"]);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = folder();
    write(folder.path(), "one.safetensors", two());
    write(folder.path(), "two.safetensors", shard("b"));
    let index = r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    write(folder.path(), "model.safetensors.index.json", index);
    check_fails(folder.path(), &["two.safetensors", "`b` is there twice", "also in", "one.safetensors"]);
}

#[cfg(unix)]
#[test]
fn the_hub_caches_links_are_followed() {
    let cache = folder();
    let repository = cache.path().join("models--owner--name");
    let snapshot = repository.join("snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    write(&repository.join("blobs"), "f00d", two());
    std::os::unix::fs::symlink("../../blobs/f00d", snapshot.join("model.safetensors")).unwrap();
    assert!(Checkpoint::open(&snapshot).is_ok());
}

#[test]
fn a_folder_without_weights_says_what_was_looked_for() {
    let folder = folder();
    check_fails(folder.path(), &["no weights", "model.safetensors", ".gguf", "give the folder"]);
    write(folder.path(), "pytorch_model.bin", "x");
    check_fails(folder.path(), &["pickles", "safe_serialization"]);
    check_fails(&folder.path().join("nowhere"), &["nowhere", "check that the file exists"]);
}

#[test]
fn ggml_blocks_decode_as_the_reference_does() {
    let bytes = fixture("ggml_blocks.safetensors");
    let blocks = SafeTensors::deserialize(&bytes).unwrap();
    for encoding in [
        Encoding::Q4_0,
        Encoding::Q4_1,
        Encoding::Q5_0,
        Encoding::Q5_1,
        Encoding::Q8_0,
        Encoding::Q4K,
        Encoding::Q5K,
        Encoding::Q6K,
    ] {
        let stored = blocks.tensor(&format!("{encoding}.bytes")).unwrap();
        let expected = blocks.tensor(&format!("{encoding}.values")).unwrap();
        let expected: Vec<f32> =
            expected.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let mut values = vec![0.0; expected.len()];
        encoding::decode(encoding, stored.data(), &mut values);
        assert_eq!(values, expected, "{encoding}");
    }
}

fn llama() -> Gguf {
    Gguf::default()
        .text("general.architecture", "llama")
        .number("llama.attention.head_count", 2)
        .number("llama.attention.head_count_kv", 1)
}

#[test]
fn gguf_tensors_have_hugging_faces_names_and_rows() {
    // the converter's permute of rows 0..8 (two heads of four): reshape (2, 2, 2), swap the last two
    let stored: Vec<f32> = [0, 2, 1, 3, 4, 6, 5, 7].iter().flat_map(|&row| [row as f32, row as f32 + 0.5]).collect();
    let plain: Vec<f32> = (0..8).flat_map(|row| [row as f32, row as f32 + 0.5]).collect();
    let folder = folder();
    let file = llama()
        .tensor("blk.3.attn_q.weight", &[8, 2], 0, &f32_bytes(&stored))
        .tensor("blk.3.attn_v.weight", &[8, 2], 0, &f32_bytes(&plain))
        .tensor("token_embd.weight", &[1, 2], 0, &f32_bytes(&[1.0, 2.0]))
        .tensor("rope_freqs.weight", &[1], 0, &f32_bytes(&[1.0]));
    write(folder.path(), "m.gguf", file.bytes());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let names: Vec<_> = checkpoint.names().collect();
    assert_eq!(
        names,
        [
            "model.layers.3.self_attn.q_proj.weight",
            "model.layers.3.self_attn.v_proj.weight",
            "model.embed_tokens.weight",
            "rope_freqs.weight"
        ]
    );
    assert_eq!(checkpoint.shape(names[0]).unwrap(), [8, 2]);
    assert_eq!(checkpoint.read_all(names[0]).unwrap(), plain);
    assert_eq!(checkpoint.read_all(names[1]).unwrap(), plain);
    let mut piece = [0.0; 5];
    checkpoint.read_f32(names[0], 3..8, &mut piece).unwrap();
    assert_eq!(piece, plain[3..8]);
}

#[test]
fn gguf_blocks_are_read_from_any_element_on() {
    let bytes = fixture("ggml_blocks.safetensors");
    let blocks = SafeTensors::deserialize(&bytes).unwrap();
    let folder = folder();
    let file = llama().tensor("blk.0.ffn_up.weight", &[2, 128], 3, blocks.tensor("Q4_1.bytes").unwrap().data());
    let path = write(folder.path(), "m.gguf", file.bytes());
    let checkpoint = Checkpoint::open(path).unwrap();
    let name = "model.layers.0.mlp.up_proj.weight";
    let all = checkpoint.read_all(name).unwrap();
    proptest!(|(a in 0_usize..256, b in 0_usize..=256)| {
        let (start, end) = (a.min(b), a.max(b));
        let mut piece = vec![0.0; end - start];
        checkpoint.read_f32(name, start..end, &mut piece).unwrap();
        prop_assert_eq!(&piece, &all[start..end]);
    });
}

#[test]
fn broken_ggufs_are_named_and_explained() {
    let check = |bytes: &[u8], parts: &[&str]| {
        let folder = folder();
        let path = write(folder.path(), "m.gguf", bytes);
        check_fails(&path, parts);
    };
    let whole = llama().tensor("blk.0.attn_v.weight", &[8, 2], 0, &[0; 64]).bytes();
    check(&whole[..whole.len() - 1], &["m.gguf", "blk.0.attn_v.weight", "cut short"]);
    check(&whole[..20], &["m.gguf"]);
    check(b"PK\x03\x04....", &["not a GGUF"]);
    let huge = [&whole[..8], &u64::MAX.to_le_bytes(), &whole[16..]].concat();
    check(&huge, &["cut short"]);
    check(&llama().tensor("blk.0.attn_q.weight", &[6, 1], 0, &[0; 24]).bytes(), &["6 rows", "head_count"]);
    let twice = llama().tensor("a", &[1], 0, &[0; 4]).tensor("a", &[1], 0, &[0; 4]);
    check(&twice.bytes(), &["`a`", "twice"]);
}

#[test]
fn written_files_are_read_by_the_reference_and_by_us() {
    let folder = folder();
    let path = folder.path().join("new/adapter.safetensors");
    let specs = [("b", vec![2, 3]), ("a", vec![1])].map(|(name, shape)| TensorSpec { name: name.to_owned(), shape });
    let values = [vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![9.0]];
    write_safetensors(&path, &specs, |index| values[index].clone()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.tensor("b").unwrap().shape(), [2, 3]);
    assert_eq!(reference.tensor("b").unwrap().data(), f32_bytes(&values[0]));
    assert_eq!(Checkpoint::open(&path).unwrap().read_all("a").unwrap(), [9.0]);
}

#[test]
fn a_failed_write_leaves_the_old_file_alone() {
    let folder = folder();
    let path = write(folder.path(), "kept", "old");
    let full = write_atomically(&path, |out| {
        out.write_all(b"half of the new")?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    let message = full.unwrap_err().to_string();
    assert!(message.contains("disk is full") && message.contains("kept"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left behind");
    let denied = WriteError::new(&path, std::io::ErrorKind::PermissionDenied.into()).to_string();
    assert!(denied.contains("set `output`"), "{denied}");
    let wrong = write_safetensors(&path, &[TensorSpec { name: "a".into(), shape: vec![2] }], |_| vec![1.0]);
    assert!(wrong.unwrap_err().to_string().contains("1 values for the shape [2]"));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
}

proptest! {
    /// Any bytes give an error or a checkpoint, never a panic, and what opens can be read.
    #[test]
    fn any_header_is_survived(damage in proptest::collection::vec((0_usize..150, any::<u8>()), 0..6), cut in 0_usize..160) {
        let folder = folder();
        let mut bytes = two();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut % 8);
        let path = write(folder.path(), "x.safetensors", &bytes);
        if let Ok(checkpoint) = Checkpoint::open(path) {
            for name in checkpoint.names() {
                let _ = checkpoint.read_all(name);
            }
        }
    }
}
