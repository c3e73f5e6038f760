//! A run that is stopped, killed or out of room goes on to the losses of one that was not.
#![cfg(unix)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{ADAPTER, Place, wait_until};

fn send(signal: &str, run: &Child) {
    assert!(Command::new("kill").args([signal, &run.id().to_string()]).status().unwrap().success());
}

/// Every file that has its final name is whole: a kill leaves the old one or the new one.
fn assert_whole(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if name.ends_with(".part") {
            continue;
        }
        if path.is_dir() {
            let trained: &[&str] = match path.join("model.safetensors").exists() {
                true => &["model.safetensors"],
                false => &["adapter_model.safetensors", "adapter_config.json"],
            };
            for name in [trained, &["optimizer.safetensors", "state.json"]].concat() {
                assert!(path.join(name).exists(), "{}: no {name}", path.display());
            }
            assert_whole(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if name.ends_with(".json") {
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        } else if name.ends_with(".safetensors") {
            safetensors::SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

/// The losses of an undisturbed run of the place's plan.
fn undisturbed(place: &Place) -> Vec<String> {
    place.run(&["--overwrite", "--quiet"]);
    let losses = place.losses("out");
    std::fs::remove_dir_all(place.path("out")).unwrap();
    losses
}

/// Starts the plan of the place and stops it by `signal` once so many steps are done.
fn stop_after(place: &Place, steps: usize, signal: &str, arguments: &[&str]) -> Option<i32> {
    let mut run = place.start(&[&["run", "plan.mem"], arguments].concat());
    let metrics = place.path("out/metrics.jsonl");
    wait_until("steps are done", || {
        std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() >= steps)
            || run.try_wait().unwrap().is_some()
    });
    send(signal, &run);
    run.wait().unwrap().code()
}

#[test]
fn ctrl_c_saves_and_the_run_goes_on_to_the_same_losses() {
    for optimizer in ["adamw", "sgd"] {
        let place = Place::new();
        // no checkpoint by itself: what is resumed from is what Ctrl-C saved
        place.plan(&[
            ("adamw", optimizer),
            ("steps         = 4", "steps = 40\n accumulate = 2"),
            ("every = 2", "every = 1000"),
        ]);
        let expected = undisturbed(&place);
        assert_eq!(stop_after(&place, 5, "-INT", &[]), Some(130));
        assert_whole(&place.path("out"));
        let done = place.json("out/report.json")["steps"]["done"].as_u64().unwrap();
        assert!((5..40).contains(&done), "{done}");
        let checkpoint = format!("checkpoint-{done}");
        assert_eq!(place.names("out"), [&checkpoint, "metrics.jsonl", "report.json"]);
        // stopped again, by the signal of a shutdown
        assert_eq!(stop_after(&place, done as usize + 3, "-TERM", &["--resume"]), Some(130));
        place.run(&["--resume"]);
        assert_eq!(place.losses("out"), expected);
        let steps: Vec<u64> = place.metrics("out").iter().map(|line| line["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, (1..=40).collect::<Vec<_>>(), "one line a step");
    }
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let place = Place::new();
    place.plan(&[("steps         = 4", "steps = 12"), ("every = 2", "every = 6")]);
    let expected = undisturbed(&place);
    stop_after(&place, 8, "-KILL", &[]);
    assert!(place.names("out").contains(&"checkpoint-6".to_owned()));
    place.run(&["--resume", "--quiet"]);
    assert_eq!(place.losses("out"), expected);
    assert_eq!(place.metrics("out").len(), 12, "the lines after the checkpoint are not there twice");
}

#[test]
fn packed_samples_go_on_where_they_were() {
    let place = Place::new();
    // some epochs, whose rows differ
    place.plan(&[
        ("context = 48tok", "context = 200tok\n packing = true"),
        ("steps         = 4", "epochs = 2.5"),
        ("every = 2", "every = 7"),
    ]);
    let expected = undisturbed(&place);
    assert_eq!(stop_after(&place, 30, "-INT", &[]), Some(130));
    place.run(&["--resume", "--quiet"]);
    assert_eq!(place.losses("out"), expected);
}

#[test]
fn kills_at_any_moment_cost_no_checkpoint() {
    let place = Place::new();
    place.plan(&[("steps         = 4", "steps = 30"), ("every = 2", "every = 1")]);
    killed_at_any_moment(&place);
}

#[test]
fn kills_cost_no_checkpoint_of_all_weights() {
    let place = Place::new();
    place.plan(&[(ADAPTER, ""), ("2e-3", "1e-4"), ("steps         = 4", "steps = 30"), ("every = 2", "every = 1")]);
    killed_at_any_moment(&place);
    assert!(place.names("out").contains(&"config.json".to_owned()), "a model is left");
}

fn killed_at_any_moment(place: &Place) {
    let expected = undisturbed(place);
    let (mut resume, mut killed) = (Vec::new(), 0);
    for kill in 0..14_u64 {
        let newest = newest_checkpoint(place);
        let mut run = place.start(&[&["run", "plan.mem", "--quiet"][..], &resume].concat());
        if kill % 2 == 0 {
            // anywhere: while it loads, trains or saves
            std::thread::sleep(Duration::from_millis(40 + kill * 37 % 160));
        } else {
            // in the midst of writing
            wait_until("a checkpoint is being written", || {
                place.names("out").iter().any(|name| name.ends_with(".part")) || run.try_wait().unwrap().is_some()
            });
            std::thread::sleep(Duration::from_micros(kill * 311 % 1500));
        }
        let _ = run.kill();
        killed += u32::from(run.wait().unwrap().signal().is_some());
        assert_whole(&place.path("out"));
        assert!(newest_checkpoint(place) >= newest, "a kill costs no checkpoint");
        resume = match newest_checkpoint(place) {
            0 => vec!["--overwrite"],
            _ => vec!["--resume"],
        };
    }
    assert!(killed >= 7, "the run is over before it is killed: {killed}");
    place.run(&[&resume[..], &["--quiet"]].concat());
    assert_eq!(place.losses("out"), expected);
    assert_eq!(place.names("out").iter().filter(|name| name.starts_with('.')).count(), 0, "no leftovers");
}

fn newest_checkpoint(place: &Place) -> u64 {
    let names = place.names("out");
    names.iter().filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn magnitudes_go_on_to_the_bit() {
    let place = Place::new();
    let plan = [
        ("adapter lora", "quantize nf4 { }\n adapter dora"),
        ("steps         = 4", "steps = 12\n checkpointing = 1\n accumulate = 2"),
        ("every = 2", "every = 5"),
    ];
    place.plan(&plan);
    let expected = undisturbed(&place);
    stop_after(&place, 6, "-KILL", &[]);
    assert!(place.names("out").contains(&"checkpoint-5".to_owned()));
    // a checkpoint of magnitudes is none of matrices alone
    place.plan(&[&[("adapter lora", "quantize nf4 { }\n adapter lora")], &plan[1..]].concat());
    place.refuses(&["--resume"], 2, &["was made by another plan", "`adapter.kind` was dora and is lora"]);
    place.plan(&plan).run(&["--resume", "--quiet"]);
    assert_eq!(place.losses("out"), expected);
}

#[test]
fn dropout_goes_on_with_the_masks_that_it_would_have_had() {
    let place = Place::new();
    place.plan(&[
        ("alpha = 8", "alpha = 8\n dropout = 20%"),
        ("steps         = 4", "steps = 12\n checkpointing = 2\n accumulate = 2"),
        ("every = 2", "every = 5"),
    ]);
    let expected = undisturbed(&place);
    stop_after(&place, 6, "-KILL", &[]);
    assert!(place.names("out").contains(&"checkpoint-5".to_owned()));
    place.run(&["--resume", "--quiet"]);
    assert_eq!(place.losses("out"), expected);
}

#[test]
fn moments_of_8_bits_go_on_to_the_bit() {
    for adapter in [ADAPTER, ""] {
        let place = Place::new();
        // matrices of an adapter of rank 32 are large enough for 8 bits
        let adapter = adapter.replace("4\n", "32\n");
        place.plan(&[
            (ADAPTER, &adapter),
            ("adamw", "adamw_8bit"),
            ("steps         = 4", "steps = 8"),
            ("every = 2", "every = 3"),
        ]);
        let expected = undisturbed(&place);
        place.plan(&[(ADAPTER, &adapter), ("steps         = 4", "steps = 8")]).run(&["--quiet"]);
        assert_ne!(place.losses("out"), expected, "f32 moments are others");
        std::fs::remove_dir_all(place.path("out")).unwrap();
        place.plan(&[
            (ADAPTER, &adapter),
            ("adamw", "adamw_8bit"),
            ("steps         = 4", "steps = 8"),
            ("every = 2", "every = 3"),
        ]);
        stop_after(&place, 4, "-KILL", &[]);
        assert!(newest_checkpoint(&place) >= 3, "{:?}", place.names("out"));
        place.run(&["--resume", "--quiet"]);
        assert_eq!(place.losses("out"), expected);
        let bytes = std::fs::read(place.path("out/checkpoint-6/optimizer.safetensors")).unwrap();
        let states = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert!(states.names().iter().any(|name| name.ends_with(".codes")), "{:?}", states.names());
    }
}

#[test]
fn another_plan_does_not_resume() {
    let place = Place::new();
    place.run(&["--quiet"]);
    let names = place.names("out");
    let check = |from: &str, to: &str, says: &[&str]| {
        place.plan(&[(from, to)]);
        place.refuses(&["--resume"], 2, &[&["was made by another plan", "--overwrite"], says].concat());
        assert_eq!(place.names("out"), names, "nothing is changed");
    };
    check("rank  = 4", "rank = 8", &["`adapter.rank` was 4 and is 8"]);
    check("alpha = 8", "alpha = 16", &["`adapter.alpha` was 8.0 and is 16.0"]);
    check("alpha = 8", "alpha = 8\n targets = attention", &["`adapter.targets`"]);
    check("2e-3", "1.1e-3", &["`train.learning_rate` was 0.002 and is 0.0011"]);
    check("micro_batch   = 2", "micro_batch = 4", &["`train.micro_batch` was 2 and is 4"]);
    check("steps         = 4", "steps = 6", &["`train.steps` was 4 and is 6"]);
    check("\"model\"", "\"./model\"", &["`model` was model and is ./model"]);
    check("context = 48tok", "context = 40tok", &["`data.context` was 48 and is 40"]);
    check("adapter lora", "quantize nf4 { }\n adapter lora", &["`quantize` was not there"]);
    check("device = cpu", "device = cpu\n seed = 7", &["`seed` was 42 and is 7"]);
    check(ADAPTER, "", &["`adapter`", "is not there"]);

    let text = std::fs::read_to_string(place.path("train.jsonl")).unwrap();
    place.plan(&[]).write("train.jsonl", text.replace("otter", "badger"));
    place.refuses(&["--resume"], 2, &["`data.path` was 282 samples"]);

    // where the data lie, how they are called and how the plan is reached is all the same
    place.write("moved.jsonl", &text).remove("train.jsonl").plan(&[("train.jsonl", "moved.jsonl")]);
    let plan = place.path("plan.mem");
    let done = place.call(&["run", plan.to_str().unwrap(), "--resume", "--quiet"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

#[test]
fn without_an_output_the_last_run_goes_on() {
    let place = Place::new();
    place.plan(&[("output = \"out\"", "")]);
    place.run(&["--quiet"]);
    place.run(&["--quiet"]);
    std::fs::remove_file(place.path("runs/tiny-2/report.json")).unwrap();
    place.run(&["--resume", "--quiet"]);
    assert_eq!(place.names("runs"), ["tiny-1", "tiny-2"]);
    assert_eq!(place.losses("runs/tiny-2"), place.losses("runs/tiny-1"));
}

#[test]
fn without_a_sound_checkpoint_nothing_resumes() {
    let place = Place::new();
    place.refuses(&["--resume"], 2, &["out holds no checkpoint to resume from", "without `--resume`"]);
    assert!(!place.path("out").exists());
    place.plan(&[("output = \"out\"", "")]);
    place.refuses(&["--resume"], 2, &["holds no checkpoint to resume from"]);
    assert!(!place.path("runs").exists());
    let both = place.call(&["run", "plan.mem", "--resume", "--overwrite"]);
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let place = Place::new();
    place.run(&["--quiet"]);
    let check = |name: &str, bytes: &[u8]| {
        let name = format!("out/checkpoint-2/{name}");
        let before = std::fs::read(place.path(&name)).unwrap();
        place.write(&name, bytes);
        place.refuses(&["--resume"], 2, &["the checkpoint out/checkpoint-2 is damaged", "remove this folder"]);
        place.write(&name, before);
    };
    check("state.json", b"{\"step\": 2");
    check("state.json", b"");
    check("state.json", br#"{"step": 2, "position": {"epoch": 0, "batch": 2}, "losses": [1.0], "plan": {}}"#);
    check("optimizer.safetensors", &[0; 100]);
    check("adapter_model.safetensors", b"short");
    check("adapter_config.json", b"{}");
    place.run(&["--resume", "--quiet"]);

    place.plan(&[(ADAPTER, "")]).run(&["--overwrite", "--quiet"]);
    check("model.safetensors", b"short");
    check("optimizer.safetensors", &[0; 100]);
    place.run(&["--resume", "--quiet"]);
}

#[test]
fn a_full_disk_keeps_the_last_good_checkpoint() {
    let place = Place::new();
    place.plan(&[("steps         = 4", "steps = 30")]);
    let expected = undisturbed(&place);
    // Room for the adapter of 150 KiB, but not for the optimizer's file, which is twice as large.
    let small = "ulimit -f 500; exec \"$MEMSPEC\" run plan.mem";
    place.shell(small).refused(2, &["the disk is full", "checkpoint-2", "free some space"]);
    assert_whole(&place.path("out"));
    assert_eq!(place.names("out"), ["metrics.jsonl"], "nothing is half-written");

    stop_after(&place, 3, "-KILL", &["--overwrite"]);
    let newest = newest_checkpoint(&place);
    assert!((2..28).contains(&newest), "{newest}");
    place.shell(&format!("{small} --resume")).refused(2, &["the disk is full"]);
    assert_eq!(newest_checkpoint(&place), newest, "{:?}", place.names("out"));
    assert_whole(&place.path("out"));
    place.run(&["--resume", "--quiet"]);
    assert_eq!(place.losses("out"), expected);
}
