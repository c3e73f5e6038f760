use super::*;
use crate::testing::write as write_file;
use safetensors::SafeTensors;

fn modules() -> Vec<AdaptedModule> {
    ["k_proj", "q_proj"]
        .map(|leaf| AdaptedModule {
            module: format!("model.layers.0.self_attn.{leaf}"),
            in_features: 3,
            out_features: 5,
        })
        .to_vec()
}

fn values(module: &str, part: Part) -> Vec<f32> {
    let sign = if module.ends_with("q_proj") { 1.0 } else { -1.0 };
    match part {
        Part::A => (0..6).map(|i| sign * i as f32).collect(),
        Part::B => (0..10).map(|i| sign * (100 + i) as f32).collect(),
        Part::Magnitude => (0..5).map(|i| sign * (200 + i) as f32).collect(),
    }
}

fn config() -> AdapterConfig {
    AdapterConfig::new("owner/model", 2, 4.0, 0.05, false, &["q_proj".to_owned(), "k_proj".to_owned()])
}

#[test]
fn an_adapter_is_written_under_pefts_names_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &modules(), values).unwrap();
    let bytes = std::fs::read(folder.path().join(WEIGHTS)).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let a = reference.tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").unwrap();
    let b = reference.tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight").unwrap();
    assert_eq!((a.shape(), b.shape()), (&[2, 3][..], &[5, 2][..]));
    let adapter = Adapter::open(folder.path()).unwrap();
    assert_eq!(adapter.config, config());
    assert_eq!(adapter.config.scaling(), 2.0);
    for module in modules() {
        assert!(adapter.modules().contains(&module.module));
        for part in [Part::A, Part::B] {
            assert_eq!(adapter.read(&module, part).unwrap(), values(&module.module, part));
        }
    }
}

#[test]
fn magnitudes_of_a_dora_are_written_as_peft_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = AdapterConfig { use_dora: true, ..config() };
    write(folder.path(), &config, &modules(), values).unwrap();
    let adapter = Adapter::open(folder.path()).unwrap();
    assert!(adapter.config.use_dora);
    adapter.expect_whole().unwrap();
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector";
    assert_eq!(tensor_name(&modules()[1].module, Part::Magnitude), name);
    for module in modules() {
        assert_eq!(adapter.read(&module, Part::Magnitude).unwrap(), values(&module.module, Part::Magnitude));
    }
    // a file that has none, and one that has them though nobody would use them
    let plain = AdapterConfig { use_dora: false, ..config.clone() };
    plain.write(folder.path()).unwrap();
    let message = Adapter::open(folder.path()).unwrap().expect_whole().unwrap_err().to_string();
    assert!(message.contains("lora_magnitude_vector` belongs to no pair"), "{message}");
    write(folder.path(), &plain, &modules(), values).unwrap();
    config.write(folder.path()).unwrap();
    let message = Adapter::open(folder.path()).unwrap().expect_whole().unwrap_err().to_string();
    assert!(message.contains("lora_magnitude_vector` is missing"), "{message}");
}

#[test]
fn rank_stabilized_scaling_divides_by_the_root() {
    let config = AdapterConfig::new("m", 16, 32.0, 0.0, true, &[]);
    assert_eq!(config.scaling(), 8.0);
}

#[test]
fn adapters_that_cannot_be_used_are_explained() {
    let check = |config: &str, parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), CONFIG, config);
        let message = Adapter::open(folder.path()).map(|_| ()).expect_err("not an adapter").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    let with =
        |extra: &str| format!(r#"{{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj"]{extra}}}"#);
    check("{", &["adapter_config.json"]);
    check(r#"{"r":2}"#, &["peft_type"]);
    check(r#"{"peft_type":"IA3"}"#, &["`peft_type` is IA3", "not supported"]);
    check(&with(r#","bias":"all"#).replace("all", r#"all""#), &["`bias`"]);
    check(&with(r#","modules_to_save":["lm_head"]"#), &["`modules_to_save`"]);
    check(&with(r#","rank_pattern":{"q_proj":4}"#), &["`rank_pattern`"]);
    check(&with("").replace("\"r\":2", "\"r\":0"), &["`r` is 0"]);
    check(r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":"all-linear"}"#, &["the pattern `all-linear`"]);
    check(&with(""), &["adapter_model.safetensors is missing"]);
    let empty = tempfile::tempdir().unwrap();
    let message = Adapter::open(empty.path()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("adapter_config.json is missing"), "{message}");
}

#[test]
fn a_matrix_of_another_size_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &modules(), values).unwrap();
    let adapter = Adapter::open(folder.path()).unwrap();
    let wider = AdaptedModule { in_features: 4, ..modules()[0].clone() };
    let message = adapter.read(&wider, Part::A).unwrap_err().to_string();
    assert!(message.contains("[2, 3]") && message.contains("[2, 4]"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_place_that_is_no_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_file(folder.path(), "file", "x");
    assert!(write(&file, &config(), &modules(), values).unwrap_err().to_string().contains("could not be written"));
}
