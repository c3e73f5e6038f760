//! How long a local file's samples are in the model's own tokens, counted once and remembered.
//!
//! The trainer counts again when it runs; this is for estimates before that. What cannot be counted (no tokenizer on this
//! machine, a template that does not render, Parquet) leaves the length unknown, and the estimate takes the context.

mod cache;
mod records;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use memspec::setup::{Lengths, Setup};
use rayon::prelude::*;

use tokens::Encoder;

/// Bytes of the largest file that is counted: some seconds' work.
const LARGEST: u64 = 256 << 20;

/// The lengths of the setup's training samples, cut at its context; `None` where they cannot be counted.
///
/// A file is read again when it, the tokenizer or the template changed, and else taken from this process's memory or from
/// `memspec/lengths` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
pub fn measure(setup: &Setup) -> Option<Lengths> {
    static SEEN: Mutex<Option<HashMap<Asked, Seen>>> = Mutex::new(None);
    let (asked, context) = (Asked::of(setup)?, setup.data.context);
    // a panic while counting leaves the map whole
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen
        .get_or_insert_default()
        .entry(asked)
        .or_insert_with_key(|asked| Seen { lengths: count(asked, cache::folder().as_deref()), cut: HashMap::new() });
    let lengths = known.lengths.as_ref()?;
    Some(known.cut.entry(context).or_insert_with(|| Lengths::of(lengths.iter().copied(), context)).clone())
}

/// A file's lengths, and what contexts make of them.
struct Seen {
    lengths: Option<Vec<u64>>,
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
    fn of(setup: &Setup) -> Option<Self> {
        let data = setup.data.path.clone()?;
        let tokenizer = setup.weights.as_ref()?.join("tokenizer.json");
        let state = |path: &Path| {
            let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        let template = setup.data.template.clone();
        let changed = [state(&data), state(&tokenizer), template.as_deref().and_then(state)];
        let [Some((bytes, _)), Some(_), _] = changed else { return None };
        let format = setup.data.format.to_string();
        (bytes <= LARGEST).then_some(Self { data, tokenizer, template, format, changed })
    }
}

/// Tokens of each sample, before any is cut.
fn count(asked: &Asked, cached: Option<&Path>) -> Option<Vec<u64>> {
    let data = std::fs::read(&asked.data).ok()?;
    let tokenizer = std::fs::read(&asked.tokenizer).ok()?;
    let model = asked.tokenizer.parent()?;
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
        return Some(lengths);
    }
    let encoder = Encoder::new(&tokenizer, &special, template.as_deref())?;
    let text = std::str::from_utf8(&data).ok()?;
    let lengths: Vec<u64> =
        records::read(text, &asked.format)?.par_iter().map(|record| encoder.length(record)).collect::<Option<_>>()?;
    if let Some(folder) = cached {
        // a cache that cannot be written costs time, nothing else
        let _ = cache::write(folder, &key, &lengths);
    }
    Some(lengths)
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

    fn counted(records: &str, format: &str) -> Option<Vec<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("tokenizer_config.json", CONFIG);
        let asked = Asked {
            data: write("data.jsonl", records),
            tokenizer: write("tokenizer.json", TOKENIZER),
            template: None,
            format: format.to_owned(),
            changed: [None; 3],
        };
        let cache = folder.path().join("cache");
        let first = count(&asked, Some(&cache));
        // the second time it comes from the cache, and is the same
        assert_eq!(first, count(&asked, Some(&cache)));
        assert_eq!(first.is_some(), cache.read_dir().is_ok_and(|mut files| files.next().is_some()));
        first
    }

    #[test]
    fn each_form_is_counted_as_it_is_trained() {
        // the end of text is a token
        assert_eq!(counted("{\"text\": \"one two one\"}\n\n{\"text\": \"one\"}\n", "auto"), Some(vec![4, 2]));
        // user one <eos> assistant two <eos>
        let chat = r#"{"messages": [{"role": "user", "content": " one "}, {"role": "assistant", "content": "two"}]}"#;
        assert_eq!(counted(chat, "auto"), Some(vec![6]));
        let shared = r#"{"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]}"#;
        assert_eq!(counted(shared, "chat"), Some(vec![6]));
        let instruction = r#"{"instruction": "one", "input": "two", "output": "one"}"#;
        assert_eq!(counted(instruction, "instruction"), Some(vec![7]));
        assert_eq!(counted(r#"[{"text": "one"}, {"text": "two two"}]"#, "text"), Some(vec![2, 3]));
    }

    #[test]
    fn what_cannot_be_counted_is_left_unknown() {
        for (records, format) in [
            ("PAR1 and bytes", "auto"),
            ("{\"text\": 3}", "auto"),
            ("{\"words\": \"one\"}", "auto"),
            ("{\"text\": \"one\"}\n{\"text\": ", "text"),
            ("", "auto"),
        ] {
            assert_eq!(counted(records, format), None, "{records}");
        }
    }
}
