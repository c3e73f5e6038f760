//! Several devices sharing the work: what a rank takes, and what is refused by its setting.

use memspec::cost::{CostError, Estimate, estimate, peak_allocated};
use memspec::exchange::job::Job;
use memspec::setup::Setup;
use serde_json::{Value, json};

fn setup(job: &Value) -> Setup {
    Job::read(job).unwrap().setup("H200").unwrap()
}

fn job(shard: &str, method: &str, world: u32) -> Value {
    json!({"model": "llama3.2-1b", "seq": 1024, "shard": shard, "method": method, "world": world})
}

fn cost(job: &Value) -> Estimate {
    estimate(&setup(job)).unwrap_or_else(|error| panic!("{job}: {error}"))
}

fn with(job: &Value, key: &str, value: Value) -> Value {
    let mut job = job.clone();
    job[key] = value;
    job
}

#[test]
fn more_devices_never_take_more_of_each_where_something_is_shared() {
    for (shard, method) in [
        ("fsdp2", "full"),
        ("fsdp2", "lora"),
        ("zero1", "full"),
        ("zero2", "full"),
        ("zero3", "full"),
        ("zero3", "lora"),
        ("tp", "full"),
    ] {
        let peaks: Vec<u64> = [2, 4, 8].map(|world| peak_allocated(&setup(&job(shard, method, world))).unwrap()).into();
        assert!(peaks.is_sorted_by(|a, b| a >= b), "{shard} {method}: {peaks:?}");
    }
}

#[test]
fn each_stage_of_zero_takes_less_than_the_one_before() {
    let peak = |shard: &str| cost(&with(&job(shard, "full", 8), "model", json!("llama3-8b"))).peak.allocated.bytes;
    let peaks = ["ddp", "zero1", "zero3"].map(peak);
    assert!(peaks.is_sorted_by(|a, b| a > b), "{peaks:?}");
}

#[test]
fn what_is_offloaded_is_not_on_the_device() {
    for shard in ["zero1", "zero2", "zero3", "fsdp2"] {
        let on_device = job(shard, "full", 2);
        let (device, host) = (cost(&on_device), cost(&with(&on_device, "offload", json!(true))));
        assert!(host.peak.allocated.bytes < device.peak.allocated.bytes, "{shard}");
    }
}

#[test]
fn the_rank_that_holds_most_decides() {
    let estimate = cost(&job("fsdp2", "full", 2));
    let beside = |process: u64, reserved: u64| process - reserved;
    let (process, reserved) = (estimate.peak.process, estimate.peak.reserved);
    // NCCL's channels, which the first rank's broadcast connects once more on the others.
    assert_eq!(beside(process.bytes, reserved.bytes) - beside(process.low, reserved.low), 256 << 20);
    assert_eq!(process.high - reserved.high, process.bytes - reserved.bytes);
}

#[test]
fn what_was_not_measured_is_said_and_wider() {
    let relative = |estimate: &Estimate| {
        let interval = estimate.peak.process;
        (interval.high - interval.low) as f64 / interval.bytes as f64
    };
    let measured = cost(&job("fsdp2", "full", 2));
    assert!(measured.measured);
    for job in [job("fsdp2", "full", 4), job("zero2", "full", 2), job("zero3", "lora", 2), job("tp", "full", 2)] {
        let estimate = cost(&job);
        assert!(!estimate.measured && relative(&estimate) > relative(&measured), "{job}");
    }
}

#[test]
fn what_the_stacks_refuse_is_refused_by_its_setting() {
    let nf4 = |job: Value| with(&job, "quant", json!("nf4"));
    let jobs = [
        with(&job("fsdp2", "lora", 2), "quant", json!("int8")),
        with(&job("fsdp2", "full", 2), "optim", json!("adamw_8bit")),
        with(&job("fsdp2", "full", 2), "optim", json!("adafactor")),
        with(&with(&job("fsdp2", "lora", 2), "model", json!("llama3-8b")), "offload", json!(true)),
        nf4(job("zero3", "lora", 2)),
        with(&job("zero2", "full", 2), "precision", json!("bf16-pure")),
        with(&job("zero2", "full", 2), "optim", json!("adafactor")),
        job("tp", "lora", 2),
        nf4(job("tp", "lora", 2)),
        job("tp", "full", 3),
        with(&job("tp", "full", 2), "model", json!("phi3-mini")),
        with(&job("tp", "full", 2), "optim", json!("adamw_8bit")),
    ];
    let said = jobs.iter().map(|job| match estimate(&setup(job)) {
        Err(CostError::Unsupported { setting, what }) => format!("{job}\n  {setting}: {what}\n"),
        other => panic!("{job}: {other:?}"),
    });
    insta::assert_snapshot!(said.collect::<String>());
}
