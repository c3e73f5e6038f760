//! What the README shows is what the commands print.

mod common;

use std::path::Path;

use common::command::run;

/// The blocks of a language in `text`.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    text.split(start.as_str()).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect()
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("## Before it runs").unwrap();
    let (section, _) = rest.split_once("## When it runs").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.mem"), blocks(section, "mem")[0]).unwrap();
    let printed = |arguments: &str| run(folder.path(), &arguments.split(' ').collect::<Vec<_>>()).out;
    let shown = blocks(section, "text");
    let [estimate, check, changes, suggested] = shown[..] else { panic!("{} blocks", shown.len()) };

    // Where the README shows a part of it.
    let begins = |command: &str, shown: &str| {
        let out = printed(command);
        assert!(out.starts_with(shown), "{command}\n{out}\nREADME\n{shown}");
    };
    begins("estimate train.mem", estimate);
    assert_eq!(printed("check train.mem"), check);
    begins("suggest --model meta-llama/Meta-Llama-3-8B --device rtx4090 --engine trl", suggested);
    let out = printed("what-if train.mem");
    let fit: Vec<&str> = out.lines().filter(|line| line.contains("  fits  ")).collect();
    assert_eq!(fit, changes.lines().collect::<Vec<_>>());
}
