//! A model's tokenizer: from `tokenizer.json` in its folder, or from a GGUF file's metadata.

mod error;
mod folder;
mod gguf;
mod write;

pub use error::TokenizerError;

use crate::template::{ChatTemplate, TemplateError};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::Path;
use tokenizers::PostProcessorWrapper;

/// Text to token numbers and back, with the model's special tokens and chat template.
pub struct Tokenizer {
    /// Without its post-processor: that would only add special tokens and cut spaces off the offsets.
    inner: tokenizers::Tokenizer,
    /// What was taken out of `inner`, for writing.
    post_processor: Option<PostProcessorWrapper>,
    /// Where it is from, for messages.
    name: String,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    stop: Vec<u32>,
    prefix: Vec<u32>,
    special: HashSet<u32>,
    template: Option<TemplateSource>,
    /// `tokenizer_config.json` as it will be written.
    config: Map<String, Value>,
}

/// A chat template's text and the file it stands in.
#[derive(Debug, Clone)]
struct TemplateSource {
    name: String,
    text: String,
}

/// The parts that differ by where the tokenizer comes from.
struct Parts {
    inner: tokenizers::Tokenizer,
    name: String,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    stop: Vec<u32>,
    template: Option<TemplateSource>,
    config: Map<String, Value>,
}

impl Tokenizer {
    /// Opens the tokenizer of a model: a folder with `tokenizer.json` (or with one `.gguf` file), or a `.gguf` file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let path = path.as_ref();
        let parts = match path.is_dir() {
            true => folder::open(path)?,
            false => gguf::open(path)?,
        };
        Self::new(parts)
    }

    fn new(parts: Parts) -> Result<Self, TokenizerError> {
        let Parts { mut inner, name, bos, eos, pad, mut stop, template, config } = parts;
        // a file may carry the truncation of its author's last run
        let broken =
            |error: tokenizers::Error| TokenizerError::Broken { path: name.clone().into(), reason: error.to_string() };
        inner.with_truncation(None).map_err(broken)?;
        inner.with_padding(None);
        let prefix = prefix(&inner);
        let post_processor = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let special = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, _)| id)
            .chain(eos)
            .collect();
        if let Some(eos) = eos
            && !stop.contains(&eos)
        {
            stop.insert(0, eos);
        }
        Ok(Self { inner, post_processor, name, bos, eos, pad, stop, prefix, special, template, config })
    }

    /// The tokens of a text. Special tokens written in it are recognised; none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(encode_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a text, each with the bytes of the text that it stands for.
    pub(crate) fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, usize, usize)>, TokenizerError> {
        let encoding = self.inner.encode(text, false).map_err(encode_error)?;
        let offsets = encoding.get_offsets().iter();
        Ok(encoding.get_ids().iter().zip(offsets).map(|(&id, &(start, end))| (id, start, end)).collect())
    }

    /// The text of tokens, special tokens included. Bytes that are no UTF-8 (a character cut in the middle) become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, false).map_err(|error| TokenizerError::Decode { reason: error.to_string() })
    }

    /// The text of tokens, special tokens left out.
    pub fn decode_plain(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(|error| TokenizerError::Decode { reason: error.to_string() })
    }

    /// The number of a token, special or not.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token to fill short rows of a batch with: the model's, else the end of text, else 0. Never scored.
    pub fn pad(&self) -> u32 {
        self.pad.or(self.eos).unwrap_or(0)
    }

    /// Every token after which generation stops; `eos` is the first of them.
    pub fn stop(&self) -> &[u32] {
        &self.stop
    }

    /// Whether a token is special: control, not text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The tokens that the model expects before a plain text (usually `bos`, or nothing). Chat templates write them themselves.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Tokens in the vocabulary, added ones included. The model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The model's own chat template, compiled.
    pub fn chat_template(&self) -> Result<ChatTemplate, TemplateError> {
        match &self.template {
            Some(source) => self.compile(&source.name, &source.text),
            None => Err(TemplateError::None { model: self.name.clone() }),
        }
    }

    /// Whether the model has a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// Compiles a chat template of the user's with this model's special tokens.
    pub fn compile(&self, name: &str, text: &str) -> Result<ChatTemplate, TemplateError> {
        let token = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        let tokens = [("bos_token", self.bos), ("eos_token", self.eos), ("pad_token", self.pad)];
        ChatTemplate::new(name, text, tokens.into_iter().filter_map(|(key, id)| Some((key, token(id)?))))
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` (chat template included) and `special_tokens_map.json` into a folder,
    /// so that the folder loads in transformers and here.
    pub fn write_files(&self, folder: &Path) -> Result<(), TokenizerError> {
        write::files(self, folder)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("name", &self.name).field("vocab_size", &self.vocab_size()).finish()
    }
}

fn encode_error(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode { reason: error.to_string() }
}

/// What the post-processor puts before a text.
fn prefix(inner: &tokenizers::Tokenizer) -> Vec<u32> {
    let Ok(encoding) = inner.encode_fast("a", true) else {
        return Vec::new();
    };
    let added = encoding.get_special_tokens_mask().iter().take_while(|&&mask| mask == 1).count();
    encoding.get_ids()[..added].to_vec()
}

#[cfg(test)]
mod tests;
