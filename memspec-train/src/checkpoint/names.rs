//! Hugging Face's tensor names for GGUF's, and the name most like a wrong one.

/// The Hugging Face name of a GGUF tensor; its own name where Hugging Face has no such tensor.
///
/// `architecture` is GGUF's `general.architecture`.
pub(super) fn from_gguf(architecture: &str, name: &str) -> String {
    known(architecture, name).unwrap_or_else(|| name.to_owned())
}

fn known(architecture: &str, name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        "output.bias" => return Some("lm_head.bias".to_owned()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    if !layer.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // gemma 2 and 3 have four norms a block
    let four_norms = matches!(architecture, "gemma2" | "gemma3");
    let fused = architecture == "phi3";
    let module = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" if four_norms => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_attention_norm" => "post_attention_layernorm",
        "post_ffw_norm" => "post_feedforward_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" if fused => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{module}.{kind}"))
}

/// The name with the fewest edits to `wanted`, if that is few.
pub(super) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    // short of a third of the name, or it is no help
    let most = wanted.len() / 3;
    names
        .filter(|name| name.len().abs_diff(wanted.len()) <= most)
        .map(|name| (edits(wanted, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name.to_owned())
}

fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
