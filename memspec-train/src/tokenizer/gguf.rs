//! A tokenizer rebuilt from a GGUF file's metadata.
//!
//! Two kinds: `gpt2`, byte-level BPE with merges and a splitting rule named by `tokenizer.ggml.pre`; and `llama`,
//! SentencePiece's BPE, where a score stands for a merge's rank and unknown characters fall back to bytes.

use super::{Parts, TemplateSource, TokenizerError};
use crate::checkpoint::GgufVocabulary;
use serde_json::{Map, json};
use std::collections::HashMap;
use std::path::Path;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NFC, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Inner,
};

/// Kinds of tokens, as in `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// SentencePiece writes a space so.
const SPACE: &str = "\u{2581}";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn open(path: &Path) -> Result<Parts, TokenizerError> {
    let vocabulary = GgufVocabulary::read(path)?;
    let broken = |error: tokenizers::Error| TokenizerError::Broken { path: path.to_owned(), reason: error.to_string() };
    let mut inner = match vocabulary.model.as_str() {
        "gpt2" => byte_level(&vocabulary, path)?,
        "llama" => sentence_piece(&vocabulary).map_err(broken)?,
        other => {
            return Err(TokenizerError::UnknownKind {
                path: path.to_owned(),
                kind: other.to_owned(),
                known: "gpt2, llama",
            });
        }
    };
    add_tokens(&mut inner, &vocabulary);
    let text = |id: Option<u32>| id.and_then(|id| vocabulary.tokens.get(id as usize)).cloned();
    if vocabulary.add_bos
        && let (Some(id), Some(token)) = (vocabulary.bos, text(vocabulary.bos))
    {
        inner.with_post_processor(Some(bos_first(&token, id).map_err(broken)?));
    }

    let mut config = Map::new();
    config.insert("add_bos_token".into(), json!(vocabulary.add_bos));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    for (key, id) in [
        ("bos_token", vocabulary.bos),
        ("eos_token", vocabulary.eos),
        ("unk_token", vocabulary.unk),
        ("pad_token", vocabulary.pad),
    ] {
        if let Some(token) = text(id) {
            config.insert(key.into(), json!(token));
        }
    }
    if let Some(context) = vocabulary.context {
        config.insert("model_max_length".into(), json!(context));
    }
    let template = vocabulary
        .chat_template
        .clone()
        .map(|text| TemplateSource { name: format!("{} (tokenizer.chat_template)", path.display()), text });
    let GgufVocabulary { bos, eos, pad, eot, .. } = vocabulary;
    let name = path.display().to_string();
    Ok(Parts { inner, name, bos, eos, pad, stop: eos.into_iter().chain(eot).collect(), template, config })
}

fn bos_first(token: &str, id: u32) -> Result<TemplateProcessing, tokenizers::Error> {
    TemplateProcessing::builder()
        .try_single(format!("{token} $A"))
        .map_err(tokenizers::Error::from)?
        .try_pair(format!("{token} $A {token} $B:1"))
        .map_err(tokenizers::Error::from)?
        .special_tokens(vec![(token.to_owned(), id)])
        .build()
        .map_err(|error| error.to_string().into())
}

fn byte_level(vocabulary: &GgufVocabulary, path: &Path) -> Result<Inner, TokenizerError> {
    let broken = |reason: String| TokenizerError::Broken { path: path.to_owned(), reason };
    let mut merges = Merges::with_capacity(vocabulary.merges.len());
    for (number, merge) in vocabulary.merges.iter().enumerate() {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            broken(format!("merge {number} is `{merge}`: two pieces with a space between are expected"))
        })?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    let split = |pattern: &str| -> Result<PreTokenizerWrapper, TokenizerError> {
        let split = Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Isolated, false);
        let split = split.map_err(|error| broken(error.to_string()))?;
        // the bytes become letters; the splitting is done
        let bytes = ByteLevel::new(false, false, false);
        Ok(PreTokenizers::new(vec![split.into(), bytes.into()]).into())
    };
    let gpt2 = ByteLevel::new(false, false, true);
    let mut ignore_merges = false;
    let pre: PreTokenizerWrapper = match vocabulary.pre.as_str() {
        "" | "default" | "gpt-2" | "gpt2" | "olmo" => gpt2.into(),
        "smollm" | "starcoder" | "refact" | "command-r" => {
            PreTokenizers::new(vec![Digits::new(true).into(), gpt2.into()]).into()
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            ignore_merges = true;
            split(LLAMA3)?
        }
        "qwen2" | "deepseek-r1-qwen" => split(QWEN2)?,
        other => {
            return Err(TokenizerError::UnknownKind {
                path: path.to_owned(),
                kind: other.to_owned(),
                known: "default, gpt-2, olmo, smollm, starcoder, refact, command-r, llama-bpe, qwen2, deepseek-r1-qwen",
            });
        }
    };
    let model = BPE::builder()
        .vocab_and_merges(vocab(vocabulary), merges)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(|error| broken(error.to_string()))?;
    let mut inner = Inner::new(model);
    inner.with_pre_tokenizer(Some(pre));
    inner.with_decoder(Some(ByteLevel::new(false, false, false)));
    if matches!(vocabulary.pre.as_str(), "qwen2" | "deepseek-r1-qwen") {
        inner.with_normalizer(Some(NFC));
    }
    Ok(inner)
}

fn sentence_piece(vocabulary: &GgufVocabulary) -> Result<Inner, tokenizers::Error> {
    let mut model = BPE::builder()
        .vocab_and_merges(vocab(vocabulary), merges_of_scores(vocabulary))
        .byte_fallback(true)
        .fuse_unk(true);
    let unknown = vocabulary.types.iter().position(|&kind| kind == UNKNOWN).map(|id| id as u32).or(vocabulary.unk);
    if let Some(token) = unknown.and_then(|id| vocabulary.tokens.get(id as usize)) {
        model = model.unk_token(token.clone());
    }
    let mut inner = Inner::new(model.build()?);
    let spaces: NormalizerWrapper = Replace::new(" ", SPACE)?.into();
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
    match vocabulary.add_space_prefix {
        true => {
            inner.with_normalizer(Some(Normalizers::new(vec![Prepend::new(SPACE.to_owned()).into(), spaces])));
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        false => {
            inner.with_normalizer(Some(spaces));
        }
    }
    inner.with_decoder(Some(Decoders::new(decoders)));
    Ok(inner)
}

fn vocab(vocabulary: &GgufVocabulary) -> Vocab {
    vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect()
}

/// Every way to split a piece in two others, best score first: the merges that SentencePiece does without a list.
fn merges_of_scores(vocabulary: &GgufVocabulary) -> Merges {
    let ids: HashMap<&str, usize> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let score = |id: usize| vocabulary.scores.get(id).copied().unwrap_or(f32::MIN);
    let mut merges: Vec<(f32, usize, usize, &str, &str)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let mut of_token: Vec<_> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((score(id), *ids.get(left)?, *ids.get(right)?, left, right))
            })
            .collect();
        of_token.sort_by_key(|&(_, left, right, _, _)| (left, right));
        merges.extend(of_token);
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(length(b.3).cmp(&length(a.3))).then(length(b.4).cmp(&length(a.4))));
    merges.into_iter().map(|(_, _, _, left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// Control tokens are special; user-defined ones are whole words that are never split.
fn add_tokens(inner: &mut Inner, vocabulary: &GgufVocabulary) {
    let of_kind = |wanted: &[i64], special: bool| -> Vec<AddedToken> {
        let pairs = vocabulary.tokens.iter().zip(&vocabulary.types);
        pairs
            .filter(|(token, kind)| wanted.contains(kind) && !token.is_empty())
            .map(|(token, _)| AddedToken::from(token.clone(), special).normalized(false))
            .collect()
    };
    let unknown_is_special = vocabulary.model == "llama";
    let control: &[i64] = if unknown_is_special { &[CONTROL, UNKNOWN] } else { &[CONTROL] };
    inner.add_special_tokens(&of_kind(control, true));
    inner.add_tokens(&of_kind(&[USER_DEFINED], false));
}
