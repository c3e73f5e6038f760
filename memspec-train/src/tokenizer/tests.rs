use super::*;
use crate::checkpoint::Checkpoint;
use crate::template::Message;
use crate::testing::{Gguf, json_fixture, write};

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The fixture's byte-level vocabulary with three control tokens behind it, as a GGUF file.
fn byte_level(pre: &str) -> Gguf {
    let fixture = json_fixture("vocabularies.json");
    let mut tokens = strings(&fixture["byte_level"]["tokens"]);
    let plain = tokens.len();
    tokens.extend(["<|bos|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let types: Vec<i32> = (0..tokens.len()).map(|id| if id < plain { 1 } else { 3 }).collect();
    Gguf::default()
        .text("general.architecture", "llama")
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &tokens)
        .integers("tokenizer.ggml.token_type", &types)
        .texts("tokenizer.ggml.merges", &strings(&fixture["byte_level"]["merges"]))
        .number("tokenizer.ggml.bos_token_id", plain as u32)
        .number("tokenizer.ggml.eos_token_id", plain as u32 + 2)
        .text("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
}

fn open(file: &Gguf) -> (tempfile::TempDir, Result<Tokenizer, TokenizerError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "m.gguf", file.bytes());
    let tokenizer = Tokenizer::open(&path);
    (folder, tokenizer)
}

#[test]
fn byte_level_gguf_gives_the_reference_ids_under_every_rule() {
    let fixture = json_fixture("vocabularies.json");
    for (pre, expected) in fixture["byte_level"]["ids"].as_object().unwrap() {
        let (_folder, tokenizer) = open(&byte_level(pre));
        let tokenizer = tokenizer.unwrap();
        for (text, expected) in strings(&fixture["strings"]).iter().zip(expected.as_array().unwrap()) {
            assert_eq!(tokenizer.encode(text).unwrap(), ids(expected), "{pre}: {text:?}");
            if pre != "qwen2" {
                assert_eq!(&tokenizer.decode(&ids(expected)).unwrap(), text, "{pre}");
            }
        }
    }
}

#[test]
fn sentence_piece_gguf_gives_the_reference_ids() {
    let fixture = json_fixture("vocabularies.json");
    let model = &fixture["sentence_piece"];
    let scores: Vec<f32> = model["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap() as f32).collect();
    let types: Vec<i32> = ids(&model["types"]).into_iter().map(|kind| kind as i32).collect();
    let file = Gguf::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &strings(&model["tokens"]))
        .floats("tokenizer.ggml.scores", &scores)
        .integers("tokenizer.ggml.token_type", &types)
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2);
    let (_folder, tokenizer) = open(&file);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.prefix(), [1], "llama begins a text with bos");
    for (text, expected) in strings(&fixture["strings"]).iter().zip(model["ids"].as_array().unwrap()) {
        assert_eq!(tokenizer.encode(text).unwrap(), ids(expected), "{text:?}");
        assert_eq!(&tokenizer.decode(&ids(expected)).unwrap(), text);
    }
}

#[test]
fn special_tokens_in_a_text_are_recognised_and_none_are_added() {
    let (_folder, tokenizer) = open(&byte_level("smollm"));
    let tokenizer = tokenizer.unwrap();
    let (bos, eos) = (tokenizer.bos().unwrap(), tokenizer.eos().unwrap());
    let ids = tokenizer.encode("<|bos|>the<|im_end|>").unwrap();
    assert_eq!((ids[0], *ids.last().unwrap()), (bos, eos));
    assert!(!tokenizer.encode("the").unwrap().contains(&bos));
    assert_eq!(tokenizer.decode(&ids).unwrap(), "<|bos|>the<|im_end|>");
    assert_eq!(tokenizer.decode_plain(&ids).unwrap(), "the");
    assert_eq!(tokenizer.stop(), [eos]);
    assert!(tokenizer.is_special(bos) && tokenizer.prefix().is_empty());
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(eos));
}

#[test]
fn written_files_open_again_and_give_the_same() {
    let (_folder, tokenizer) = open(&byte_level("llama-bpe").flag("tokenizer.ggml.add_bos_token", true));
    let tokenizer = tokenizer.unwrap();
    let out = tempfile::tempdir().unwrap();
    tokenizer.write_files(out.path()).unwrap();
    let again = Tokenizer::open(out.path()).unwrap();
    let text = "It's <|im_start|> 2024!\n\n ok";
    assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap());
    assert_eq!((again.bos(), again.eos(), again.pad()), (tokenizer.bos(), tokenizer.eos(), tokenizer.pad()));
    assert_eq!(again.prefix(), tokenizer.prefix());
    assert_eq!(again.prefix(), [tokenizer.bos().unwrap()]);
    assert_eq!(again.vocab_size(), tokenizer.vocab_size());
    let render = |tokenizer: &Tokenizer| {
        tokenizer.chat_template().unwrap().render(&[Message::new("user", "hi")], false).unwrap()
    };
    assert_eq!(render(&again), "hi<|im_end|>");
    assert_eq!(render(&tokenizer), render(&again));
}

#[test]
fn what_is_no_tokenizer_is_explained() {
    let check = |result: Result<Tokenizer, TokenizerError>, parts: &[&str]| {
        let message = result.map(|_| ()).expect_err("this must not open").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    let folder = tempfile::tempdir().unwrap();
    check(Tokenizer::open(folder.path()), &["no tokenizer here", "tokenizer.json", "tokenizer_config.json"]);
    write(folder.path(), "tokenizer.model", "x");
    check(Tokenizer::open(folder.path()), &["tokenizer.model", "save_pretrained"]);
    write(folder.path(), "tokenizer.json", "{}");
    check(Tokenizer::open(folder.path()), &["tokenizer.json", "fetch the file again"]);
    check(open(&byte_level("martian")).1, &["`martian`", "smollm"]);
    let wordpiece = Gguf::default().text("tokenizer.ggml.model", "bert").texts("tokenizer.ggml.tokens", &["a"]);
    check(open(&wordpiece).1, &["`bert`", "gpt2, llama"]);
    check(open(&Gguf::default()).1, &["no tokenizer inside"]);
    check(
        open(&byte_level("smollm").number("tokenizer.ggml.padding_token_id", 9999)).1,
        &["padding_token_id", "no token"],
    );
    let merge = Gguf::default()
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &["a"])
        .texts("tokenizer.ggml.merges", &["ab"]);
    check(open(&merge).1, &["merge 0", "`ab`"]);
}

/// `MEMSPEC_SMOLLM2=SmolLM2-135M-Instruct.Q4_1.gguf cargo nextest run -p memspec-train --run-ignored only smollm2`
#[test]
#[ignore = "needs SmolLM2's file, 98 MB"]
fn smollm2_as_in_transformers() {
    let path = std::env::var("MEMSPEC_SMOLLM2").expect("MEMSPEC_SMOLLM2 names the GGUF file");
    let tokenizer = Tokenizer::open(&path).unwrap();
    let expected = json_fixture("smollm2.json");
    for (text, expected) in strings(&expected["strings"]).iter().zip(expected["ids"].as_array().unwrap()) {
        assert_eq!(tokenizer.encode(text).unwrap(), ids(expected), "{text:?}");
    }
    let messages: Vec<Message> = serde_json::from_value(expected["messages"].clone()).unwrap();
    let rendered = tokenizer.chat_template().unwrap().render(&messages, true).unwrap();
    assert_eq!(rendered, expected["rendered"].as_str().unwrap());
    let checkpoint = Checkpoint::open(&path).unwrap();
    for (name, value) in expected["weights"].as_object().unwrap() {
        let values = checkpoint.read_all(name).unwrap();
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        assert!((sum - value["sum"].as_f64().unwrap()).abs() < 1e-3, "{name}");
        for row in 0..3 {
            let at = value["row"].as_u64().unwrap() as usize + row;
            assert_eq!(values[at * 576], value["first"][row].as_f64().unwrap() as f32, "{name} row {at}");
        }
    }
}
