//! The settings of editors that are copied as they stand: what they start is there, and they can be read.

mod common;

use std::path::Path;

use serde_json::Value;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../editors").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A command line that an editor starts is one of ours: it says what it would do.
fn starts(command: &Value, arguments: &Value) {
    assert_eq!(command, "memspec-lint");
    let arguments: Vec<&str> = arguments.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let ran = common::command::run(Path::new("."), &[&arguments[..], &["--help"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("Serves an editor"), "{}", ran.out);
}

#[test]
fn helix_starts_the_server_for_plans_and_beside_yamls_own() {
    let settings: Value =
        serde_json::to_value(toml::from_str::<toml::Table>(&file("helix/languages.toml")).unwrap()).unwrap();
    let server = &settings["language-server"]["memspec"];
    starts(&server["command"], &server["args"]);
    let languages = settings["language"].as_array().unwrap();
    let servers = |name: &str| &languages.iter().find(|language| language["name"] == name).unwrap()["language-servers"];
    assert_eq!(servers("mem"), &serde_json::json!(["memspec"]));
    assert_eq!(servers("yaml"), &serde_json::json!(["yaml-language-server", "memspec"]));
}

#[test]
fn zed_starts_the_server_in_place_of_yamls_own() {
    let text: String = file("zed/settings.json").lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let settings: Value = serde_json::from_str(&text).unwrap();
    let binary = &settings["lsp"]["yaml-language-server"]["binary"];
    starts(&binary["path"], &binary["arguments"]);
    assert_eq!(settings["file_types"]["YAML"], serde_json::json!(["*.mem"]));
}
