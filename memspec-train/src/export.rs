//! An adapter as a GGUF file, which llama.cpp loads beside a model (`--lora FILE`).
//!
//! What is written is what llama.cpp's own `convert_lora_to_gguf.py` writes: `general.type = adapter`, `adapter.type = lora`, alpha, and for
//! each linear `NAME.lora_a` and `NAME.lora_b`. llama.cpp turns neighbouring pairs of a head's rows in its `llama` files, where Hugging Face
//! turns the two halves; so the rows of B are put in that order for queries and keys, as the model's own are in its GGUF file.

use std::path::{Path, PathBuf};

use memspec::model::{Architecture, Family};
use serde::Serialize;

use crate::checkpoint::{CheckpointError, GgufValue, TensorSpec, WriteError, write_gguf};
use crate::peft::{AdaptedModule, Adapter, AdapterError, Part};

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// llama.cpp's name for the base's family.
    pub architecture: &'static str,
    /// Linears that the adapter changes.
    pub modules: usize,
    /// The adapter's rank.
    pub rank: u32,
    /// The alpha that is written: llama.cpp multiplies the update by alpha / rank.
    pub alpha: f32,
}

/// Why an adapter was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A family whose files are not known here.
    #[error(
        "`{model}` is `{kind}`, and adapters are exported for llama, mistral, qwen2, qwen3 and phi3 in this version; `merge` makes a model that llama.cpp's own converter takes"
    )]
    Family {
        /// The base.
        model: String,
        /// Its `model_type`.
        kind: String,
    },
    /// An adapter with magnitudes.
    #[error(
        "{}: the adapter is a DoRA, and llama.cpp knows LoRA only; `merge` makes a model that llama.cpp's own converter takes", folder.display()
    )]
    Dora {
        /// The adapter's folder.
        folder: PathBuf,
    },
    /// The adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The adapter's weights.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// The new file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// An adapted linear under both names.
struct Target {
    module: AdaptedModule,
    gguf: String,
    /// Heads whose rows are put in llama.cpp's order.
    permuted: Option<usize>,
}

/// Writes the adapter in `folder`, which was trained on `base`, to the GGUF file `output`.
///
/// # Errors
/// A family that llama.cpp knows by other rules, an adapter of another model, a file that cannot be written.
pub fn export(base: &Architecture, folder: &Path, output: &Path) -> Result<Exported, ExportError> {
    let architecture = match base.family {
        Family::Llama | Family::Mistral => "llama",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 => "qwen3",
        Family::Phi3 => "phi3",
        _ => return Err(ExportError::Family { model: base.name.clone(), kind: base.model_type.clone() }),
    };
    let adapter = Adapter::open(folder)?;
    if adapter.config.use_dora {
        return Err(ExportError::Dora { folder: folder.to_owned() });
    }
    adapter.expect_whole()?;
    let mut targets = Vec::new();
    for module in adapter.modules() {
        let target = target(base, architecture == "llama", &module)
            .ok_or_else(|| AdapterError::OtherModel { folder: folder.to_owned(), module: module.clone() })?;
        adapter.expect(&target.module)?;
        targets.push(target);
    }
    // Block after block, as llama.cpp's files are.
    targets.sort_by_cached_key(|target| block_of(&target.module.module).map(|(block, _)| block));

    let config = &adapter.config;
    let alpha = (config.scaling() * f64::from(config.r)) as f32;
    let text = |text: &str| GgufValue::Text(text.to_owned());
    let metadata = [
        ("general.architecture", text(architecture)),
        ("general.type", text("adapter")),
        ("general.name", text(&base.name)),
        ("general.file_type", GgufValue::U32(0)),
        ("adapter.type", text("lora")),
        ("adapter.lora.alpha", GgufValue::F32(alpha)),
    ];
    let rank = config.r as usize;
    let specs: Vec<TensorSpec> = targets
        .iter()
        .flat_map(|target| {
            let AdaptedModule { in_features, out_features, .. } = target.module;
            [("lora_a", vec![rank, in_features]), ("lora_b", vec![out_features, rank])]
                .map(|(part, shape)| TensorSpec { name: format!("{}.{part}", target.gguf), shape })
        })
        .collect();
    let mut failed = None;
    let written = write_gguf(output, &metadata, &specs, |index| {
        let target = &targets[index / 2];
        let part = if index.is_multiple_of(2) { Part::A } else { Part::B };
        match adapter.read(&target.module, part) {
            Ok(values) => match target.permuted {
                Some(heads) if part == Part::B => neighbouring_pairs(&values, heads, rank),
                _ => values,
            },
            // Too few values: the file is not written.
            Err(error) => {
                failed = Some(error);
                Vec::new()
            }
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    written?;
    Ok(Exported { architecture, modules: targets.len(), rank: config.r, alpha })
}

/// The block's number and the rest of a module's path.
fn block_of(module: &str) -> Option<(u64, &str)> {
    let (block, rest) = module.strip_prefix("model.layers.")?.split_once('.')?;
    Some((block.parse().ok()?, rest))
}

/// A module of the adapter in the base; `None`: the base has none of that name.
fn target(base: &Architecture, permutes: bool, module: &str) -> Option<Target> {
    let (at, linear, heads) = match block_of(module) {
        Some((block, rest)) if block < base.layers => {
            let linear = base.block_linears().into_iter().find(|linear| linear.module == rest)?;
            let heads = match linear.leaf() {
                "q_proj" => Some(base.heads),
                "k_proj" => Some(base.kv_heads),
                _ => None,
            };
            (format!("blk.{block}."), linear, heads)
        }
        None if module == "lm_head" && !base.tied_embeddings => (String::new(), base.head_linear(), None),
        _ => return None,
    };
    let name = match linear.leaf() {
        "q_proj" => "attn_q",
        "k_proj" => "attn_k",
        "v_proj" => "attn_v",
        "qkv_proj" => "attn_qkv",
        "o_proj" => "attn_output",
        "gate_proj" => "ffn_gate",
        "up_proj" | "gate_up_proj" => "ffn_up",
        "down_proj" => "ffn_down",
        "lm_head" => "output",
        _ => return None,
    };
    Some(Target {
        module: AdaptedModule {
            module: module.to_owned(),
            in_features: linear.in_features as usize,
            out_features: linear.out_features as usize,
        },
        gguf: format!("{at}{name}.weight"),
        permuted: heads.filter(|_| permutes).map(|heads| heads as usize),
    })
}

/// In each head, row `2 j + t` is what was row `t * rows / 2 + j`: the two halves of a head become neighbouring pairs.
fn neighbouring_pairs(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns / heads;
    let half = rows / 2;
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(rows * columns) {
        for row in 0..rows {
            let from = row % 2 * half + row / 2;
            out.extend_from_slice(&head[from * columns..][..columns]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_head_become_pairs() {
        // two heads of four rows, two columns
        let values: Vec<f32> = (0..16).map(|value| value as f32).collect();
        let rows: Vec<f32> = neighbouring_pairs(&values, 2, 2).iter().step_by(2).map(|value| value / 2.0).collect();
        assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
