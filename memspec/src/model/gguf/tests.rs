//! A small file written here, read back, damaged in every way that comes to mind.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::model::{Dtype, Family, RopeScaling};

/// Writes GGUF: what goes into the metadata and the tensor list is the caller's, right or wrong.
struct Writer {
    version: u32,
    metadata: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

impl Writer {
    fn new() -> Writer {
        Writer { version: 3, metadata: Vec::new(), tensors: Vec::new(), data: 0 }
    }

    fn value(mut self, key: &str, id: u32, bytes: &[u8]) -> Writer {
        self.metadata.push([&string(key)[..], &id.to_le_bytes(), bytes].concat());
        self
    }

    fn u32(self, key: &str, value: u32) -> Writer {
        self.value(key, 4, &value.to_le_bytes())
    }

    fn f32(self, key: &str, value: f32) -> Writer {
        self.value(key, 6, &value.to_le_bytes())
    }

    fn text(self, key: &str, value: &str) -> Writer {
        let bytes = string(value);
        self.value(key, 8, &bytes)
    }

    fn strings(self, key: &str, values: &[&str]) -> Writer {
        let mut bytes = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|v| bytes.extend(string(v)));
        self.value(key, 9, &bytes)
    }

    fn tensor_at(mut self, name: &str, dims: &[u64], id: u32, offset: u64) -> Writer {
        let mut bytes = string(name);
        bytes.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
        bytes.extend(id.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    /// A tensor after the others; `dims` row length first, as the file has it.
    fn tensor(mut self, name: &str, dims: &[u64], kind: GgmlType) -> Writer {
        let offset = self.data as u64;
        let bytes = dims.iter().product::<u64>() / kind.block_size() * kind.block_bytes();
        self.data += (bytes as usize).next_multiple_of(32);
        self.tensor_at(name, dims, kind.id(), offset)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        self.metadata.iter().chain(&self.tensors).for_each(|b| out.extend(b));
        out.resize(out.len().next_multiple_of(32), 0);
        out.resize(out.len() + self.data, 7);
        out
    }

    fn read(&self) -> Result<Header, GgufError> {
        read(&self.bytes())
    }

    fn refused(&self, expected: &str) {
        let error = self.read().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(Cursor::new(bytes))
}

/// A Llama of two blocks, its embedding tied.
fn tiny() -> Writer {
    let mut writer = Writer::new()
        .text("general.architecture", "llama")
        .text("general.name", "tiny")
        .u32("llama.embedding_length", 64)
        .u32("llama.block_count", 2)
        .u32("llama.feed_forward_length", 96)
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .u32("llama.context_length", 128)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 10_000.0)
        .strings("tokenizer.ggml.tokens", &["a", "", "é", "long token"])
        .tensor("token_embd.weight", &[64, 4], GgmlType::Q8_0);
    for block in 0..2 {
        let name = |part: &str| format!("blk.{block}.{part}.weight");
        writer = writer
            .tensor(&name("attn_norm"), &[64], GgmlType::F32)
            .tensor(&name("attn_q"), &[64, 64], GgmlType::Q4_0)
            .tensor(&name("attn_k"), &[64, 32], GgmlType::Q4_0)
            .tensor(&name("attn_v"), &[64, 32], GgmlType::Q4_0)
            .tensor(&name("attn_output"), &[64, 64], GgmlType::Q4_0)
            .tensor(&name("ffn_norm"), &[64], GgmlType::F32)
            .tensor(&name("ffn_gate"), &[64, 96], GgmlType::Q4_0)
            .tensor(&name("ffn_up"), &[64, 96], GgmlType::Q4_0)
            .tensor(&name("ffn_down"), &[96, 64], GgmlType::F16);
    }
    writer.tensor("output_norm.weight", &[64], GgmlType::F32)
}

#[test]
fn what_was_written_is_read() {
    let mut writer = tiny();
    for version in [2, 3] {
        writer.version = version;
        let header = writer.read().unwrap();
        assert_eq!((header.version, header.tensors.len()), (version, 20));
        let tokens = header.metadata["tokenizer.ggml.tokens"].as_strings().unwrap();
        assert_eq!(tokens.iter().collect::<Vec<_>>(), ["a", "", "é", "long token"]);
        let gate = header.tensor("blk.0.ffn_gate.weight").unwrap();
        assert_eq!((gate.shape.as_slice(), gate.kind, gate.bytes), (&[96, 64][..], GgmlType::Q4_0, 96 * 64 / 32 * 18));
        assert_eq!(header.data_start % 32, 0);
        assert_eq!(header.tensors[0].offset, header.data_start);
    }
}

#[test]
fn the_architecture_counts_what_the_tensors_hold() {
    let header = tiny().read().unwrap();
    let architecture = header.architecture().unwrap();
    assert_eq!((architecture.name.as_str(), architecture.family), ("tiny", Family::Llama));
    assert_eq!((architecture.vocab, architecture.head_dim, architecture.tied_embeddings), (4, 16, true));
    assert_eq!((architecture.norm_epsilon, architecture.dtype), (1e-5, Dtype::F16));
    assert_eq!(architecture.parameters(), header.tensors.iter().map(TensorInfo::elements).sum::<u64>());

    let untied =
        tiny().tensor("output.weight", &[64, 4], GgmlType::F32).tensor("rope_freqs.weight", &[8], GgmlType::F32);
    let untied = untied.read().unwrap().architecture().unwrap();
    assert!(!untied.tied_embeddings);
    assert_eq!(untied.rope.scaling, RopeScaling::Other { kind: "rope_freqs".to_owned() });
}

#[test]
fn every_type_of_value_is_read() {
    let array = |id: u32, bytes: &[u8]| [&id.to_le_bytes()[..], &1u64.to_le_bytes(), bytes].concat();
    let ones: [(u32, Vec<u8>); 12] = [
        (0, vec![1]),
        (1, vec![1]),
        (2, 1u16.to_le_bytes().into()),
        (3, 1i16.to_le_bytes().into()),
        (4, 1u32.to_le_bytes().into()),
        (5, 1i32.to_le_bytes().into()),
        (6, 1f32.to_le_bytes().into()),
        (7, vec![1]),
        (8, string("1")),
        (10, 1u64.to_le_bytes().into()),
        (11, 1i64.to_le_bytes().into()),
        (12, 1f64.to_le_bytes().into()),
    ];
    for (id, bytes) in ones {
        let header = Writer::new().value("one", id, &bytes).value("list", 9, &array(id, &bytes)).read().unwrap();
        let one = &header.metadata["one"];
        let number = one.as_u64().map(|v| v as f64).or(one.as_f64()).or(one.as_bool().map(f64::from));
        assert_eq!(number.or_else(|| one.as_str()?.parse().ok()), Some(1.0), "{id}");
        assert!(matches!(header.metadata["list"], Value::Array(_)), "{id}");
    }
}

#[test]
fn damage_is_named() {
    assert!(matches!(read(b""), Err(GgufError::NotGguf)));
    assert!(matches!(read(b"PK\x03\x04 and so on"), Err(GgufError::NotGguf)));
    let mut old = Writer::new();
    old.version = 1;
    old.refused("version 1 is not supported");
    old.version = 3u32.swap_bytes();
    old.refused("little endian");
    let empty = Writer::new;
    empty().value("k", 13, &[]).refused("`k` has the unknown type 13");
    empty()
        .value("k", 9, &[&9u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat())
        .refused("`k[]` has the unknown type 9");
    empty().value("k", 8, &[&u64::MAX.to_le_bytes()[..], b"x"].concat()).refused("cut short");
    empty().value("k", 8, &[&1u64.to_le_bytes()[..], b"\xff"].concat()).refused("not UTF-8");
    empty().value("k", 9, &[&12u32.to_le_bytes()[..], &(1u64 << 61).to_le_bytes()].concat()).refused("cut short");
    empty().u32("k", 1).u32("k", 2).refused("the metadata key `k` is there twice");
    empty().u32("general.alignment", 0).refused("a power of two");
    empty().u32("general.alignment", 48).refused("a power of two");
    empty().tensor_at("t", &[1], 99, 0).refused("tensor `t`: unknown type 99");
    empty().tensor_at("t", &[1; 5], 0, 0).refused("tensor `t`: 5 dimensions");
    empty().tensor_at("t", &[0, 4], 0, 0).refused("tensor `t`: a dimension of 0");
    empty().tensor_at("t", &[33], 2, 0).refused("rows of 33 elements cannot be cut into Q4_0 blocks of 32");
    empty().tensor_at("t", &[1 << 40, 1 << 40], 0, 0).refused("more elements than a 64 bit number holds");
    empty().tensor_at("t", &[1 << 62], 0, 0).refused("more elements than a 64 bit number holds");
    empty().tensor_at("t", &[8], 0, 8).refused("offset 8 is not a multiple of the alignment 32");
    empty().tensor_at("t", &[8], 0, u64::MAX - 31).refused("past the file's end");
    empty().tensor("t", &[8], GgmlType::F32).tensor_at("u", &[9], 0, 0).refused("past the file's end");
    empty().tensor("t", &[8], GgmlType::F32).tensor_at("u", &[8], 0, 0).refused("overlaps `t`");
    empty().tensor("t", &[8], GgmlType::F32).tensor("t", &[8], GgmlType::F32).refused("the tensor `t` is there twice");
}

#[test]
fn metadata_that_makes_no_model_is_named() {
    let refused = |writer: Writer, expected: &str| {
        let error = writer.read().unwrap().architecture().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    };
    refused(Writer::new(), "`general.architecture` is missing");
    refused(Writer::new().text("general.architecture", "mamba"), "`mamba` is not supported");
    refused(Writer::new().text("general.architecture", "llama"), "`llama.embedding_length` is missing");
    refused(tiny().u32("llama.expert_count", 8), "experts");
    refused(tiny().u32("llama.attention.key_length", 0), "it must be at least 1");
    refused(tiny().u32("llama.rope.dimension_count", 17), "a head has 16");
    let no_heads = Writer::new().text("general.architecture", "llama").u32("llama.embedding_length", 64);
    refused(no_heads.u32("llama.attention.head_count", 0), "it must divide embedding_length = 64");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = tiny().bytes();
    for end in 0..whole.len() {
        // the last tensor's padding may be missing: its 256 bytes need none
        assert!(read(&whole[..end]).is_err(), "cut at {end} of {}", whole.len());
    }
}

/// Whatever is read from `bytes`, it holds no more than there was.
fn bounded(bytes: &[u8]) {
    let Ok(header) = read(bytes) else { return };
    let _ = header.architecture().map(|a| a.parameters());
    for tensor in &header.tensors {
        assert!(tensor.offset + tensor.bytes <= bytes.len() as u64);
    }
}

#[test]
fn extreme_numbers_anywhere_never_panic() {
    let whole = tiny().bytes();
    for at in 0..whole.len() - 8 {
        for number in [0u64, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX - 31, u64::MAX] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            bounded(&bytes);
        }
        // only the header is worth it
        if at > 2048 {
            break;
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(edits in prop::collection::vec((0usize..2048, any::<u8>()), 1..8), end in 0usize..20_000) {
        let mut bytes = tiny().bytes();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        bytes.truncate(end);
        bounded(&bytes);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        bounded(&noise);
        bounded(&[&MAGIC[..], &3u32.to_le_bytes(), &noise].concat());
    }
}
