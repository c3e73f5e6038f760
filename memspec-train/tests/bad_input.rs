//! What is wrong with a plan, its files or its data is said in one report, and leaves nothing behind.

mod common;

use common::files::safetensors;
use common::{ADAPTER, Place};

const MODEL: &str = "model/model.safetensors";

/// The plan with one text replaced by another does not start.
fn check(code: i32, from: &str, to: &str, says: &[&str]) {
    Place::new().plan(&[(from, to)]).refuses_to_start(code, says);
}

#[test]
fn plans() {
    check(
        2,
        "micro_batch ",
        "micro_bach ",
        &["`train` has no setting `micro_bach`", "plan.mem:22", "did you mean `micro_batch`?"],
    );
    check(2, "48tok", "48GiB", &["`context` takes tokens", "plan.mem:17"]);
    check(2, "rank  = 4", "rank = 0", &["`rank` is at least 1"]);
    check(2, "rank  = 4", "rank = 4000000000", &["beyond the dimensions of any model"]);
    check(2, "rank  = 4", "rank = \"four\"", &["`rank`", "plan.mem:9"]);
    check(2, "device = cpu", "device = cpy", &["cpy"]);
    check(2, "\"model\"", "\"./nowhere\"", &["no such folder", "nowhere"]);
    check(2, "alpha = 8", "targets = [q_prj]", &["no module `q_prj`; it has q_proj"]);
    check(2, "micro_batch   = 2", "micro_batch = 0", &["`micro_batch` is at least 1"]);
    check(2, "device = cpu", "device cpu", &["plan.mem:5"]);
}

#[test]
fn settings_that_this_version_does_not_run() {
    check(2, "= f32", "= bf16", &["computes in f32, not bf16", "plan.mem:21"]);
    check(2, "adamw", "paged_adamw_8bit", &["adamw, adamw_8bit and sgd", "not paged_adamw_8bit", "plan.mem:23"]);
    let plan = Place::new();
    plan.plan(&[("adapter lora", "adapter dora"), ("alpha = 8", "dropout = 5%")]);
    plan.refuses_to_start(2, &["no dropout with dora", "plan.mem:10"]);
    check(2, "save {", "save {\n merge = true", &["does not merge adapters", "plan.mem:29"]);
    check(2, ADAPTER, "quantize nf4 { }", &["quantized weights cannot be trained", "add `adapter lora { }`"]);
}

#[test]
fn a_plan_over_its_budget_names_the_peak_and_what_fits() {
    // as large as the tiny model needs with one sample at a time, and not with sixteen
    let place = Place::new();
    place.plan(&[("micro_batch   = 2", "micro_batch = 16"), ("256MiB", "34MiB")]);
    place.refuses_to_start(1, &["may take 34.0 MiB", "micro_batch 16 -> 1", "fits"]);
    check(1, "256MiB", "1MiB", &["may take 1.0 MiB", "no single change makes it fit"]);
    check(1, "rank  = 4", "rank = 60000", &["may take 256.0 MiB"]);
}

#[test]
fn weights_that_are_not_there() {
    let name = "\"HuggingFaceTB/SmolLM2-135M-Instruct\"";
    check(2, "\"model\"", name, &["the weights of `HuggingFaceTB/SmolLM2-135M-Instruct` are not here", "hf download"]);
    let place = Place::new();
    place.plan(&[("\"model\"", &format!("{name}\n weights = \"small/model.gguf\""))]);
    place.refuses_to_start(2, &["no weights at small/model.gguf", "put them there"]);
    std::fs::create_dir(place.path("small")).unwrap();
    place.write("small/fetch.py", "").refuses_to_start(2, &["`python3 small/fetch.py`"]);
}

#[test]
fn a_model_folder_that_lacks_a_file() {
    let place = Place::new();
    place.remove("model/tokenizer.json").refuses_to_start(2, &["model: no tokenizer here", "copy tokenizer.json"]);
    let place = Place::new();
    place.remove(MODEL).refuses_to_start(2, &["model: no weights here", "model.safetensors"]);
    let place = Place::new();
    place.remove("model/config.json").refuses_to_start(2, &["config.json"]);
    let place = Place::new();
    place.write("model/tokenizer.json", "{").refuses_to_start(2, &["model/tokenizer.json", "fetch the file again"]);
    let place = Place::new();
    place.write("model/config.json", "{}").refuses_to_start(2, &["model/config.json"]);
}

#[test]
fn chat_templates() {
    let check = |template: &str, says: &[&str]| {
        let place = Place::new();
        let mut config = place.json("model/tokenizer_config.json");
        config["chat_template"] = template.into();
        place.write("model/tokenizer_config.json", config.to_string()).refuses_to_start(2, says);
    };
    check("{% for message in", &["tokenizer_config.json"]);
    check("{{ raise_exception('no system turn') }}", &["no system turn"]);
    check("{{ messages[7].content }}", &["train.jsonl:1"]);
    check("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", &["train.jsonl:1"]);
    check("", &[]);
    let place = Place::new();
    let mut config = place.json("model/tokenizer_config.json");
    config.as_object_mut().unwrap().remove("chat_template");
    place.write("model/tokenizer_config.json", config.to_string()).refuses_to_start(2, &["chat template"]);
    let named = "48tok\n template = \"none.jinja\"";
    Place::new().plan(&[("48tok", named)]).refuses_to_start(2, &["none.jinja"]);
}

#[test]
fn a_tokenizer_of_another_model() {
    let place = Place::new();
    let mut tokenizer = place.json("model/tokenizer.json");
    let token = serde_json::json!({"id": 5000, "content": "matey", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    place.write("model/tokenizer.json", tokenizer.to_string());
    let says = "the tokenizer's token 920 is none of the model's 920";
    place.refuses_to_start(2, &[says]);
    place.call(&["generate", "plan.mem", "--prompt", "Arr, matey"]).refused(2, &[says]);
}

#[test]
fn broken_data() {
    let good = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Arr!"}]}"#;
    let check = |lines: &[&str], says: &[&str]| {
        Place::new().write("train.jsonl", lines.join("\n")).refuses_to_start(2, says);
    };
    check(&[good, "", r#"{"messages": "#], &["train.jsonl:3: not a JSON object", "repair or remove the line"]);
    check(&[good, r#"["a list"]"#], &["train.jsonl:2: not a JSON object"]);
    check(&[good, r#"{"text": "Hi"}"#], &["train.jsonl:2", "`messages` is missing"]);
    check(&[good, r#"{"messages": [{"role": "user"}]}"#], &["train.jsonl:2", "turn 1", "`content`"]);
    check(
        &[good, good, r#"{"messages": [{"role": "user", "content": "Hi"}]}"#],
        &["train.jsonl:3", "no assistant turn"],
    );
    check(&[good, r#"{"messages": []}"#], &["train.jsonl:2", "`messages` is empty"]);
    check(&[], &["train.jsonl: the data set is empty"]);
    check(&["", "  ", ""], &["train.jsonl: the data set is empty"]);
    check(&["[", good, "]"], &["train.jsonl: a JSON list", "jq"]);
    let long = "word ".repeat(60);
    let late = format!(
        r#"{{"messages": [{{"role": "user", "content": "{long}"}}, {{"role": "assistant", "content": "Hi"}}]}}"#
    );
    check(&[good, &late], &["train.jsonl:2: nothing to learn from in the first 48", "raise `context`"]);

    let place = Place::new();
    place.write("train.jsonl", [good.as_bytes(), b"\n\xff\xfe{}"].concat());
    place.refuses_to_start(2, &["train.jsonl:2: not UTF-8"]);
    place.remove("train.jsonl").refuses_to_start(2, &["train.jsonl", "`path` in the plan's `data` block"]);
    Place::new().plan(&[("\"train.jsonl\"", "\".\"")]).refuses_to_start(2, &["a folder, not a file"]);
    Place::new().plan(&[("48tok", "48tok\n eval_path = \"none.jsonl\"")]).refuses_to_start(2, &["none.jsonl"]);
    Place::new().plan(&[("path    = \"train.jsonl\"", "")]).refuses_to_start(2, &["names no data", "path ="]);
}

#[test]
fn samples_that_are_too_short() {
    let place = Place::new();
    place.plan(&[("= chat", "= text"), ("loss_on = assistant", "loss_on = all")]);
    place.write("train.jsonl", "{\"text\": \"The smith sells iron pots.\"}\n{\"text\": \"\"}\n");
    place.refuses_to_start(2, &["train.jsonl:2", "two tokens"]);
    check(2, "48tok", "1tok", &["nothing to learn from in the first 1 of", "raise `context`"]);
    check(2, "48tok", "0tok", &["`context` is at least 1"]);
}

#[test]
fn samples_of_two_tokens_train() {
    let place = Place::new();
    place.plan(&[("= chat", "= text"), ("loss_on = assistant", "loss_on = all")]);
    place.write("train.jsonl", "{\"text\": \"pots\"}\n{\"text\": \"a\"}\n").run(&["--quiet"]);
    assert_eq!(place.losses("out").len(), 4);
}

#[test]
fn an_output_that_cannot_be_written() {
    let place = Place::new();
    place.write("out", "a file").refuses(&[], 2, &["the output folder out is a file"]);
    assert_eq!(std::fs::read(place.path("out")).unwrap(), b"a file");
    let place = Place::new();
    place.plan(&[("\"out\"", "\"train.jsonl/out\"")]).refuses(
        &[],
        2,
        &["the output folder train.jsonl/out is a file, or lies in one"],
    );
    // a folder in which nobody, the superuser included, makes another
    #[cfg(target_os = "linux")]
    check(2, "\"out\"", "\"/proc/nowhere/out\"", &["/proc/nowhere/out: could not be written"]);
}

#[cfg(unix)]
#[test]
fn an_output_without_the_right_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let locked = place.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    place.plan(&[("\"out\"", "\"locked/out\"")]);
    if std::fs::write(locked.join("probe"), "").is_ok() {
        // the superuser may write everywhere
        place.run(&["--quiet"]);
    } else {
        place.refuses(&[], 2, &["locked/out: may not be written", "set `output` to a folder of yours"]);
    }
}

#[test]
fn weights_that_are_no_numbers() {
    let poison = |place: &Place, number: [u8; 2]| {
        let mut bytes = std::fs::read(place.path(MODEL)).unwrap();
        let end = bytes.len();
        // the last tensor's last bf16
        bytes[end - 2..].copy_from_slice(&number);
        place.write(MODEL, bytes);
    };
    for number in [0x7fc0_u16, 0x7f80] {
        let place = Place::new();
        poison(&place, number.to_le_bytes());
        place.refuses(&[], 2, &["the loss of step 1 is NaN", "the model's weights hold numbers that are none"]);
        assert_eq!(place.names("out"), ["metrics.jsonl"]);
    }
    let place = Place::new();
    let wild = "f32\n schedule = constant\n warmup = 0step\n clip = 0\n weight_decay = 0";
    place.plan(&[("2e-3", "1e30"), ("f32", wild)]);
    place.refuses(&[], 2, &["of step 2 is", "a lower learning rate", "checkpoint is none yet"]);
}

#[test]
fn prompts_and_adapters_of_generate() {
    let place = Place::new();
    place.run(&["--quiet"]);
    let check = |arguments: &[&str], says: &[&str]| {
        place.call(&[&["generate", "plan.mem"], arguments].concat()).refused(2, says);
    };
    check(&["--prompt", "Hi", "--adapter", "nowhere"], &["nowhere", "`--adapter` takes the folder of a run"]);
    check(&["--prompt", "Hi", "--adapter", "model"], &["no adapter here"]);
    check(&["--prompt", &"word ".repeat(600)], &["the model has positions for 512", "shorter"]);
    place.call(&["logits", "plan.mem", "--prompt", "", "--out", "l"]).refused(2, &["the prompt has no tokens"]);
    place
        .call(&["logits", "plan.mem", "--prompt", "Hi", "--out", "train.jsonl/l"])
        .refused(2, &["choose another `--out`"]);

    let config = place.json("out/adapter_config.json");
    let damaged = |key: &str, value: serde_json::Value, says: &[&str]| {
        let mut config = config.clone();
        config[key] = value;
        place.write("out/adapter_config.json", config.to_string());
        check(&["--prompt", "Hi", "--adapter", "out"], says);
    };
    damaged("r", 4_000_000_000_u32.into(), &["`r` is 4000000000, the rank of the matrices", "is 4"]);
    damaged("r", 0.into(), &["`r` is 0"]);
    damaged("target_modules", serde_json::json!(["c_attn"]), &["the adapter is for `model.layers.0.", "does not have"]);
    damaged("use_dora", true.into(), &["is missing", "lora_magnitude_vector"]);
}

#[test]
fn no_plan() {
    let place = Place::new();
    place.call(&["run", "none.mem"]).refused(2, &["none.mem"]);
    place.call(&["run", "model"]).refused(2, &["model"]);
    place.write("empty.mem", "mem 1\n").call(&["run", "empty.mem"]).refused(2, &["holds no plan"]);
    place.call(&["run", "plan.mem", "--name", "other"]).refused(2, &["has no plan `other`", "it has: tiny"]);
    place.write("bytes.mem", b"\xff\xfe\x00").call(&["run", "bytes.mem"]).refused(2, &["bytes.mem"]);
    place.write("noise.mem", safetensors("{}", &[0; 64])).call(&["run", "noise.mem"]).refused(2, &["noise.mem"]);
}
