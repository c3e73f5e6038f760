//! Reading a row: its job, and what was measured of it.

use memspec::exchange::job::{Job, gibibytes};
use serde_json::Value;

use super::{Fate, Labels, PHASES};

/// A row, understood.
#[derive(Clone, Debug)]
pub struct ReadRow {
    /// The job.
    pub job: Job,
    /// The GPU it ran on, as the row names it; an H200 where it does not, as all of the script's were.
    pub gpu: String,
    /// What was measured.
    pub measured: Measured,
}

/// What a row says was measured, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// `peak`.
    pub allocated: Option<u64>,
    /// `reserved_peak`.
    pub reserved: Option<u64>,
    /// `process_bytes`.
    pub process: Option<u64>,
    /// In the order of [`PHASES`].
    pub phases: [Option<u64>; PHASES.len()],
    /// `outcome`; of a row straight from the script, whether it died of too little memory.
    pub fate: Option<Fate>,
}

impl ReadRow {
    /// Reads a row.
    ///
    /// # Errors
    /// A sentence: which key is unknown or has a value that it cannot have.
    pub fn read(row: &Value) -> Result<ReadRow, String> {
        let Value::Object(fields) = row else {
            return Err("a row is an object: {\"job\": {..}, \"peak\": ..}".to_owned());
        };
        let Some(job) = fields.get("job") else {
            return Err("it has no `job`: {\"job\": {\"model\": \"llama3-8b\"}, ..}".to_owned());
        };
        let mut job = Job::read(job).map_err(|error| format!("job: {error}"))?;
        match fields.get("allocator_limit_gib").filter(|limit| !limit.is_null()) {
            None => {}
            Some(limit) => {
                let gib = limit.as_f64().filter(|gib| *gib > 0.0);
                let gib = gib.ok_or_else(|| format!("`allocator_limit_gib` is {limit}; it takes a number above 0"))?;
                job.allocator_limit = Some(gibibytes(gib));
            }
        }
        let gpu = match fields.get("gpu") {
            None | Some(Value::Null) => "h200".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(other) => return Err(format!("`gpu` is {other}; it takes a device's name")),
        };
        Ok(ReadRow { job, gpu, measured: Measured::read(row)? })
    }
}

impl Measured {
    fn read(row: &Value) -> Result<Measured, String> {
        let bytes = |key: &str| match &row[key] {
            Value::Null => Ok(None),
            value => value.as_u64().map(Some).ok_or_else(|| format!("`{key}` is {value}; it takes whole bytes")),
        };
        let mut phases = [None; PHASES.len()];
        for (phase, name) in phases.iter_mut().zip(PHASES) {
            *phase = bytes(name)?;
        }
        let fate = match &row["outcome"] {
            Value::String(word) if word == "fits" => Some(Fate::Fits),
            Value::String(word) if word == "oom" => Some(Fate::Oom),
            Value::Null if row["error"].as_str().is_some_and(|error| error.contains("OutOfMemory")) => Some(Fate::Oom),
            Value::Null if row["job"]["cap_gib"].is_number() && row["peak"].is_number() => Some(Fate::Fits),
            Value::Null => None,
            other => return Err(format!("`outcome` is {other}; it takes fits or oom")),
        };
        // The script writes what the driver says as `nvml_end`. A plan has to fit on every rank, so the one that holds most counts.
        let of_rank = |rank: &Value| match rank["process_bytes"].as_u64() {
            None => rank["nvml_end"]["proc"].as_u64(),
            process => process,
        };
        let ranks = row["ranks"].as_array().into_iter().flatten().filter_map(of_rank);
        bytes("process_bytes")?;
        let process = ranks.chain(of_rank(row)).max();
        Ok(Measured { allocated: bytes("peak")?, reserved: bytes("reserved_peak")?, process, phases, fate })
    }
}

/// Keys of a job that its title leaves out, since other labels say them or since they cost no memory.
const UNTITLED: [&str; 8] = ["stack", "model", "method", "quant", "batch", "seq", "steps", "gb"];
/// What a key of the measured rows mostly is.
const USUAL: [(&str, &str); 10] = [
    ("accum", "1"),
    ("optim", "\"adamw_torch_fused\""),
    ("precision", "\"bf16\""),
    ("rank", "16"),
    ("targets", "\"all\""),
    ("attn", "\"sdpa\""),
    ("liger", "false"),
    ("expandable", "false"),
    ("dq", "true"),
    ("ckpt", "true"),
];

/// The labels of a job, read or not.
pub(super) fn labels(job: &Value) -> Labels {
    let word = |key: &str, default: &str| match &job[key] {
        Value::Null => default.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (method, quant) = (word("method", "lora"), word("quant", "none"));
    let mut title = format!("{} x {}", word("batch", "1"), word("seq", "1024"));
    for (key, value) in job.as_object().into_iter().flatten() {
        let written = value.to_string();
        let usual = USUAL.contains(&(key.as_str(), written.as_str()));
        if !usual && !value.is_null() && !UNTITLED.contains(&key.as_str()) {
            title += &format!(" {key}={}", word(key, ""));
        }
    }
    Labels {
        stack: word("stack", "trl"),
        model: word("model", "?"),
        method: if quant == "none" { method } else { format!("{method} {quant}") },
        world: job["world"].as_u64().unwrap_or(1),
        title,
    }
}
