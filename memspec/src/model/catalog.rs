//! Models that memspec knows by name, from `catalog/models/*.json`: shapes, no weights.

use std::sync::OnceLock;

use serde::Deserialize;

use super::{Architecture, config};

macro_rules! models {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../catalog/models/", $name, ".json")))),*] };
}

/// Name and text of every file, in alphabetical order.
const FILES: &[(&str, &str)] = models! {
    "codellama-34b"
    "falcon-7b"
    "gemma-2-2b"
    "gemma-2-9b"
    "gemma-3-1b-it"
    "gemma-3-270m"
    "gpt-oss-120b"
    "gpt-oss-20b"
    "llama-2-7b"
    "llama-3.1-8b"
    "llama-3.2-1b"
    "llama-3.2-3b"
    "meta-llama-3-70b"
    "meta-llama-3-8b"
    "mistral-7b-v0.3"
    "mixtral-8x7b-v0.1"
    "phi-2"
    "phi-3-mini-4k-instruct"
    "phi-4"
    "qwen2-vl-7b-instruct"
    "qwen2.5-0.5b"
    "qwen2.5-1.5b"
    "qwen2.5-14b"
    "qwen2.5-32b"
    "qwen2.5-3b"
    "qwen2.5-72b"
    "qwen2.5-7b-instruct"
    "qwen3-0.6b"
    "qwen3-1.7b"
    "qwen3-14b"
    "qwen3-30b-a3b"
    "qwen3-4b"
    "qwen3-8b"
    "smollm2-1.7b"
    "smollm2-135m"
    "smollm2-360m"
    "tinyllama-1.1b"
};

#[derive(Deserialize)]
struct File {
    hf_id: String,
    aliases: Vec<String>,
    config: serde_json::Value,
    sources: Sources,
}

#[derive(Deserialize)]
struct Sources {
    shapes: String,
}

struct Entry {
    short: &'static str,
    hf_id: String,
    aliases: Vec<String>,
    architecture: Architecture,
}

/// The catalog, read once. A file that does not read is a mistake of this crate and caught by its tests; it is left out
/// rather than ending the caller's process.
fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| FILES.iter().filter_map(|(short, text)| entry(short, text).ok()).collect())
}

fn entry(short: &'static str, text: &str) -> Result<Entry, String> {
    let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let mut architecture = config::from_value(&file.config).map_err(|e| e.to_string())?;
    architecture.name = file.hf_id.clone();
    architecture.source = format!("memspec's catalog: {}", file.sources.shapes);
    Ok(Entry { short, hf_id: file.hf_id, aliases: file.aliases, architecture })
}

/// The model of this hub name, short name or alias; case does not matter.
pub fn get(name: &str) -> Option<Architecture> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    let found = entries().iter().find(|e| is(&e.hf_id) || is(e.short) || e.aliases.iter().any(|a| is(a)))?;
    Some(found.architecture.clone())
}

/// The short names, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    entries().iter().map(|e| e.short).collect()
}

/// Up to three names that look like `name`, the nearest first: hub names where `name` has an organisation, else short names.
pub fn nearest(name: &str) -> Vec<String> {
    let hub = name.contains('/');
    let known = entries().iter().flat_map(|e| {
        let names: Vec<&str> = if hub { vec![&e.hf_id] } else { vec![e.short] };
        names.into_iter().chain(e.aliases.iter().map(String::as_str).filter(move |a| a.contains('/') == hub))
    });
    super::nearest(name, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Counts {
        name: String,
        parameters: u64,
        parameters_published: Option<u64>,
    }

    #[test]
    fn every_model_counts_to_exactly_what_was_computed_and_published() {
        for (short, text) in FILES {
            let counts: Counts = serde_json::from_str(text).unwrap();
            assert_eq!(counts.name, *short);
            let architecture = entry(short, text).unwrap().architecture;
            assert_eq!(architecture.parameters(), counts.parameters, "{short}");
            assert_eq!(counts.parameters_published.unwrap_or(counts.parameters), counts.parameters, "{short}");
        }
        assert_eq!(entries().len(), 37);
    }

    #[test]
    fn the_list_names_every_file_of_the_folder_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/models");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<String> = FILES.iter().map(|(name, _)| format!("{name}.json")).collect();
        assert_eq!(listed, files);
    }

    #[test]
    fn a_name_means_one_model() {
        let mut seen = std::collections::HashMap::new();
        for e in entries() {
            for name in e.aliases.iter().map(String::as_str).chain([e.hf_id.as_str(), e.short]) {
                let before = seen.insert(name.to_lowercase(), e.short);
                assert_eq!(before, None, "{name} is also {}", e.short);
            }
        }
    }

    #[test]
    fn hub_names_short_names_and_aliases_find_a_model_whatever_their_case() {
        for name in ["meta-llama/Meta-Llama-3-8B", "META-LLAMA-3-8B", "llama3-8b", "nousresearch/meta-llama-3-8b"] {
            assert_eq!(get(name).unwrap().name, "meta-llama/Meta-Llama-3-8B", "{name}");
        }
        assert_eq!(get("llama"), None);
        assert_eq!(get(""), None);
    }

    #[test]
    fn a_slip_finds_the_model_that_was_meant() {
        assert_eq!(nearest("llama3.2-1bb")[0], "llama3.2-1b");
        assert_eq!(nearest("Qwen/Qwen2.5-05B")[0], "Qwen/Qwen2.5-0.5B");
        assert_eq!(nearest("resnet"), Vec::<String>::new());
    }
}
