//! Models that memspec knows by name, from `catalog/models/*.json`: shapes, no weights.

use std::sync::OnceLock;

use serde::Deserialize;

use super::{Architecture, config};

macro_rules! models {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../catalog/models/", $name, ".json")))),*] };
}

/// Name and text of every file, in alphabetical order.
const FILES: &[(&str, &str)] = models! {
    "afm-4.5b"
    "apertus-8b-instruct-2509"
    "cerebras-gpt-1.3b"
    "codellama-13b"
    "codellama-34b"
    "codellama-7b"
    "command-r7b-12-2024"
    "dbrx-base"
    "deepseek-coder-1.3b"
    "ernie-4.5-0.3b-pt"
    "falcon-7b"
    "gemma-2-2b"
    "gemma-2-9b"
    "gemma-3-12b-it"
    "gemma-3-1b-it"
    "gemma-3-270m"
    "gemma-3-27b-it"
    "gemma-3-4b-it"
    "gemma-7b"
    "glm-4-32b-0414"
    "glm-4.5-air"
    "gpt-j-6b"
    "gpt-oss-120b-dequantized"
    "gpt-oss-120b"
    "gpt-oss-20b"
    "hunyuan-0.5b-instruct"
    "llama-2-13b"
    "llama-2-70b"
    "llama-2-7b"
    "llama-3.1-405b"
    "llama-3.1-8b"
    "llama-3.2-1b"
    "llama-3.2-3b"
    "llama-7b"
    "llava-1.5-7b"
    "magistral-small-2506"
    "meta-llama-3-70b"
    "meta-llama-3-8b"
    "mimo-7b-rl"
    "minimax-m2"
    "ministral-3-3b-reasoning-2512"
    "ministral-8b-instruct-2410"
    "mistral-7b-instruct-v0.2"
    "mistral-7b-v0.1"
    "mistral-7b-v0.3"
    "mistral-small-3.1-24b-instruct-2503"
    "mixtral-8x22b-community"
    "mixtral-8x22b-v0.1"
    "mixtral-8x7b-v0.1"
    "mpt-7b"
    "nemotron-mini-4b-instruct"
    "olmo-3-7b-instruct-sft"
    "open-llama-3b-v2"
    "orpheus-3b-0.1-pretrained"
    "phi-1_5"
    "phi-2"
    "phi-3-mini-4k-instruct"
    "phi-3.5-mini-instruct"
    "phi-4"
    "pixtral-12b"
    "pythia-1.4b"
    "pythia-12b"
    "qwen-7b"
    "qwen1.5-moe-a2.7b"
    "qwen2-1.5b"
    "qwen2-7b"
    "qwen2-vl-7b-instruct"
    "qwen2.5-0.5b"
    "qwen2.5-1.5b"
    "qwen2.5-14b"
    "qwen2.5-32b"
    "qwen2.5-3b"
    "qwen2.5-72b"
    "qwen2.5-7b-instruct"
    "qwen2.5-vl-7b-instruct"
    "qwen3-0.6b"
    "qwen3-1.7b"
    "qwen3-14b"
    "qwen3-235b-a22b-instruct-2507"
    "qwen3-30b-a3b-instruct-2507"
    "qwen3-30b-a3b"
    "qwen3-32b"
    "qwen3-4b-instruct-2507"
    "qwen3-4b"
    "qwen3-8b"
    "qwen3-next-80b-a3b-instruct"
    "qwen3-vl-30b-a3b-instruct"
    "qwen3-vl-4b-instruct"
    "qwen3.5-122b-a10b"
    "qwen3.5-27b"
    "qwen3.5-35b-a3b"
    "qwen3.5-397b-a17b"
    "qwen3.5-4b"
    "qwen3.5-9b"
    "redpajama-incite-3b"
    "seed-oss-36b-instruct"
    "smollm2-1.7b"
    "smollm2-135m"
    "smollm2-360m"
    "stablelm-2-1_6b"
    "starcoder2-3b"
    "tinyllama-1.1b"
    "yi-34b"
};

#[derive(Deserialize)]
struct File {
    hf_id: String,
    config: serde_json::Value,
    sources: Sources,
}

#[derive(Deserialize)]
struct Sources {
    shapes: String,
}

/// The names of a file's model.
#[derive(Deserialize)]
struct Names {
    hf_id: String,
    aliases: Vec<String>,
}

/// The model of this hub name, short name or alias; case does not matter. Only its own file is parsed.
///
/// A file that does not read is a mistake of this crate and caught by its tests; it is left out rather than ending the
/// caller's process.
pub fn get(name: &str) -> Option<Architecture> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    FILES.iter().filter(|(_, text)| mentions(text, name)).find_map(|(short, text)| {
        let names: Names = serde_json::from_str(text).ok()?;
        let known = is(short) || is(&names.hf_id) || names.aliases.iter().any(|a| is(a));
        if known { architecture(text).ok() } else { None }
    })
}

fn architecture(text: &str) -> Result<Architecture, String> {
    let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let mut architecture = config::from_value(&file.config).map_err(|e| e.to_string())?;
    architecture.name = file.hf_id;
    architecture.source = format!("memspec's catalog: {}", file.sources.shapes);
    Ok(architecture)
}

/// Whether the head of a file, where the names are, has `name` between quotes.
fn mentions(text: &str, name: &str) -> bool {
    let head = text.split("\"config\"").next().unwrap_or(text);
    head.split('"').any(|quoted| quoted.eq_ignore_ascii_case(name))
}

/// The short names, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|(short, _)| *short).collect()
}

/// Up to three names that look like `name`, the nearest first: hub names where `name` has an organisation, else short names.
pub fn nearest(name: &str) -> Vec<String> {
    static NAMES: OnceLock<Vec<(&str, Names)>> = OnceLock::new();
    let hub = name.contains('/');
    let all = NAMES.get_or_init(|| {
        FILES.iter().filter_map(|(short, text)| Some((*short, serde_json::from_str(text).ok()?))).collect()
    });
    let known = all.iter().flat_map(|(short, names)| {
        let first = if hub { names.hf_id.as_str() } else { short };
        std::iter::once(first).chain(names.aliases.iter().map(String::as_str).filter(move |a| a.contains('/') == hub))
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
        let mut wrong = Vec::new();
        for (short, text) in FILES {
            let counts: Counts = serde_json::from_str(text).unwrap();
            assert_eq!(counts.name, *short);
            let found = architecture(text).map(|a| a.parameters());
            for expected in [Some(counts.parameters), counts.parameters_published].into_iter().flatten() {
                if found != Ok(expected) {
                    wrong.push(format!("{short}: {found:?}, not {expected}"));
                }
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{wrong:#?}");
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
        for (short, text) in FILES {
            let names: Names = serde_json::from_str(text).unwrap();
            for name in names.aliases.iter().map(String::as_str).chain([names.hf_id.as_str(), short]) {
                let before = seen.insert(name.to_lowercase(), short);
                assert_eq!(before, None, "{name} is also {short}");
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

    /// The models that the example files of axolotl 0.21 and LLaMA-Factory 0.9.5 name.
    #[test]
    fn most_models_that_trainers_examples_name_are_known() {
        let list = include_str!("../../tests/fixtures/named-models.txt");
        let named: Vec<&str> = list.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        let missing: Vec<&str> = named.iter().copied().filter(|name| get(name).is_none()).collect();
        println!("{} of {} are known; missing: {}", named.len() - missing.len(), named.len(), missing.join(" "));
        assert!(named.len() - missing.len() >= 100, "{missing:#?}");
    }

    /// What transformers' own modules count to: `tests/fixtures/parameters.py`.
    #[test]
    fn parameters_are_those_of_transformers_modules() {
        use crate::exchange::job::Job;
        let counts: std::collections::BTreeMap<String, u64> =
            serde_json::from_str(include_str!("../../tests/fixtures/parameters.json")).unwrap();
        assert!(counts.len() > 130);
        for (name, count) in counts {
            let model = match name.strip_prefix("measured ") {
                Some(name) => {
                    Job::read(&serde_json::json!({"model": name, "targets": "all-linear"})).map(|job| job.model).ok()
                }
                None => get(&name),
            };
            assert_eq!(model.map(|model| model.parameters()), Some(count), "{name}");
        }
    }
}
