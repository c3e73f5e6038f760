//! Bases that bitsandbytes packed, as transformers saves them. That the numbers are right is `parity.rs`, with files of bitsandbytes' own;
//! here the quickstart's model is packed in the same form.

mod common;

use common::Place;
use memspec_train::checkpoint::{Checkpoint, Encoding, Stored, write_tensors};
use memspec_train::quantize::dynamic_map;
use memspec_train::quantize::nf4::{CODE, Nf4, Nf4Encoder, Scales};
use serde_json::{Value, json};

const NF4: (&str, &str) = ("adapter lora", "quantize nf4 { }\n  adapter lora");

/// What a file of the packed model holds under a name.
enum Part {
    Numbers(Vec<f32>),
    Bytes(Vec<u8>),
}

/// The tensors of a packed weight, as `QuantState.as_dict(packed=True)` names them.
fn parts(name: &str, shape: &[usize], packed: Nf4) -> Vec<(Stored, Part)> {
    let numbers = |part: &str, values: Vec<f32>| {
        let stored = Stored { name: format!("{name}{part}"), shape: vec![values.len()], encoding: Encoding::F32 };
        (stored, Part::Numbers(values))
    };
    let bytes =
        |part: &str, values: Vec<u8>| (Stored::bytes(format!("{name}{part}"), values.len()), Part::Bytes(values));
    let mut state = json!({ "quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": shape });
    let mut all = vec![numbers(".quant_map", CODE.to_vec())];
    match packed.scales {
        Scales::Plain(absmax) => all.push(numbers(".absmax", absmax)),
        Scales::Double { codes, scales, offset } => {
            for (key, value) in
                [("nested_blocksize", json!(256)), ("nested_dtype", json!("float32")), ("nested_offset", json!(offset))]
            {
                state[key] = value;
            }
            all.push(bytes(".absmax", codes));
            all.push(numbers(".nested_absmax", scales));
            all.push(numbers(".nested_quant_map", dynamic_map::SIGNED.to_vec()));
        }
    }
    all.push(bytes(".quant_state.bitsandbytes__nf4", state.to_string().into_bytes()));
    let mut codes = bytes("", packed.codes);
    codes.0.shape.push(1);
    all.push(codes);
    all
}

/// Packs the linears of the place's model into the folder `packed`; `change` may spoil a part.
fn pack(place: &Place, double: bool, change: impl Fn(&mut Stored, &mut Part)) {
    let base = Checkpoint::open(place.path("model")).unwrap();
    let mut all = Vec::new();
    for name in base.names() {
        let (shape, values) = (base.shape(name).unwrap().to_vec(), base.read_all(name).unwrap());
        if name.contains("_proj.") {
            let mut encoder = Nf4Encoder::new(values.len());
            encoder.push(&values).unwrap();
            all.extend(parts(name, &shape, encoder.finish(double).unwrap()));
        } else {
            let stored = Stored { name: name.to_owned(), shape, encoding: base.dtype(name).unwrap() };
            all.push((stored, Part::Numbers(values)));
        }
    }
    all.iter_mut().for_each(|(stored, part)| change(stored, part));
    let (stored, values): (Vec<Stored>, Vec<Part>) = all.into_iter().unzip();
    std::fs::create_dir_all(place.path("packed")).unwrap();
    write_tensors(&place.path("packed/model.safetensors"), &[], &stored, |index, out| match &values[index] {
        Part::Numbers(values) => out.numbers(values),
        Part::Bytes(values) => out.bytes(values),
    })
    .unwrap();
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(place.path(&format!("model/{name}")), place.path(&format!("packed/{name}"))).unwrap();
    }
    let mut config = place.json("model/config.json");
    config["quantization_config"] = json!({
        "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double,
    });
    place.write("packed/config.json", config.to_string());
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    let done = place.call(arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[test]
fn a_packed_base_trains_as_the_dense_one_that_is_packed_while_loading() {
    for (double, quantize) in [(true, NF4), (false, (NF4.0, "quantize nf4 { double = false }\n  adapter lora"))] {
        let place = Place::new();
        pack(&place, double, |_, _| {});
        place.plan(&[quantize]).run(&["--quiet"]);
        let losses = place.losses("out");
        place.plan(&[quantize, ("\"model\"", "\"packed\"")]).run(&["--overwrite", "--quiet"]);
        assert_eq!(place.losses("out"), losses, "nothing is packed anew");
        for line in place.json("out/report.json")["phases"].as_array().unwrap() {
            let bytes = |key: &str| line[key].as_f64().unwrap();
            let apart = bytes("promised_bytes") / bytes("measured_bytes") - 1.0;
            assert!(apart.abs() < 0.005, "{line}");
        }
    }
}

#[test]
fn a_packed_base_is_scored_speaks_and_is_merged_to_a_dense_one() {
    let place = Place::new();
    pack(&place, true, |_, _| {});
    place.plan(&[NF4, ("\"model\"", "\"packed\""), ("steps         = 4", "steps = 8")]).run(&["--quiet"]);
    let ask = ["generate", "plan.mem", "--prompt", "What does the smith sell?"];
    let answer = place.call(&ask);
    assert_eq!(answer.stdout.trim(), "The smith sells iron pots.", "{}", answer.stderr);
    let eval = ["eval", "plan.mem", "--data", "train.jsonl", "--json"];
    let base = json(&place, &eval);
    let adapted = json(&place, &[&eval[..], &["--adapter", "out"]].concat());

    let merged = json(&place, &["merge", "plan.mem", "--adapter", "out", "--output", "merged", "--json"]);
    assert_eq!(merged["changed"], 28);
    let [dense, new] = ["model", "merged"].map(|folder| Checkpoint::open(place.path(folder)).unwrap());
    assert_eq!(dense.names().count(), new.names().count());
    for name in dense.names() {
        assert_eq!(dense.shape(name).unwrap(), new.shape(name).unwrap(), "{name}");
        assert_eq!(new.dtype(name).unwrap(), Encoding::Bf16, "{name}");
    }
    assert_eq!(place.json("merged/config.json")["quantization_config"], Value::Null);
    assert!(place.path("merged/tokenizer.json").exists());
    place.plan(&[("\"model\"", "\"merged\"")]);
    let alone = json(&place, &eval);
    let [base, adapted, alone] = [base, adapted, alone].map(|figures| figures["loss"].as_f64().unwrap());
    assert!((adapted - alone).abs() < 1e-2, "{adapted} {alone}");
    assert!(adapted < base - 0.1, "{adapted} {base}");
}

#[test]
fn a_plan_that_would_pack_otherwise_says_what_to_write() {
    let place = Place::new();
    pack(&place, true, |_, _| {});
    let check = |quantize: &str, says: &[&str]| {
        let adapter = format!("{quantize}\n  adapter lora");
        place.plan(&[("\"model\"", "\"packed\""), ("adapter lora", &adapter)]);
        place.refuses_to_start(2, &[&["_proj.weight` is packed already", "`quantize nf4 { }`"], says].concat());
    };
    check("", &["the plan does not quantize"]);
    check("quantize nf4 { double = false }", &["the plan says `double = false`"]);
    check("quantize int8 { }", &["the plan quantizes to int8"]);
    check("quantize nf4 { skip = [k_proj] }", &["the plan skips `k_proj`", "without this name in `skip`"]);
}

#[test]
fn packed_weights_that_are_not_read_are_named() {
    let place = Place::new();
    place.plan(&[NF4, ("\"model\"", "\"packed\"")]);
    let check = |change: &dyn Fn(&mut Stored, &mut Part), says: &[&str]| {
        pack(&place, true, change);
        place.refuses_to_start(2, says);
    };
    let state = |from: &'static str, to: &'static str| {
        move |stored: &mut Stored, part: &mut Part| {
            if let (true, Part::Bytes(bytes)) = (stored.name.ends_with("__nf4"), part) {
                *bytes = String::from_utf8(bytes.clone()).unwrap().replace(from, to).into_bytes();
                stored.shape = vec![bytes.len()];
            }
        }
    };
    check(&state("\"blocksize\":64", "\"blocksize\":128"), &["NF4 in blocks of 128 weights", "blocks of 64"]);
    check(&state("\"nf4\"", "\"fp4\""), &["stored as `fp4`", "original weights"]);
    check(&state("{", "("), &["its state"]);
    let rename = |from: &'static str, to: &'static str| {
        move |stored: &mut Stored, _: &mut Part| stored.name = stored.name.replace(from, to)
    };
    check(&rename("__nf4", "__fp4"), &["bitsandbytes' FP4", "original weights"]);
    check(&rename(".nested_absmax", ".gone"), &["no tensor", "nested_absmax"]);
    let own_codes = |stored: &mut Stored, part: &mut Part| {
        if let (true, Part::Numbers(values)) = (stored.name.ends_with("proj.weight.quant_map"), part) {
            values[3] += 0.01;
        }
    };
    check(&own_codes, &["codes of its own", "quant_map"]);
    let short = |stored: &mut Stored, part: &mut Part| {
        if let (true, Part::Bytes(bytes)) = (stored.name.ends_with("down_proj.weight"), part) {
            bytes.pop();
            stored.shape = vec![bytes.len(), 1];
        }
    };
    check(&short, &["down_proj.weight", "shape"]);
}
