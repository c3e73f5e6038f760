//! Which modules get adapters: names, or a pattern of whole names (PEFT: `re.fullmatch`, `peft/tuners/tuners_utils.py`).

use regex_lite::RegexBuilder;

/// Linears of decoder blocks below their block, as models of transformers name them.
const LINEARS: &[&str] = &[
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "self_attn.qkv_proj",
    "self_attn.q_a_proj",
    "self_attn.q_b_proj",
    "self_attn.kv_a_proj_with_mqa",
    "self_attn.kv_b_proj",
    "linear_attn.in_proj_qkvz",
    "linear_attn.in_proj_ba",
    "linear_attn.in_proj_qkv",
    "linear_attn.in_proj_z",
    "linear_attn.in_proj_b",
    "linear_attn.in_proj_a",
    "linear_attn.out_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "mlp.gate_up_proj",
    "mlp.fc1",
    "mlp.fc2",
    "mlp.shared_experts.gate_proj",
    "mlp.shared_experts.up_proj",
    "mlp.shared_experts.down_proj",
    "mlp.shared_expert.gate_proj",
    "mlp.shared_expert.up_proj",
    "mlp.shared_expert.down_proj",
];

/// What stands before a decoder's block.
const STACKS: &[&str] = &[
    "model.layers.0.",
    "model.language_model.layers.0.",
    "language_model.model.layers.0.",
    "model.text_model.layers.0.",
];

/// Linears of vision towers.
const TOWERS: &[&str] = &[
    "model.visual.blocks.0.attn.qkv",
    "model.visual.vision_model.encoder.layers.0.self_attn.q_proj",
    "model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj",
    "model.vision_tower.layers.0.attn.q_proj",
    "model.vision_model.encoder.layers.0.self_attn.q_proj",
];

/// What a pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matched {
    /// Linears of the decoder, by their last names.
    pub(super) linears: Vec<&'static str>,
    /// Linears of a vision tower are among them.
    pub(super) tower: bool,
}

/// It is a pattern, not a name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '|', '(', '[', '\\', '+', '?', '^', '$'])
}

/// What a pattern names; `None`: it is none that is understood, or names no linear that is known.
pub(super) fn matched(pattern: &str) -> Option<Matched> {
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build().ok()?;
    let mut linears: Vec<&'static str> = Vec::new();
    for linear in LINEARS {
        let name = linear.rsplit('.').next().unwrap_or(linear);
        if STACKS.iter().any(|stack| whole.is_match(&format!("{stack}{linear}"))) && !linears.contains(&name) {
            linears.push(name);
        }
    }
    let tower = TOWERS.iter().any(|name| whole.is_match(name));
    (!linears.is_empty()).then_some(Matched { linears, tower })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_linears() {
        let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let text = r"model.language_model.layers.[\d]+.(mlp|cross_attn|self_attn).(up|down|gate|q|k|v|o)_proj";
        assert_eq!(matched(text), Some(Matched { linears: all.to_vec(), tower: false }));
        let both = r"(model\.layers\.\d+\.mlp\.up_proj|model\.visual\.blocks\.\d+\.attn\.(qkv|proj))";
        assert_eq!(matched(both), Some(Matched { linears: vec!["up_proj"], tower: true }));
        assert_eq!(matched("(unclosed"), None);
        assert_eq!(matched("nothing.like.it"), None);
        assert!(is_pattern(text) && !is_pattern("self_attn.q_proj"));
    }
}
