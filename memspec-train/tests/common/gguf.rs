//! The tiny model of the quickstart as one GGUF file, as llama.cpp's converter writes it.

use serde_json::Value;

use super::files::Gguf;
use super::{Place, split};

/// ggml's number for bfloat16.
const BF16: u32 = 30;

/// The model and tokenizer in the place's `model/`.
pub(crate) fn of(place: &Place) -> Gguf {
    let config = place.json("model/config.json");
    let number = |key: &str| u32::try_from(config[key].as_u64().unwrap()).unwrap();
    let file = Gguf::default()
        .text("general.architecture", "llama")
        .number("llama.embedding_length", number("hidden_size"))
        .number("llama.block_count", number("num_hidden_layers"))
        .number("llama.feed_forward_length", number("intermediate_size"))
        .number("llama.attention.head_count", number("num_attention_heads"))
        .number("llama.attention.head_count_kv", number("num_key_value_heads"))
        .number("llama.context_length", number("max_position_embeddings"))
        .decimal("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .decimal("llama.rope.freq_base", 10_000.0);
    tensors(tokenizer(file, place), place, number("num_attention_heads"), number("num_key_value_heads"))
}

fn tokenizer(file: Gguf, place: &Place) -> Gguf {
    let tokenizer = place.json("model/tokenizer.json");
    let mut tokens: Vec<(&String, u64)> = tokenizer["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(text, id)| (text, id.as_u64().unwrap()))
        .collect();
    tokens.sort_by_key(|(_, id)| *id);
    let (normal, control) = (1, 3);
    let kinds: Vec<i32> = tokens.iter().map(|(_, id)| if *id < 3 { control } else { normal }).collect();
    let tokens: Vec<&String> = tokens.into_iter().map(|(text, _)| text).collect();
    let merges: Vec<String> = tokenizer["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    let template = place.json("model/tokenizer_config.json")["chat_template"].as_str().unwrap().to_owned();
    file.text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", &tokens)
        .integers("tokenizer.ggml.token_type", &kinds)
        .texts("tokenizer.ggml.merges", &merges)
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.padding_token_id", 0)
        .text("tokenizer.chat_template", &template)
}

/// A merge is a text, or a pair of texts.
fn merge(merge: &Value) -> String {
    match merge {
        Value::String(text) => text.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    }
}

fn tensors(mut file: Gguf, place: &Place, heads: u32, kv_heads: u32) -> Gguf {
    let (header, data) = split(&std::fs::read(place.path("model/model.safetensors")).unwrap());
    for (name, entry) in header.as_object().unwrap() {
        let Some(offsets) = entry.get("data_offsets") else { continue };
        let at = |index: usize| offsets[index].as_u64().unwrap() as usize;
        let mut bytes = data[at(0)..at(1)].to_vec();
        let shape: Vec<u64> = entry["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
        if name.ends_with("q_proj.weight") {
            bytes = interleave(&bytes, shape[0] as usize, heads as usize);
        } else if name.ends_with("k_proj.weight") {
            bytes = interleave(&bytes, shape[0] as usize, kv_heads as usize);
        }
        file = file.tensor(&renamed(name), &shape, BF16, &bytes);
    }
    file
}

/// The converter's order of the rows of q and k: row `t * n / 2 + j` of a head of `n` rows becomes row `2j + t`.
fn interleave(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let row = bytes.len() / rows;
    let of_head = rows / heads;
    (0..rows)
        .flat_map(|at| {
            let (head, at) = (at / of_head, at % of_head);
            let from = head * of_head + at % 2 * of_head / 2 + at / 2;
            bytes[from * row..(from + 1) * row].to_vec()
        })
        .collect()
}

fn renamed(name: &str) -> String {
    let names = [
        ("model.embed_tokens", "token_embd"),
        ("model.layers", "blk"),
        ("model.norm", "output_norm"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    names.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}
