//! `memspec.toml` and `--device`: what holds for plans that do not say, and which findings are wanted.

mod common;

use std::fs;

use common::command::{folder, run, run_with};

/// A plan for PyTorch, which names no device.
const PLAN: &str = r#"plan "open" {
  model  = "meta-llama/Meta-Llama-3-8B"
  engine = trl
  quantize nf4 { }
  adapter lora { rank = 16 }
  data { context = 2048tok }
  train {
    micro_batch = 2
    checkpointing = block
  }
}
"#;

/// The codes of what `check` finds, by file.
fn codes(folder: &tempfile::TempDir, arguments: &[&str]) -> Vec<String> {
    let ran = run(folder.path(), &[&["check", "--output-format", "concise"], arguments].concat());
    assert!(ran.code < 2, "{}", ran.err);
    let findings = ran.out.lines().filter_map(|line| {
        let (file, rest) = line.split_once(':')?;
        Some(format!("{file} {}", rest.split_once('[')?.1.split(' ').next()?))
    });
    findings.collect()
}

#[test]
fn a_plan_without_a_device_says_which_cards_it_fits() {
    let folder = folder(&[("open.mem", PLAN)]);
    let checked = run(folder.path(), &["check"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let line = checked.out.lines().next().unwrap();
    assert_eq!(line, "open.mem: plan `open` names no device: 9.1 GiB: fits RTX 3060 and larger");
    let large = run_with(folder.path(), &["estimate", "-"], &PLAN.replace("micro_batch = 2", "micro_batch = 8"));
    assert!(
        large.out.starts_with("plan `open`: 16.0 GiB: fits RTX 3090, 4090, L4, RTX 5090; not RTX 3060, T4\n"),
        "{}",
        large.out
    );
    let value: serde_json::Value =
        serde_json::from_str(&run(folder.path(), &["estimate", "open.mem", "--json"]).out).unwrap();
    assert_eq!(value["plans"][0]["cards"]["fits"][0], "rtx3060");
    // A card is needed to say how much is too much.
    let max = run(folder.path(), &["max", "batch", "open.mem"]);
    assert!(max.code == 2 && max.err.contains("name one: `--device rtx4090`"), "{}", max.err);
}

#[test]
fn the_device_of_the_command_line_goes_before_all() {
    let folder = folder(&[("open.mem", PLAN), ("memspec.toml", "device = \"rtx2070\"\n")]);
    let peaks = |arguments: &[&str]| {
        let ran = run(folder.path(), &[&["estimate", "open.mem", "--json"], arguments].concat());
        let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        value["plans"][0]["device"].as_str().unwrap().to_owned()
    };
    assert_eq!(peaks(&[]), "rtx2070");
    assert_eq!(peaks(&["--device", "l4"]), "l4");
    fs::write(folder.path().join("open.mem"), PLAN.replace("engine", "device = t4\n  engine")).unwrap();
    assert_eq!(peaks(&[]), "t4");
    assert_eq!(peaks(&["--device", "l4"]), "l4");
    for command in [&["check"][..], &["what-if", "open.mem"], &["max", "batch", "open.mem"], &["resolve", "open.mem"]] {
        let ran = run(folder.path(), &[command, &["--device", "rtx4900"]].concat());
        assert!(ran.code == 2 && ran.err.contains("no device `rtx4900`, did you mean"), "{command:?} {}", ran.err);
    }
}

#[test]
fn the_nearest_configuration_holds_and_its_overrides() {
    let config = "device = \"rtx2070\"\n[lint]\nignore = [\"peak-over-budget\"]\n\
                  [[override]]\npaths = [\"strict/**\"]\nlint.select = [\"MEM001\"]\nlint.ignore = [\"MEM\"]\n\
                  [[override]]\npaths = [\"large/*\"]\ndevice = \"h200\"\n";
    let big = PLAN.replace("micro_batch = 2", "micro_batch = 8");
    let folder = folder(&[
        ("memspec.toml", config),
        ("a.mem", &big),
        ("large/a.mem", &big),
        ("own/a.mem", &big),
        ("own/memspec.toml", "[budget]\ndevice_memory = \"<= 6GiB\"\n"),
        ("own/below/a.mem", &PLAN.replace("plan", "# memspec: allow(MEM001) a trial\nplan")),
    ]);
    assert_eq!(codes(&folder, &[]), ["own/a.mem MEM001"]);
    // what names a rule more exactly decides, here in favour of those that were asked for
    assert_eq!(codes(&folder, &["--select", "MEM001", "a.mem"]), ["a.mem MEM001"]);
    assert_eq!(codes(&folder, &["--select", "MEM", "--ignore", "MEM001"]), [""; 0]);
    // a mistake of the text is always told
    fs::write(folder.path().join("b.mem"), PLAN.replace("engine", "enginee")).unwrap();
    assert_eq!(codes(&folder, &["--select", "HW", "b.mem"]), ["b.mem SPEC002"]);
}

#[test]
fn fixes_keep_to_what_the_configuration_says() {
    let folder = folder(&[("a.mem", PLAN), ("memspec.toml", "[budget]\ndevice_memory = \"8.5GiB\"\n")]);
    let ran = run(folder.path(), &["check", "--fix"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("fixed peak-over-budget: micro_batch 2 -> 1"), "{}", ran.out);
    let ignored = run(folder.path(), &["check", "--diff", "--ignore", "MEM,QNT"]);
    assert_eq!((ignored.code, ignored.out.as_str()), (0, "1 file: all fits, nothing found\n"));
}

#[test]
fn standard_input_is_a_file_by_its_name() {
    let folder = folder(&[("sub/memspec.toml", "device = \"rtx2070\"\n")]);
    let big = PLAN.replace("micro_batch = 2", "micro_batch = 16");
    let check = |arguments: &[&str]| {
        run_with(folder.path(), &[&["check", "-", "--output-format", "concise"], arguments].concat(), &big)
    };
    assert_eq!(check(&[]).out, "1 file: all fits, nothing found\n");
    let found = check(&["--stdin-filename", "sub/train.mem"]);
    assert!(found.code == 1 && found.out.starts_with("sub/train.mem:1:6: error[MEM001"), "{}", found.out);
    // the fixed text goes on, what is left is told beside it
    let fixed = check(&["--stdin-filename", "sub/train.mem", "--fix"]);
    assert!(fixed.out.starts_with("plan \"open\" {") && fixed.out.ends_with("}\n"), "{}", fixed.out);
    assert!(fixed.err.ends_with("1 file: all fits, nothing found\n") || fixed.code == 1, "{}", fixed.err);
}

#[test]
fn every_mistake_of_a_configuration_is_told_with_its_place() {
    let folder = folder(&[("a.mem", PLAN)]);
    let mut said = String::new();
    for text in [
        "lnit = 3\n",
        "device = \"rtx4900\"\n",
        "device = 4\n",
        "[budget]\nheadrom = \"5%\"\ndevice_memory = \"14 parsec\"\n",
        "[lint]\nselect = [\"MEN\"]\nignore = [\"thin-headrom\", \"MEM0002\"]\n",
        "[[override]]\npaths = [\"[a\"]\n",
        "[[override]]\nlint.ignore = [\"MEM\"]\n",
        "[lint\n",
    ] {
        fs::write(folder.path().join("memspec.toml"), text).unwrap();
        let ran = run(folder.path(), &["check"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{text}");
        // Not the devices that there are: those grow.
        let lines = ran.err.lines().map(|line| line.split("; known").next().unwrap());
        let place = format!("{}/", folder.path().display());
        said += &lines.map(|line| line.replace(&place, "") + "\n").collect::<String>();
        said += "\n";
    }
    insta::assert_snapshot!(said);
}
