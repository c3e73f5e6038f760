//! The models of the measured runs, as they were measured: `catalog/measured.json`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::JobError;
use crate::model::{Architecture, SlidingLayers, catalog, config, nearest};

const TEXT: &str = include_str!("../../../catalog/measured.json");

#[derive(Deserialize)]
struct File {
    models: BTreeMap<String, Value>,
}

/// Read once. A model that does not read is a mistake of this crate, which its tests catch.
fn measured() -> &'static BTreeMap<String, Architecture> {
    static MODELS: OnceLock<BTreeMap<String, Architecture>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let file: File = serde_json::from_str(TEXT).unwrap_or(File { models: BTreeMap::new() });
        file.models
            .into_iter()
            .filter_map(|(name, config)| {
                let architecture = config::from_value(&config).ok()?;
                let source = "memspec's catalog: measured.json".to_owned();
                Some((name.clone(), Architecture { name, source, ..architecture }))
            })
            .collect()
    })
}

/// The names of the measured models.
pub fn names() -> impl Iterator<Item = &'static str> {
    measured().keys().map(String::as_str)
}

/// The model of a job: a measured one, or any of the catalog.
pub(super) fn find(name: &str) -> Result<Architecture, JobError> {
    if let Some(architecture) = measured().get(name).cloned().or_else(|| catalog::get(name)) {
        return Ok(architecture);
    }
    let near = nearest(name, names()).into_iter().next().or_else(|| catalog::nearest(name).into_iter().next());
    Err(JobError::Value {
        key: "model".to_owned(),
        value: super::fields::shown(&Value::String(name.to_owned())),
        allowed: format!("{}, or a name of the catalog", names().collect::<Vec<_>>().join(", ")),
        nearest: near,
    })
}

/// The model with so many blocks, in its vision tower too, as the measuring script cuts it.
pub(super) fn with_layers(mut model: Architecture, layers: u64) -> Architecture {
    model.layers = layers;
    if let Some(vision) = &mut model.vision {
        vision.layers = layers;
    }
    if let SlidingLayers::Listed(list) = &mut model.sliding_layers {
        list.truncate(usize::try_from(layers).unwrap_or(usize::MAX));
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_model_reads() {
        let file: File = serde_json::from_str(TEXT).unwrap();
        assert_eq!(measured().len(), file.models.len());
    }

    /// The published counts of the catalog's models of the same shapes.
    #[test]
    fn the_shapes_are_the_published_ones() {
        for (name, hub) in [
            ("llama3-8b", "meta-llama-3-8b"),
            ("llama3-70b", "meta-llama-3-70b"),
            ("llama3.2-1b", "llama-3.2-1b"),
            ("qwen2.5-7b", "qwen2.5-7b-instruct"),
            ("qwen2-vl-7b", "qwen2-vl-7b-instruct"),
            ("qwen2.5-vl-7b", "qwen2.5-vl-7b-instruct"),
            ("qwen3-vl-4b", "qwen3-vl-4b-instruct"),
            ("gemma3-4b", "gemma-3-4b-it"),
            ("llava-1.5-7b", "llava-1.5-7b"),
            ("mistral-small-3.1-24b", "mistral-small-3.1"),
            ("mixtral-8x7b", "mixtral-8x7b"),
            ("qwen3-30b-a3b", "qwen3-30b-a3b"),
            ("qwen1.5-moe-a2.7b", "qwen1.5-moe-a2.7b"),
            ("glm-4.5-air", "glm-4.5-air"),
            ("gpt-oss-20b", "gpt-oss-20b"),
            ("phi3-mini", "phi-3-mini-4k-instruct"),
            ("smollm2-135m", "smollm2-135m"),
            ("gemma2-2b", "gemma-2-2b"),
            ("phi-2", "phi-2"),
            ("falcon-7b", "falcon-7b"),
            ("apertus-8b", "apertus-8b-instruct-2509"),
        ] {
            assert_eq!(find(name).unwrap().parameters(), catalog::get(hub).unwrap().parameters(), "{name}");
        }
    }
}
