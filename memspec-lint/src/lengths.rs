//! How long a local file's samples are in the model's own tokens, counted once and remembered.
//!
//! The trainer counts again when it runs; this is for estimates before that. What cannot be counted (no tokenizer on this
//! machine, a template that does not render) leaves the length unknown with a reason, and the estimate takes the context.

mod cache;
mod records;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use memspec::quantity::Bytes;
use memspec::setup::{Lengths, Setup};
use rayon::prelude::*;

use tokens::Encoder;

/// Bytes of the largest file that is counted: some seconds' work.
const LARGEST: u64 = 256 << 20;

/// The lengths of the setup's training samples, cut at its context, or why they cannot be counted; `None` where it names no file that is here.
///
/// A file is read again when it, the tokenizer or the template changed, and else taken from this process's memory or from
/// `memspec/lengths` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
pub fn measure(setup: &Setup) -> Option<Result<Lengths, String>> {
    static SEEN: Mutex<Option<HashMap<Asked, Seen>>> = Mutex::new(None);
    let (asked, context) = (Asked::of(setup)?, setup.data.context);
    let asked = match asked {
        Ok(asked) => asked,
        Err(why) => return Some(Err(why)),
    };
    // a panic while counting leaves the map whole
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen
        .get_or_insert_default()
        .entry(asked)
        .or_insert_with_key(|asked| Seen { lengths: count(asked, cache::folder().as_deref()), cut: HashMap::new() });
    let lengths = match &known.lengths {
        Ok(lengths) => lengths,
        Err(why) => return Some(Err(why.clone())),
    };
    Some(Ok(known.cut.entry(context).or_insert_with(|| Lengths::of(lengths.iter().copied(), context)).clone()))
}

/// A file's lengths, and what contexts make of them.
struct Seen {
    lengths: Result<Vec<u64>, String>,
    cut: HashMap<u64, Lengths>,
}

/// What is counted, and the state of its files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    data: PathBuf,
    tokenizer: PathBuf,
    template: Option<PathBuf>,
    format: String,
    changed: [Option<(u64, SystemTime)>; 3],
}

impl Asked {
    fn of(setup: &Setup) -> Option<Result<Self, String>> {
        let state = |path: &Path| {
            let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        let data = setup.data.path.clone()?;
        let data_state = state(&data)?;
        if data_state.0 > LARGEST {
            return Some(Err(format!(
                "it is larger than {}: give `data.samples` and `data.mean_length`",
                Bytes(LARGEST)
            )));
        }
        let Some(tokenizer) = setup.weights.as_ref().map(|weights| weights.join("tokenizer.json")) else {
            return Some(Err(format!(
                "no folder of `{}` with its `tokenizer.json` is on this machine",
                setup.model.name
            )));
        };
        let tokenizer_state = state(&tokenizer);
        if tokenizer_state.is_none() {
            return Some(Err(format!("there is no `{}`", tokenizer.display())));
        }
        let template = setup.data.template.clone();
        let changed = [Some(data_state), tokenizer_state, template.as_deref().and_then(state)];
        let format = setup.data.format.to_string();
        Some(Ok(Self { data, tokenizer, template, format, changed }))
    }
}

/// Tokens of each sample, before any is cut.
fn count(asked: &Asked, cached: Option<&Path>) -> Result<Vec<u64>, String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()));
    let (data, tokenizer) = (read(&asked.data)?, read(&asked.tokenizer)?);
    let model = asked.tokenizer.parent().unwrap_or(Path::new("."));
    let template = tokens::template(model, asked.template.as_deref())?;
    let special = std::fs::read(model.join("tokenizer_config.json")).unwrap_or_default();
    let key = cache::key(&[
        &data,
        &tokenizer,
        template.as_deref().unwrap_or_default().as_bytes(),
        &special,
        asked.format.as_bytes(),
    ]);
    if let Some(lengths) = cached.and_then(|folder| cache::read(folder, &key)) {
        return Ok(lengths);
    }
    let encoder = Encoder::new(&tokenizer, &special, template.as_deref())?;
    let records = records::read(data, &asked.format)?;
    let number = |(index, record)| encoder.length(record).map_err(|why| format!("record {}: {why}", index + 1));
    let lengths: Vec<u64> = records.par_iter().enumerate().map(number).collect::<Result<_, _>>()?;
    if let Some(folder) = cached {
        // a cache that cannot be written costs time, nothing else
        let _ = cache::write(folder, &key, &lengths);
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and marks of one letter are a token each.
    const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 4, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"one": 0, "two": 1, "user": 2, "?": 3, "<eos>": 4}, "unk_token": "?"}}"#;
    const CONFIG: &str = r#"{"eos_token": "<eos>",
        "chat_template": "{% for m in messages %}{{ m.role }} {{ m['content'].strip() }}{{ eos_token }}\n{% endfor %}"}"#;

    fn counted(records: impl AsRef<[u8]>, format: &str) -> Result<Vec<u64>, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        write("tokenizer_config.json", CONFIG.as_bytes());
        let asked = Asked {
            data: write("data.jsonl", records.as_ref()),
            tokenizer: write("tokenizer.json", TOKENIZER.as_bytes()),
            template: None,
            format: format.to_owned(),
            changed: [None; 3],
        };
        let cache = folder.path().join("cache");
        let first = count(&asked, Some(&cache));
        // the second time it comes from the cache, and is the same
        assert_eq!(first, count(&asked, Some(&cache)));
        assert_eq!(first.is_ok(), cache.read_dir().is_ok_and(|mut files| files.next().is_some()));
        first
    }

    #[test]
    fn each_form_is_counted_as_it_is_trained() {
        // the end of text is a token
        assert_eq!(counted("{\"text\": \"one two one\"}\n\n{\"text\": \"one\"}\n", "auto"), Ok(vec![4, 2]));
        // user one <eos> assistant two <eos>
        let chat = r#"{"messages": [{"role": "user", "content": " one "}, {"role": "assistant", "content": "two"}]}"#;
        assert_eq!(counted(chat, "auto"), Ok(vec![6]));
        let shared = r#"{"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]}"#;
        assert_eq!(counted(shared, "chat"), Ok(vec![6]));
        let instruction = r#"{"instruction": "one", "input": "two", "output": "one"}"#;
        assert_eq!(counted(instruction, "instruction"), Ok(vec![7]));
        assert_eq!(counted(r#"[{"text": "one"}, {"text": "two two"}]"#, "text"), Ok(vec![2, 3]));
    }

    /// Two records that pyarrow wrote: `data.parquet`'s script is beside it.
    #[test]
    fn parquet_is_counted() {
        assert_eq!(counted(include_bytes!("../tests/fixtures/text.parquet"), "auto"), Ok(vec![4, 2]));
        assert_eq!(counted(include_bytes!("../tests/fixtures/messages.parquet"), "auto"), Ok(vec![6]));
    }

    #[test]
    fn what_cannot_be_counted_says_why() {
        for (records, format, why) in [
            ("PAR1 and bytes", "auto", "it is no whole Parquet file"),
            ("{\"text\": 3}", "auto", "record 1: `text` is missing, or no text"),
            ("{\"words\": \"one\"}", "auto", "record 1: `text` is missing, or no text"),
            ("{\"text\": \"one\"}\n\n{\"text\": ", "text", "line 3 is not a JSON object"),
            ("[{\"text\": \"one\"}, 3]", "text", "it is not a list of JSON objects"),
            (
                "{\"messages\": [{\"role\": \"user\"}]}",
                "auto",
                "record 1: `messages` are not turns with a role and words",
            ),
            ("{\"text\": \"one\"}\n{\"instruction\": \"one\"}", "auto", "record 2: `text` is missing, or no text"),
            ("", "auto", "it has no records"),
        ] {
            let said = counted(records, format).unwrap_err();
            assert!(said.starts_with(why), "{records}: {said}");
        }
    }
}
