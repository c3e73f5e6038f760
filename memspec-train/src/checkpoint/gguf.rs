//! GGUF files: tensors under Hugging Face's names and in its order, and the vocabulary of the tokenizer inside.

use super::{CheckpointError, DataFile, Encoding, Layout, Tensor, names};
use memspec::model::gguf::{Array, GgmlType, GgufError, Header, Value};
use std::path::Path;

pub(super) fn open(path: &Path) -> Result<(Vec<DataFile>, Vec<Tensor>), CheckpointError> {
    let file = DataFile::open(path)?;
    let header = header(path)?;
    let architecture = text(&header, "general.architecture").unwrap_or_default().to_owned();
    let rotary = Rotary::of(&header, &architecture);
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for info in header.tensors {
        let wrong =
            |reason: String| CheckpointError::Tensor { path: path.to_owned(), tensor: info.name.clone(), reason };
        let name = names::from_gguf(&architecture, &info.name);
        let shape: Vec<usize> = info
            .shape
            .iter()
            .map(|&dimension| usize::try_from(dimension))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("more elements than this machine can count".to_owned()))?;
        let encoding = encoding(info.kind);
        let layout = match &rotary {
            Some(rotary) if is_rotated(&name) => {
                rotary.layout(&name, shape.first().copied().unwrap_or(0)).map_err(wrong)?
            }
            _ if architecture.starts_with("gemma") && name.ends_with("norm.weight") => Layout::OneAdded,
            _ => Layout::Same,
        };
        // a row that is read on its own must begin at a block: the header's reader has checked that rows are whole blocks
        tensors.push(Tensor { name, shape, encoding, file: 0, offset: info.offset, bytes: info.bytes, layout });
    }
    tensors.sort_by_key(|tensor| tensor.offset);
    Ok((vec![file], tensors))
}

fn header(path: &Path) -> Result<Header, CheckpointError> {
    Header::open(path).map_err(|error| match error {
        GgufError::Io(source) => CheckpointError::Io { path: path.to_owned(), source },
        GgufError::Tensor { name, why } => CheckpointError::Tensor { path: path.to_owned(), tensor: name, reason: why },
        GgufError::Duplicate { what: "tensor", name } => {
            CheckpointError::Duplicate { path: path.to_owned(), tensor: name, also: String::new() }
        }
        other => CheckpointError::Header { path: path.to_owned(), reason: other.to_string() },
    })
}

fn text<'a>(header: &'a Header, key: &str) -> Option<&'a str> {
    header.metadata.get(key)?.as_str()
}

fn encoding(kind: GgmlType) -> Encoding {
    match kind {
        GgmlType::F32 => Encoding::F32,
        GgmlType::F16 => Encoding::F16,
        GgmlType::BF16 => Encoding::Bf16,
        GgmlType::F64 => Encoding::F64,
        GgmlType::Q4_0 => Encoding::Q4_0,
        GgmlType::Q4_1 => Encoding::Q4_1,
        GgmlType::Q5_0 => Encoding::Q5_0,
        GgmlType::Q5_1 => Encoding::Q5_1,
        GgmlType::Q8_0 => Encoding::Q8_0,
        GgmlType::Q4K => Encoding::Q4K,
        GgmlType::Q5K => Encoding::Q5K,
        GgmlType::Q6K => Encoding::Q6K,
        GgmlType::Q2K => Encoding::Other("Q2_K"),
        GgmlType::Q3K => Encoding::Other("Q3_K"),
        GgmlType::Mxfp4 => Encoding::Other("MXFP4"),
        GgmlType::Iq4Nl | GgmlType::Iq4Xs => Encoding::Other("IQ4"),
        _ => Encoding::Other("a ggml format that is not read here"),
    }
}

fn is_rotated(name: &str) -> bool {
    [".q_proj.weight", ".k_proj.weight", ".q_proj.bias", ".k_proj.bias"].iter().any(|end| name.ends_with(end))
}

/// Heads of a `llama` file, whose q and k rows llama.cpp's converter puts in its own rotary order (`LlamaModel.permute`).
struct Rotary {
    heads: Option<u64>,
    kv_heads: Option<u64>,
}

impl Rotary {
    fn of(header: &Header, architecture: &str) -> Option<Self> {
        if architecture != "llama" {
            return None;
        }
        let heads = header.metadata.get("llama.attention.head_count").and_then(Value::as_u64);
        let kv_heads = header.metadata.get("llama.attention.head_count_kv").and_then(Value::as_u64).or(heads);
        Some(Self { heads, kv_heads })
    }

    fn layout(&self, name: &str, rows: usize) -> Result<Layout, String> {
        let (key, heads) = match name.contains(".q_proj.") {
            true => ("llama.attention.head_count", self.heads),
            false => ("llama.attention.head_count_kv", self.kv_heads),
        };
        let heads = heads.and_then(|heads| usize::try_from(heads).ok()).unwrap_or(0);
        // pairs of rows in every head
        match heads > 0 && rows > 0 && rows.is_multiple_of(2 * heads) {
            true => Ok(Layout::InterleavedRotary { rows: rows / heads }),
            false => Err(format!("its {rows} rows cannot be those of `{key}` = {heads} heads")),
        }
    }
}

/// The tokenizer's part of a GGUF file's metadata.
#[derive(Debug, Clone, Default)]
pub(crate) struct GgufVocabulary {
    pub(crate) model: String,
    pub(crate) pre: String,
    pub(crate) tokens: Vec<String>,
    pub(crate) scores: Vec<f32>,
    pub(crate) types: Vec<i64>,
    pub(crate) merges: Vec<String>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) eot: Option<u32>,
    pub(crate) unk: Option<u32>,
    pub(crate) pad: Option<u32>,
    pub(crate) add_bos: bool,
    pub(crate) add_space_prefix: bool,
    pub(crate) context: Option<u64>,
    pub(crate) chat_template: Option<String>,
}

impl GgufVocabulary {
    /// Reads it; a file without a tokenizer, or with numbers of tokens that are none, is an error.
    pub(crate) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let header = header(path)?;
        let broken = |reason: String| CheckpointError::Header { path: path.to_owned(), reason };
        let strings = |key: &str| -> Vec<String> {
            let strings = header.metadata.get(key).and_then(Value::as_strings);
            strings.map(|strings| strings.iter().map(str::to_owned).collect()).unwrap_or_default()
        };
        let tokens = strings("tokenizer.ggml.tokens");
        let Some(model) = text(&header, "tokenizer.ggml.model").filter(|_| !tokens.is_empty()) else {
            return Err(broken(
                "there is no tokenizer inside (`tokenizer.ggml.model`, `tokenizer.ggml.tokens`); use the model's folder with its tokenizer.json".to_owned(),
            ));
        };
        let id = |key: &str| -> Result<Option<u32>, CheckpointError> {
            match header.metadata.get(key) {
                None => Ok(None),
                Some(value) => match value.as_u64() {
                    Some(id) if id < tokens.len() as u64 => Ok(Some(id as u32)),
                    _ => Err(broken(format!("`{key}` is no token: there are {}", tokens.len()))),
                },
            }
        };
        let flag = |key: &str| header.metadata.get(key).and_then(Value::as_bool);
        let is_llama = model == "llama";
        let types = match header.metadata.get("tokenizer.ggml.token_type") {
            Some(Value::Array(Array::I32(types))) => types.iter().map(|&kind| kind.into()).collect(),
            Some(Value::Array(Array::U32(types))) => types.iter().map(|&kind| kind.into()).collect(),
            _ => Vec::new(),
        };
        let scores = match header.metadata.get("tokenizer.ggml.scores") {
            Some(Value::Array(Array::F32(scores))) => scores.clone(),
            _ => Vec::new(),
        };
        if is_llama && scores.len() != tokens.len() {
            return Err(broken(format!("{} scores for {} tokens", scores.len(), tokens.len())));
        }
        let architecture = text(&header, "general.architecture").unwrap_or_default();
        Ok(Self {
            model: model.to_owned(),
            pre: text(&header, "tokenizer.ggml.pre").unwrap_or_default().to_owned(),
            scores,
            types,
            merges: strings("tokenizer.ggml.merges"),
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            eot: id("tokenizer.ggml.eot_token_id")?,
            unk: id("tokenizer.ggml.unknown_token_id")?,
            pad: id("tokenizer.ggml.padding_token_id")?,
            // llama.cpp's defaults
            add_bos: flag("tokenizer.ggml.add_bos_token").unwrap_or(is_llama),
            add_space_prefix: flag("tokenizer.ggml.add_space_prefix").unwrap_or(is_llama),
            context: header.metadata.get(&format!("{architecture}.context_length")).and_then(Value::as_u64),
            chat_template: text(&header, "tokenizer.chat_template").map(str::to_owned),
            tokens,
        })
    }
}
