//! A folder with a tiny model, data and a plan in it, and the command run there.

#![allow(dead_code, reason = "every test file uses its part of this")]

#[path = "../../src/testing.rs"]
pub(crate) mod files;

pub(crate) mod gguf;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A plan of four steps that take a fraction of a second. Tests change its lines with [`Place::plan`].
pub(crate) const PLAN: &str = r#"mem 1

plan "tiny" {
  model  = "model"
  device = cpu
  output = "out"

  adapter lora {
    rank  = 4
    alpha = 8
  }

  data {
    path    = "train.jsonl"
    format  = chat
    loss_on = assistant
    context = 48tok
  }

  train {
    precision     = f32
    micro_batch   = 2
    optimizer     = adamw
    learning_rate = 2e-3
    steps         = 4
  }

  save {
    every = 2
  }

  budget {
    device_memory <= 256MiB
  }
}
"#;

/// The adapter of [`PLAN`]: without it all weights are trained.
pub(crate) const ADAPTER: &str = "adapter lora {\n    rank  = 4\n    alpha = 8\n  }";

/// A temporary folder with `model/` and `train.jsonl` of the quickstart example, and `plan.mem`.
#[derive(Debug)]
pub(crate) struct Place {
    temporary: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { temporary: tempfile::tempdir().unwrap() };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
        std::fs::create_dir(place.path("model")).unwrap();
        for name in ["config", "generation_config", "tokenizer", "tokenizer_config"] {
            let name = format!("model/{name}.json");
            std::fs::copy(example.join(&name), place.path(&name)).unwrap();
        }
        for name in ["model/model.safetensors", "train.jsonl"] {
            std::fs::copy(example.join(name), place.path(name)).unwrap();
        }
        place.plan(&[]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Writes `plan.mem`: [`PLAN`] with each first text, which must stand in it, replaced by the second.
    pub(crate) fn plan(&self, changes: &[(&str, &str)]) -> &Self {
        let mut text = PLAN.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "no `{from}` in the plan of the tests");
            text = text.replace(from, to);
        }
        self.write("plan.mem", text)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        std::fs::remove_file(self.path(name)).unwrap();
        self
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Each line of `metrics.jsonl` in the folder.
    pub(crate) fn metrics(&self, folder: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(folder).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The losses of a finished run; equal texts are equal to the bit.
    pub(crate) fn losses(&self, folder: &str) -> Vec<String> {
        let report = self.json(&format!("{folder}/report.json"));
        report["losses"].as_array().unwrap().iter().map(Value::to_string).collect()
    }

    /// The command with this folder as its own. No model comes from the machine's Hugging Face cache.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memspec-train"));
        command.args(arguments);
        self.at_home(&mut command);
        command
    }

    fn at_home(&self, command: &mut Command) {
        command.current_dir(self.temporary.path()).env("HF_HOME", self.path("no-cache")).env_remove("HF_HUB_CACHE");
    }

    /// Runs the command to its end.
    pub(crate) fn call(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.command(arguments))
    }

    /// Runs a shell script, in which `$MEMSPEC` is the command.
    pub(crate) fn shell(&self, script: &str) -> Done {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("MEMSPEC", env!("CARGO_BIN_EXE_memspec-train"));
        self.at_home(&mut command);
        Done::of(&mut command)
    }

    /// Starts the command and does not wait.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// `run plan.mem` with more arguments, which must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        let done = self.call(&[&["run", "plan.mem"], arguments].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done
    }

    /// `run plan.mem` with more arguments, which must fail: see [`Done::refused`].
    pub(crate) fn refuses(&self, arguments: &[&str], code: i32, says: &[&str]) {
        self.call(&[&["run", "plan.mem"], arguments].concat()).refused(code, says);
    }

    /// `run plan.mem` must fail before it starts, so that no output folder is made.
    pub(crate) fn refuses_to_start(&self, code: i32, says: &[&str]) {
        self.refuses(&[], code, says);
        assert!(!self.path("out").exists() && !self.path("runs").exists(), "a run that did not start left a folder");
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None`: it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// One report on standard error that says each of `says`, however its lines are broken; no panic, no result.
    pub(crate) fn refused(&self, code: i32, says: &[&str]) {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "exit code; {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let reports = stderr.lines().filter(|line| line.starts_with("  × ")).count();
        assert_eq!(reports, 1, "one report is expected:\n{stderr}");
        let text: Vec<&str> =
            stderr.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty()).collect();
        let text = text.join(" ");
        for part in says {
            assert!(text.contains(part), "the report does not say `{part}`:\n{stderr}");
        }
        assert_eq!(stdout, "", "a result of a run that failed");
    }
}

/// Waits for something another process does.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited too long until {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The header and the values' bytes of a safetensors file.
pub(crate) fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}
