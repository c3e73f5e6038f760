//! Adapters in PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, which PEFT, vLLM and others load.

use crate::checkpoint::{Checkpoint, CheckpointError, TensorSpec, WriteError, write_atomically, write_safetensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::path::{Path, PathBuf};

/// The name of the settings' file.
pub const CONFIG: &str = "adapter_config.json";
/// The name of the weights' file.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT puts this before a module's path.
const PREFIX: &str = "base_model.model.";

/// Why an adapter cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// No adapter in the folder.
    #[error("{}: no adapter here: {missing} is missing; give the folder that a run wrote its adapter to", folder.display())]
    NotFound {
        /// The folder.
        folder: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// A model in the folder, and no adapter.
    #[error(
        "{}: no adapter here: the folder holds a whole model; to use it, set the plan's `model` to this folder and name no adapter",
        folder.display()
    )]
    WholeModel {
        /// The folder.
        folder: PathBuf,
    },
    /// The settings' file cannot be read.
    #[error("{}: {source}; check that the file may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The settings make no sense.
    #[error("{}: {reason}; fetch or save the adapter again", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An adapter that does something that is not done here.
    #[error("{}: `{setting}` is {value}, which is not supported in this version", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// An adapter of another model.
    #[error("{}: the adapter is for `{module}`, which this model does not have; give an adapter of this model", folder.display())]
    OtherModel {
        /// The folder.
        folder: PathBuf,
        /// The module.
        module: String,
    },
    /// The weights' file cannot be used.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// The adapter could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// An adapter's settings, under PEFT's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// What the model is for.
    #[serde(default = "causal_lm")]
    pub task_type: Option<String>,
    /// The model that the adapter was trained on: its hub name or folder.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// The rank.
    pub r: u32,
    /// The update is multiplied by `lora_alpha / r`, or by `lora_alpha / sqrt(r)` with `use_rslora`.
    pub lora_alpha: f64,
    /// The share of inputs dropped in training, 0 to 1.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Leaf names of the adapted modules, `q_proj` and so on.
    pub target_modules: Vec<String>,
    /// See `lora_alpha`.
    #[serde(default)]
    pub use_rslora: bool,
    /// The norms of adapted rows are trained too (DoRA).
    #[serde(default)]
    pub use_dora: bool,
    /// Every other setting, as read; what a new adapter is written with otherwise.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn causal_lm() -> Option<String> {
    Some("CAUSAL_LM".to_owned())
}

impl AdapterConfig {
    /// The settings of a new adapter.
    pub fn new(
        base_model: &str,
        rank: u32,
        alpha: f64,
        dropout: f64,
        rank_stabilized: bool,
        targets: &[String],
    ) -> Self {
        let mut target_modules = targets.to_vec();
        target_modules.sort();
        let other = serde_json::json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "bias": "none",
            "exclude_modules": null,
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layer_replication": null,
            "layers_pattern": null,
            "layers_to_transform": null,
            "loftq_config": {},
            "lora_bias": false,
            "megatron_config": null,
            "megatron_core": "megatron.core",
            "modules_to_save": null,
            "rank_pattern": {},
            "revision": null,
            "target_parameters": null,
            "trainable_token_indices": null,
        });
        let other = match other {
            Value::Object(other) => other,
            _ => Map::new(),
        };
        Self {
            peft_type: "LORA".to_owned(),
            task_type: causal_lm(),
            base_model_name_or_path: Some(base_model.to_owned()),
            r: rank,
            lora_alpha: alpha,
            lora_dropout: dropout,
            target_modules,
            use_rslora: rank_stabilized,
            use_dora: false,
            other,
        }
    }

    /// What it has for each module.
    pub fn parts(&self) -> &'static [Part] {
        if self.use_dora { &[Part::A, Part::B, Part::Magnitude] } else { &[Part::A, Part::B] }
    }

    /// What the adapter's update is multiplied by.
    pub fn scaling(&self) -> f64 {
        let rank = f64::from(self.r);
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Reads `adapter_config.json` from an adapter's folder; settings that would change the result and are not supported are errors.
    pub fn read(folder: &Path) -> Result<Self, AdapterError> {
        let path = folder.join(CONFIG);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.join("config.json").exists() => {
                return Err(AdapterError::WholeModel { folder: folder.to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AdapterError::NotFound { folder: folder.to_owned(), missing: CONFIG });
            }
            Err(source) => return Err(AdapterError::Io { path, source }),
        };
        let config = |reason: String| AdapterError::Config { path: path.clone(), reason };
        let unsupported = |setting, value: String| AdapterError::Unsupported { path: path.clone(), setting, value };
        let value: Value = serde_json::from_slice(&text).map_err(|error| config(error.to_string()))?;
        // the kind first: other kinds have other settings
        match value.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => return Err(unsupported("peft_type", other.to_owned())),
            None => {
                return Err(config("`peft_type` is missing: this is no adapter of PEFT".to_owned()));
            }
        }
        if let Some(Value::String(pattern)) = value.get("target_modules") {
            return Err(unsupported("target_modules", format!("the pattern `{pattern}`")));
        }
        let read: Self = serde_json::from_value(value).map_err(|error| config(error.to_string()))?;
        if read.r == 0 {
            return Err(config("`r` is 0".to_owned()));
        }
        if !read.lora_alpha.is_finite() {
            return Err(config("`lora_alpha` is no finite number".to_owned()));
        }
        for (setting, harmless) in [
            ("bias", Value::from("none")),
            ("lora_bias", false.into()),
            ("fan_in_fan_out", false.into()),
            ("rank_pattern", Map::new().into()),
            ("alpha_pattern", Map::new().into()),
            ("modules_to_save", Value::Null),
            ("layer_replication", Value::Null),
            ("trainable_token_indices", Value::Null),
            ("target_parameters", Value::Null),
        ] {
            let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            match read.other.get(setting) {
                Some(value) if *value != harmless && !empty(value) => {
                    return Err(unsupported(setting, value.to_string()));
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Writes `adapter_config.json`, atomically.
    pub fn write(&self, folder: &Path) -> Result<(), AdapterError> {
        let path = folder.join(CONFIG);
        write_atomically(&path, |out| {
            // through a map: keys in order, as PEFT writes them
            let value = serde_json::to_value(self)?;
            let sorted: std::collections::BTreeMap<&String, &Value> = value.as_object().into_iter().flatten().collect();
            serde_json::to_writer_pretty(&mut *out, &sorted)?;
            out.write_all(b"\n")
        })?;
        Ok(())
    }
}

/// A tensor of an adapted module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// `lora_A`, `[rank, in_features]`.
    A,
    /// `lora_B`, `[out_features, rank]`.
    B,
    /// `lora_magnitude_vector`, `[out_features]`, of a DoRA.
    Magnitude,
}

impl Part {
    /// What follows a module's path in the name of its tensor.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::A => "lora_A.weight",
            Self::B => "lora_B.weight",
            Self::Magnitude => "lora_magnitude_vector",
        }
    }
}

/// The name of an adapter's tensor for the module at `module` (`model.layers.0.self_attn.q_proj`).
pub fn tensor_name(module: &str, part: Part) -> String {
    format!("{PREFIX}{module}.{}", part.suffix())
}

/// An adapted module and its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptedModule {
    /// Its path in the model, `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Inputs of the linear.
    pub in_features: usize,
    /// Outputs of the linear.
    pub out_features: usize,
}

impl AdaptedModule {
    /// The shape of a tensor, of an adapter of this rank.
    fn shape(&self, part: Part, rank: usize) -> Vec<usize> {
        match part {
            Part::A => vec![rank, self.in_features],
            Part::B => vec![self.out_features, rank],
            Part::Magnitude => vec![self.out_features],
        }
    }
}

/// Writes the adapter's two files. `values` gives each tensor, row-major.
///
/// Each file is whole or not there; the weights come first, so that a folder with a config has its weights.
pub fn write(
    folder: &Path,
    config: &AdapterConfig,
    modules: &[AdaptedModule],
    mut values: impl FnMut(&str, Part) -> Vec<f32>,
) -> Result<(), AdapterError> {
    let rank = config.r as usize;
    let each: Vec<(&AdaptedModule, Part)> =
        modules.iter().flat_map(|module| config.parts().iter().map(move |&part| (module, part))).collect();
    let spec = |&(module, part): &(&AdaptedModule, Part)| TensorSpec {
        name: tensor_name(&module.module, part),
        shape: module.shape(part, rank),
    };
    let tensors: Vec<TensorSpec> = each.iter().map(spec).collect();
    write_safetensors(&folder.join(WEIGHTS), &tensors, |index| values(&each[index].0.module, each[index].1))?;
    config.write(folder)
}

/// An adapter on disk.
#[derive(Debug)]
pub struct Adapter {
    /// Its settings.
    pub config: AdapterConfig,
    weights: Checkpoint,
}

impl Adapter {
    /// Opens an adapter's folder; the weights are read later.
    pub fn open(folder: &Path) -> Result<Self, AdapterError> {
        let config = AdapterConfig::read(folder)?;
        let path = folder.join(WEIGHTS);
        if !path.exists() {
            return Err(AdapterError::NotFound { folder: folder.to_owned(), missing: WEIGHTS });
        }
        let weights = Checkpoint::open(&path)?;
        // before anyone makes room for matrices of this rank
        let first = weights.names().find(|name| name.ends_with(".lora_A.weight"));
        let rank = match first {
            Some(name) => weights.shape(name)?.first().copied(),
            None => None,
        };
        if rank != Some(config.r as usize) {
            let found = rank.map_or("none".to_owned(), |rank| rank.to_string());
            let reason = format!("`r` is {}, the rank of the matrices in {WEIGHTS} is {found}", config.r);
            return Err(AdapterError::Config { path: folder.join(CONFIG), reason });
        }
        Ok(Self { config, weights })
    }

    /// The modules that the file has matrices for, in order of their names.
    pub fn modules(&self) -> Vec<String> {
        let mut modules: Vec<String> = self
            .weights
            .names()
            .filter_map(|name| Some(name.strip_prefix(PREFIX)?.strip_suffix(".lora_A.weight")?.to_owned()))
            .collect();
        modules.sort();
        modules
    }

    /// An error unless the file holds all tensors of each module and nothing else: whoever uses all of an adapter must not leave a part out.
    pub fn expect_whole(&self) -> Result<(), AdapterError> {
        let modules = self.modules();
        let parts = self.config.parts();
        let all: Vec<String> =
            modules.iter().flat_map(|module| parts.iter().map(|&part| tensor_name(module, part))).collect();
        let config = |reason: String| AdapterError::Config { path: self.weights.path().to_owned(), reason };
        if let Some(other) = self.weights.names().find(|name| !all.iter().any(|known| known == name)) {
            return Err(config(format!("the tensor `{other}` belongs to no pair of matrices, which is not supported")));
        }
        match all.iter().find(|name| !self.weights.contains(name)) {
            Some(missing) => Err(config(format!("the tensor `{missing}` is missing"))),
            None => Ok(()),
        }
    }

    /// An error unless all tensors of a module are there with the shapes that its sizes and the rank give.
    pub fn expect(&self, module: &AdaptedModule) -> Result<(), AdapterError> {
        let rank = self.config.r as usize;
        for &part in self.config.parts() {
            self.weights.expect_shape(&tensor_name(&module.module, part), &module.shape(part, rank))?;
        }
        Ok(())
    }

    /// One tensor, row-major; an error unless it is there with the shape that the module's sizes and the rank give.
    pub fn read(&self, module: &AdaptedModule, part: Part) -> Result<Vec<f32>, AdapterError> {
        self.expect(module)?;
        Ok(self.read_values(module, part)?)
    }

    /// One tensor, row-major, whatever its shape is.
    pub(crate) fn read_values(&self, module: &AdaptedModule, part: Part) -> Result<Vec<f32>, CheckpointError> {
        self.weights.read_all(&tensor_name(&module.module, part))
    }
}

#[cfg(test)]
mod tests;
