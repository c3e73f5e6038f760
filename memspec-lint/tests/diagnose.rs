//! Ends of real runs from public issues, and what `diagnose` makes of them: `tests/fixtures/oom`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::command::{run, run_with};
use memspec_lint::diagnose::{Cause, Death, Library, death};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oom")
}

/// The names of the logs, and whether each has a plan.
fn logs() -> Vec<(String, bool)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let mut logs: Vec<_> = logs
        .map(|log| (log.file_stem().unwrap().to_str().unwrap().to_owned(), log.with_extension("mem").exists()))
        .collect();
    logs.sort();
    logs
}

#[test]
fn the_messages_of_real_runs_are_understood() {
    let mut said = String::new();
    for (name, _) in logs() {
        let log = fs::read_to_string(folder().join(format!("{name}.log"))).unwrap();
        assert!(log.starts_with("# https://github.com/"), "{name} names no report");
        let ran = run(&folder(), &["diagnose", &format!("{name}.log")]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.err);
        said += &ran.out;
        said.push('\n');
    }
    assert!(logs().len() >= 20);
    insta::assert_snapshot!(said);
}

#[test]
fn the_plans_of_real_runs_name_the_allocation() {
    let mut said = String::new();
    for (name, _) in logs().into_iter().filter(|(_, plan)| *plan) {
        let ran = run(&folder(), &["diagnose", &format!("{name}.log"), &format!("{name}.mem")]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.err);
        said += &ran.out;
        said.push('\n');
    }
    insta::assert_snapshot!(said);
}

/// Bytes as the messages print them.
fn gib(figure: f64) -> Option<u64> {
    Some((figure * (1u64 << 30) as f64) as u64)
}

#[test]
fn every_wording_gives_the_same_figures() {
    let check = |text: &str| {
        let Some(Death::Refused(refusal)) = death(text).map(|found| found.death) else { panic!("{text}") };
        assert_eq!((refusal.gpu, refusal.tried), (Some(3), gib(2.0)), "{text}");
        assert_eq!((refusal.capacity, refusal.free, refusal.allocated), (gib(24.0), gib(0.5), gib(20.0)), "{text}");
        assert!(refusal.cached.unwrap().abs_diff(gib(3.0).unwrap()) <= 1, "{text}");
        assert!(matches!(refusal.cause(), Some(Cause::Fragmentation { .. })), "{text}");
    };
    // 1.x, 2.0, with a limit of the process, 2.1 with its typo, 2.2, private pools, broken lines with ranks
    check(
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 3; 24.00 GiB total capacity; 20.00 GiB already allocated; 512.00 MiB free; 23.00 GiB cached)",
    );
    check(
        "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 3; 24.00 GiB total capacity; 20.00 GiB already allocated; 512.00 MiB free; 23.00 GiB reserved in total by PyTorch)",
    );
    check(
        "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 3; 24.00 GiB total capacity; 20.00 GiB already allocated; 512.00 MiB free; 22.00 GiB allowed; 23.00 GiB reserved in total by PyTorch)",
    );
    let new = "out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacty of 24.00 GiB of which 512.00 MiB is free. Process 9 has 23.50 GiB memory \
               in use. 22.00 GiB allowed; Of the allocated memory 20.00 GiB is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but unallocated.";
    check(&format!("torch.cuda.OutOfMemoryError: CUDA {new}"));
    check(&format!("torch.OutOfMemoryError: HIP {}", new.replace("capacty", "capacity")));
    check(&format!(
        "CUDA {}",
        new.replace("PyTorch, and", "PyTorch, with 1.00 GiB allocated in private pools (e.g., CUDA Graphs), and")
    ));
    check(&format!("[rank3]: CUDA {}", new.replace(". ", ".\n[rank3]: ")));
}

#[test]
fn who_held_the_memory_is_told_apart() {
    let cause = |others: &str, free: &str| {
        let text = format!(
            "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 24.00 GiB of which {free} is free. {others} Of the allocated \
             memory 10.00 GiB is allocated by PyTorch, and 100.00 MiB is reserved by PyTorch but unallocated."
        );
        let Some(Death::Refused(refusal)) = death(&text).map(|found| found.death) else { panic!("{text}") };
        refusal.cause().unwrap()
    };
    let own = "Including non-PyTorch memory, this process has 10.50 GiB memory in use.";
    assert_eq!(
        cause(&format!("Process 7 has 13.00 GiB memory in use. {own}"), "512.00 MiB"),
        Cause::Others { hold: gib(13.0).unwrap() }
    );
    assert!(matches!(cause(own, "512.00 MiB"), Cause::Size { short: Some(_) }));
    assert!(matches!(cause(own, "3.00 GiB"), Cause::Withheld { .. }));
    // a container's only process is this one
    assert!(matches!(cause("Process 7 has 10.50 GiB memory in use.", "512.00 MiB"), Cause::Size { short: Some(_) }));
}

#[test]
fn libraries_hosts_and_logs_of_other_ends() {
    let check =
        |text: &str, expected: Option<Death>| assert_eq!(death(text).map(|found| found.death), expected, "{text}");
    check("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", Some(Death::Library(Library::Cublas)));
    check("NCCL WARN Cuda failure 2 'out of memory'", Some(Death::Library(Library::Nccl)));
    check("RuntimeError: CUDA error: out of memory", Some(Death::Library(Library::Cuda)));
    check("[ 12.3] Out of memory: Killed process 77 (python) total-vm:1kB", Some(Death::Killed));
    check("./train.sh: line 3:  1108 Killed                  python train.py", Some(Death::Killed));
    check(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 42 bytes.",
        Some(Death::Host { tried: Some(42) }),
    );
    check("{'loss': 1.2}\nKeyError: 'labels'\nKilling subprocess 3", None);
    check("Tried to allocate more than 1EB memory.", None);
    let absurd = death("CUDA out of memory. Tried to allocate more than 1EB memory.").unwrap();
    assert!(matches!(absurd.death, Death::Refused(refusal) if refusal.tried.is_none()));
}

#[test]
fn diagnosis_as_json_and_what_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = fs::read_to_string(self::folder().join("fastchat-2701.log")).unwrap();
    let plan = self::folder().join("fastchat-2701.mem");
    let ran = run_with(folder.path(), &["diagnose", "-", plan.to_str().unwrap(), "--json"], &log);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/diagnose.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let errors: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{value:#}");
    assert_eq!(value["plan"]["suspect"]["asks"], 1_342_177_280);
    assert_eq!(value["plan"]["suspect"]["same_size"], true);

    let nothing = run_with(folder.path(), &["diagnose", "-"], "all went well\n");
    assert_eq!((nothing.code, nothing.out.as_str()), (1, "-: nothing in it says that memory ran out\n"));
    let none = run(folder.path(), &["diagnose", "none.log"]);
    assert!(none.code == 2 && none.err.contains("cannot read `none.log`"), "{}", none.err);
    let wrong = run_with(folder.path(), &["diagnose", "-", plan.to_str().unwrap(), "--name", "other"], &log);
    assert!(wrong.code == 2 && wrong.err.contains("it has `fastchat-2701`"), "{}", wrong.err);
}
