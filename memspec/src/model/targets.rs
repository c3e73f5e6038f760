//! What an adapter's `targets` mean for this model.

use super::{Architecture, Family, Linear, nearest};
use crate::plan::Targets;

/// An adapter target that the model does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model} has no module `{name}`; it has {}", known.join(", "))]
pub struct UnknownTarget {
    /// The model that was asked.
    pub model: String,
    /// What was asked for.
    pub name: String,
    /// What can be asked for.
    pub known: Vec<String>,
    /// The known names that look most like it, the nearest first.
    pub nearest: Vec<String>,
}

impl Architecture {
    /// The modules that an adapter goes on, by the last part of their names (`q_proj`), in forward order, each once.
    ///
    /// `all_linear` is every linear of a block and never the head. Experts are one parameter and no linears; where PEFT takes the
    /// names that their linears had before ([`Architecture::expert_names`]), those are among them, and elsewhere (GPT-OSS) a
    /// model with experts has its attention only. A module may be named by more of its path (`self_attn.q_proj`), and the
    /// head by its name; the parameters of experts are `experts.gate_up_proj` and `experts.down_proj`.
    ///
    /// # Errors
    /// A module that the model lacks, or a group (`mlp`) that is empty for it.
    pub fn resolve_targets(&self, targets: &Targets) -> Result<Vec<String>, UnknownTarget> {
        match targets {
            Targets::AllLinear => {
                let mut all = leaves(&self.block_linears());
                all.extend(self.shared_targets().iter().map(|linear| linear.leaf().to_owned()));
                all.extend(self.expert_names().into_iter().flatten().map(str::to_owned));
                Ok(all)
            }
            Targets::Attention => Ok(leaves(&self.attention_linears())),
            Targets::Mlp => {
                let mut mlp = leaves(&self.mlp_linears());
                mlp.extend(self.shared_targets().iter().map(|linear| linear.leaf().to_owned()));
                mlp.extend(self.expert_names().into_iter().flatten().skip(1).map(str::to_owned));
                if mlp.is_empty() { Err(self.unknown_target("mlp")) } else { Ok(mlp) }
            }
            Targets::QueryValue => {
                let attention = leaves(&self.attention_linears());
                let separate = ["q_proj", "v_proj"].map(str::to_owned);
                if separate.iter().all(|name| attention.contains(name)) {
                    return Ok(separate.to_vec());
                }
                // the fused projection is the first linear of the attention
                Ok(attention.into_iter().take(1).collect())
            }
            Targets::Modules(names) => self.resolve_modules(names),
        }
    }

    /// The last names of all linears of the blocks, each once: who looks for them by their type finds no experts, which are parameters, but finds the linears
    /// of a shared expert, and those of dense blocks that a model with experts begins with.
    pub fn linear_names(&self) -> Vec<String> {
        let dense = self.experts.as_ref().filter(|experts| experts.first_dense > 0).map(|_| self.dense_mlp_linears());
        let mut names = leaves(&self.block_linears());
        names.extend(leaves(&self.linear_attention_linears()));
        names.extend(leaves(&self.shared_expert_linears()));
        names.extend(leaves(&dense.unwrap_or_default()));
        each_once(names.into_iter())
    }

    /// What PEFT takes for the router, gate, up and down of a model whose experts transformers 5 keeps in one parameter: the names
    /// that these had as linears (`peft/utils/transformers_weight_conversion.py`, `_MOE_TARGET_MODULE_MAPPING`; PEFT 0.21). None
    /// where there are no experts, or PEFT knows no such names for them.
    pub fn expert_names(&self) -> Option<[&'static str; 4]> {
        self.experts.as_ref().filter(|_| self.vision.is_none())?;
        match self.family {
            Family::Mixtral | Family::MinimaxM2 => Some(["gate", "w1", "w3", "w2"]),
            // Qwen2-MoE itself, after which the mapping is named, is not in it: its adapters go on its shared expert.
            Family::Qwen3Moe | Family::Qwen3Next | Family::Glm4Moe => {
                Some(["gate", "gate_proj", "up_proj", "down_proj"])
            }
            _ => None,
        }
    }

    /// The linears of a shared expert that an adapter can go on: its gate alone where the names of the others are the experts'.
    fn shared_targets(&self) -> Vec<Linear> {
        let linears = self.shared_expert_linears();
        let taken = if self.expert_names().is_some() { 3 } else { 0 };
        linears.into_iter().skip(taken).collect()
    }

    /// What an adapter can go on: the path that names it, and what it is called then.
    fn targets(&self) -> Vec<(String, String)> {
        let named = |linear: &Linear| (linear.module.clone(), linear.leaf().to_owned());
        let mut known: Vec<(String, String)> = self.block_linears().iter().map(named).collect();
        known.extend(self.linear_attention_linears().iter().map(named));
        // Where the names are the experts', PEFT takes the shared expert's by the end of their paths for them, too.
        known.extend(self.shared_expert_linears().iter().map(named));
        known.extend(self.expert_names().into_iter().flatten().map(|name| (name.to_owned(), name.to_owned())));
        for linear in self.expert_linears() {
            known.push((linear.module.clone(), format!("experts.{}", linear.leaf())));
        }
        known.push(named(&self.head_linear()));
        known
    }

    /// Whether an adapter's `targets` may name this.
    pub(crate) fn has_target(&self, name: &str) -> bool {
        self.targets().iter().any(|(path, leaf)| is_named(name, path, leaf))
    }

    fn resolve_modules(&self, names: &[String]) -> Result<Vec<String>, UnknownTarget> {
        let known = self.targets();
        let mut wanted = vec![false; known.len()];
        for name in names {
            let Some(at) = known.iter().position(|(path, leaf)| is_named(name, path, leaf)) else {
                return Err(self.unknown_target(name));
            };
            wanted[at] = true;
        }
        Ok(each_once(known.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|((_, leaf), _)| leaf)))
    }

    fn unknown_target(&self, name: &str) -> UnknownTarget {
        let known = each_once(self.targets().into_iter().map(|(_, leaf)| leaf));
        let nearest = nearest(name.rsplit('.').next().unwrap_or(name), known.iter().map(String::as_str));
        UnknownTarget { model: self.name.clone(), name: name.to_owned(), known, nearest }
    }
}

fn each_once(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn leaves(linears: &[Linear]) -> Vec<String> {
    linears.iter().map(|l| l.leaf().to_owned()).collect()
}

/// Whether `name` means what is at `path`. A parameter of experts is no module, so that the end of its path does not name it.
fn is_named(name: &str, path: &str, leaf: &str) -> bool {
    name == leaf || name == path || !leaf.starts_with("experts.") && is_suffix(name, path)
}

/// Whether `name` is `module` or ends it after a dot, as PEFT matches names.
fn is_suffix(name: &str, module: &str) -> bool {
    module.strip_suffix(name).is_some_and(|front| !name.is_empty() && (front.is_empty() || front.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog;

    fn check(model: &str, targets: Targets, expected: &str) {
        let architecture = catalog::get(model).unwrap();
        let found = match architecture.resolve_targets(&targets) {
            Ok(names) => names.join(" "),
            Err(e) => format!("{e} (nearest {})", e.nearest.join(" ")),
        };
        assert_eq!(found, expected, "{model} {targets:?}");
    }

    fn modules(names: &[&str]) -> Targets {
        Targets::Modules(names.iter().map(|n| (*n).to_owned()).collect())
    }

    #[test]
    fn groups_follow_the_family() {
        check("llama-3.2-1b", Targets::AllLinear, "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj");
        check("llama-3.2-1b", Targets::Attention, "q_proj k_proj v_proj o_proj");
        check("llama-3.2-1b", Targets::Mlp, "gate_proj up_proj down_proj");
        check("llama-3.2-1b", Targets::QueryValue, "q_proj v_proj");
        check("phi-4", Targets::AllLinear, "qkv_proj o_proj gate_up_proj down_proj");
        check("phi-4", Targets::QueryValue, "qkv_proj");
        check("phi-2", Targets::AllLinear, "q_proj k_proj v_proj dense fc1 fc2");
        check("falcon-7b", Targets::AllLinear, "query_key_value dense dense_h_to_4h dense_4h_to_h");
        check("falcon-7b", Targets::QueryValue, "query_key_value");
        check("gpt-oss-20b", Targets::AllLinear, "q_proj k_proj v_proj o_proj");
        // PEFT adapts the experts and the router of these by their names as linears.
        check("mixtral-8x7b", Targets::AllLinear, "q_proj k_proj v_proj o_proj gate w1 w3 w2");
        check("qwen3-30b-a3b", Targets::AllLinear, "q_proj k_proj v_proj o_proj gate gate_proj up_proj down_proj");
        check("qwen3-30b-a3b", Targets::Mlp, "gate_proj up_proj down_proj");
        check(
            "qwen1.5-moe-a2.7b",
            Targets::AllLinear,
            "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj shared_expert_gate",
        );
    }

    #[test]
    fn who_looks_for_linears_finds_no_router_and_no_experts() {
        let check = |model: &str, expected: &str| {
            assert_eq!(catalog::get(model).unwrap().linear_names().join(" "), expected, "{model}");
        };
        check("llama-3.2-1b", "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj");
        check("mixtral-8x7b", "q_proj k_proj v_proj o_proj");
        check("qwen3-30b-a3b", "q_proj k_proj v_proj o_proj");
        check("qwen1.5-moe-a2.7b", "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj shared_expert_gate");
    }

    #[test]
    fn modules_are_found_by_the_end_of_their_path_in_forward_order() {
        check("smollm2-135m", modules(&["v_proj", "self_attn.q_proj", "q_proj"]), "q_proj v_proj");
        check("smollm2-135m", modules(&["lm_head"]), "lm_head");
        check("gpt-oss-20b", modules(&["mlp.experts.down_proj", "q_proj"]), "q_proj experts.down_proj");
    }

    #[test]
    fn a_module_that_is_not_there_is_named_with_those_that_are() {
        check(
            "phi-3-mini-4k-instruct",
            modules(&["q_proj"]),
            "microsoft/Phi-3-mini-4k-instruct has no module `q_proj`; it has qkv_proj, o_proj, gate_up_proj, down_proj, lm_head \
             (nearest qkv_proj o_proj)",
        );
        check(
            "smollm2-135m",
            modules(&["proj"]),
            "HuggingFaceTB/SmolLM2-135M has no module `proj`; it has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, \
             down_proj, lm_head (nearest k_proj q_proj v_proj)",
        );
    }
}
