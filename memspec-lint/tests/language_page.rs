//! Every block of `docs/language.md`: plans are read and in the style, mistakes are told, commands print what is shown.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::command::run;
use memspec::lang::format;
use memspec::plan::read;

/// A block: what stands behind the three ticks, and its lines.
struct Block<'t> {
    kind: &'t str,
    text: &'t str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, block)) = rest.split_once("\n```") {
        let (kind, block) = block.split_once('\n').unwrap();
        let (text, after) = block.split_once("```").unwrap();
        blocks.push(Block { kind, text });
        rest = after;
    }
    blocks
}

/// The file that a block is, by its first line.
fn name<'t>(block: &Block<'t>) -> &'t str {
    block.text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a block begins with its file's name")
}

/// With `MEMSPEC_UPDATE` set, what commands print is put into the page.
#[test]
fn generated_files_are_fresh() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language.md");
    let page = fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("memspec.toml"), "").unwrap();
    let mut now = page.clone();
    let mut commands = 0;
    for block in blocks(&page) {
        match block.kind {
            "mem" | "yaml" | "mem wrong" => {
                let file = folder.path().join(name(&block));
                fs::write(&file, block.text).unwrap();
                let problems = read(&file).problems;
                assert_eq!(problems.is_empty(), block.kind != "mem wrong", "{}: {problems:#?}", name(&block));
                if block.kind == "mem" {
                    assert_eq!(format(block.text), block.text, "{} is not in the style", name(&block));
                    let checked = run(folder.path(), &["check", name(&block), "--output-format", "concise"]);
                    assert_eq!(checked.code, 0, "{}", checked.out);
                }
            }
            "console" => {
                let (command, _) = block.text.split_once('\n').unwrap();
                let arguments: Vec<&str> = command.strip_prefix("$ memspec-lint ").unwrap().split(' ').collect();
                let shown = format!("{command}\n{}", run(folder.path(), &arguments).out);
                now = now.replace(block.text, &shown);
                commands += 1;
            }
            other => panic!("a block of `{other}`"),
        }
    }
    assert!(commands > 2, "{commands} commands");
    if std::env::var_os("MEMSPEC_UPDATE").is_some() {
        fs::write(&path, now).unwrap();
    } else {
        assert!(now == page, "a command prints something else; with MEMSPEC_UPDATE=1 the page is written anew:\n{now}");
    }
}
