//! The roofline against measured steps, with each run left out of the fit once.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::model::Environment;
use crate::plan::{self, AdapterKind, Checkpointing, Plan, QuantizeKind};
use crate::setup::resolve;

const ROWS: &str = include_str!("../../../tests/fixtures/speed.jsonl");

/// A measured run: its setup, and the median and quickest of its steps in seconds.
struct Run {
    name: String,
    setup: Setup,
    median: f64,
    quickest: f64,
}

fn plan(engine: &str, model: &str, device: &str, settings: &[(&str, String)]) -> Plan {
    let mut plan = Plan {
        name: "time".to_owned(),
        model: Some(model.into()),
        device: Some(device.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() }),
        ..Default::default()
    };
    plan.set("engine", engine).unwrap();
    for (path, value) in settings {
        plan.set(path, value).unwrap();
    }
    plan
}

fn setup(plan: &Plan) -> Setup {
    resolve(plan, Path::new("."), &Environment::default()).unwrap()
}

fn runs() -> Vec<Run> {
    ROWS.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let job = &row["job"];
            let settings = [
                ("train.micro_batch", job["batch"].to_string()),
                ("data.context", job["seq"].to_string()),
                ("train.precision", "bf16".to_owned()),
                ("train.liger", job["liger"].to_string()),
                ("train.steps", "100".to_owned()),
            ];
            let mut plan = plan(job["stack"].as_str().unwrap(), job["model"].as_str().unwrap(), "h200", &settings);
            if job["quant"] == "nf4" {
                plan.quantize = Some(plan::Quantize { kind: QuantizeKind::Nf4, ..Default::default() });
            }
            let kept = if job["ckpt"] == false { Checkpointing::None } else { Checkpointing::Block };
            plan.train.get_or_insert_default().checkpointing = Some(kept.into());
            let name =
                format!("{} {} b{} {} ckpt {}", job["stack"], job["model"], job["batch"], job["quant"], job["ckpt"]);
            Run {
                name: name.replace('"', ""),
                setup: setup(&plan),
                median: row["median_step_s"].as_f64().unwrap(),
                quickest: row["min_step_s"].as_f64().unwrap(),
            }
        })
        .collect()
}

/// The fitted constants: share of the bandwidth, microseconds of an operator under TRL and Unsloth, milliseconds of a step.
type Constants = [f64; 4];

/// Those of [`rates`].
const CONSTANTS: Constants = [0.64, 23.0, 30.0, 30.0];

fn predicted(run: &Run, constants: &Constants) -> f64 {
    let [bandwidth, trl, unsloth, step] = *constants;
    let rates = rates::of(&run.setup).unwrap();
    let own = Rates {
        matmul: 1e12 * rates::MATMUL_OF_ZEROS,
        bandwidth: 4800e9 * bandwidth,
        operator_seconds: 1e-6 * if run.setup.engine == EngineName::Trl { trl } else { unsloth },
        step_seconds: 1e-3 * step,
        ..rates
    };
    time_with(&run.setup, &own).unwrap().step_seconds.value
}

/// The constants with the least squared logarithmic error, by coordinate search.
fn fit<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Constants {
    let loss = |constants: &Constants| -> f64 {
        runs.clone().map(|run| (predicted(run, constants) / run.median).ln().powi(2)).sum()
    };
    let mut best = [0.6, 30.0, 30.0, 20.0];
    let mut least = loss(&best);
    let mut stride = 0.2;
    while stride > 0.002 {
        let mut better = false;
        for index in 0..best.len() {
            for factor in [1.0 + stride, 1.0 / (1.0 + stride)] {
                let mut next = best;
                next[index] *= factor;
                // no device is faster than its peak
                let possible = next[0] <= 1.0;
                let loss = loss(&next);
                if possible && loss < least {
                    (best, least, better) = (next, loss, true);
                }
            }
        }
        if !better {
            stride /= 2.0;
        }
    }
    best
}

#[test]
fn measured_steps_are_inside_the_interval_and_close() {
    let runs = runs();
    // the constants are the fit's, rounded
    for (constant, fitted) in CONSTANTS.iter().zip(fit(runs.iter())) {
        assert!((constant / fitted - 1.0).abs() < 0.03, "{constant}, not {fitted}");
    }
    let mut errors = Vec::new();
    let mut left_out = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let time = time(&run.setup).unwrap();
        let others = runs.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, run)| run);
        let without = predicted(run, &fit(others)) / run.median - 1.0;
        let error = time.step_seconds.value / run.median - 1.0;
        let zeros = predicted(run, &CONSTANTS) / run.median - 1.0;
        println!(
            "{:<50} {:.4} s, {:+.1} % (left out {:+.1} %; on random weights {:+.1} %), {:?}",
            run.name,
            run.median,
            100.0 * zeros,
            100.0 * without,
            100.0 * error,
            time.bound
        );
        assert!(time.measured, "{}", run.name);
        let Range { low, high, .. } = time.step_seconds;
        assert!(low <= run.quickest && run.median <= high, "{}: {low} to {high}, not {}", run.name, run.median);
        errors.push(zeros.abs());
        left_out.push(without.abs());
    }
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    println!("mean {:.3}, left out {:.3}", mean(&errors), mean(&left_out));
    assert!(mean(&errors) < 0.10 && mean(&left_out) < 0.15);
}

/// The executor on two cores, as `benches/cpu/README.md` has it.
#[test]
fn the_executor_on_a_processor() {
    for (checkpointing, tokens_per_second) in [("none", 207.1), ("block", 139.2)] {
        let settings = [
            ("train.checkpointing", checkpointing.to_owned()),
            ("data.context", "256".to_owned()),
            ("train.steps", "10".to_owned()),
        ];
        let mut setup = setup(&plan("memspec", "HuggingFaceTB/SmolLM2-135M-Instruct", "cpu", &settings));
        setup.device.cores = Some(2);
        let Range { value, low, high } = time(&setup).unwrap().tokens_per_second;
        println!("{checkpointing}: {value:.1} tokens/s, measured {tokens_per_second}");
        assert!((value / tokens_per_second - 1.0).abs() < 0.15, "{checkpointing}: {value}");
        assert!(low < tokens_per_second && tokens_per_second < high);
    }
}

fn h100(settings: &[(&str, &str)]) -> Result<Time, CostError> {
    let settings: Vec<_> = settings.iter().map(|(path, value)| (*path, (*value).to_owned())).collect();
    time(&setup(&plan("trl", "llama3-8b", "h100-80", &settings)))
}

#[test]
fn steps_hours_and_money_follow_from_the_data() {
    let known =
        [("data.samples", "8000"), ("data.mean_length", "500"), ("train.micro_batch", "4"), ("train.epochs", "2")];
    let time = h100(&known).unwrap();
    assert_eq!(time.steps, Some(4000));
    let (total, cost) = (time.total_seconds.unwrap(), time.cost.clone().unwrap());
    assert!(total.low < total.value && total.value < total.high);
    assert_eq!(cost.machine.as_deref(), Some("runpod-h100"));
    assert!((cost.usd.value - total.value / 3600.0 * 3.99).abs() < 1e-9);
    let given = time.clone().at("1usd/h".parse().unwrap()).cost.unwrap();
    assert_eq!((given.machine, (given.usd.value * 3600.0).round()), (None, total.value.round()));

    let own = h100(&[&known[..], &[("hourly_price", "1usd")]].concat()).unwrap().cost.unwrap();
    assert_eq!((own.machine, own.usd.value), (None, given.usd.value));

    // what is not known is not said
    let unknown = h100(&[("train.epochs", "2")]).unwrap();
    assert_eq!((unknown.steps, unknown.total_seconds, unknown.cost), (None, None, None));
    // packing fills every sequence
    let packed = h100(&[&known[..], &[("data.packing", "true"), ("data.context", "2000")]].concat()).unwrap();
    assert_eq!(packed.steps, Some(1000));
    assert!(packed.tokens_per_second.value > h100(&known).unwrap().tokens_per_second.value);
}

#[test]
fn a_machine_that_is_named_is_paid_whole() {
    let on = |device: &str| {
        let settings = [("train.steps", "1000".to_owned())];
        time(&setup(&plan("trl", "llama3-8b", device, &settings))).unwrap().cost
    };
    assert_eq!(on("aws-p5.48xlarge").unwrap().usd_per_hour, 55.04);
    assert_eq!(on("colab-free-t4").unwrap().usd.high, 0.0);
    assert_eq!(on("rtx2070"), None);
}

#[test]
fn a_change_takes_the_time_that_it_should() {
    let seconds = |settings: &[(&str, &str)]| h100(settings).unwrap().step_seconds.value;
    let large = [("train.micro_batch", "8"), ("data.context", "2048")];
    let with = |more: &[(&'static str, &'static str)]| seconds(&[&large[..], more].concat());
    let plain = with(&[]);
    let recomputed = with(&[("train.checkpointing", "block")]) / plain;
    assert!((1.2..1.5).contains(&recomputed), "{recomputed}");
    let block = |checkpointing: &str| {
        let settings = large.into_iter().chain([("train.checkpointing", checkpointing)]);
        let settings: Vec<_> = settings.map(|(path, value)| (path, value.to_owned())).collect();
        setup(&plan("trl", "llama3-8b", "h100-80", &settings))
    };
    assert!((slowdown(&block("none"), &block("block")).unwrap() - recomputed).abs() < 1e-9);
    assert!((with(&[("train.accumulate", "4")]) / plain - 4.0).abs() < 0.3);
    assert!(with(&[("train.attention", "eager")]) > 1.2 * plain);
    assert!(with(&[("train.liger", "true")]) < plain);
    assert!(with(&[("adapter.rank", "64")]) > plain);
    // short samples wait for the host: twice as many of them take hardly longer
    let small = h100(&[("data.context", "256")]).unwrap();
    assert_eq!(small.bound, Bound::Host);
    assert!(seconds(&[("data.context", "256"), ("train.micro_batch", "2")]) < 1.1 * small.step_seconds.value);
}

#[test]
fn what_was_not_timed_is_refused_by_its_setting() {
    let refused = |engine: &str, device: &str, path: &str, value: &str| {
        let settings = [("train.steps", "10".to_owned()), (path, value.to_owned())];
        match time(&setup(&plan(engine, "llama3-8b", device, &settings))) {
            Err(CostError::Unsupported { setting, .. }) => setting,
            Ok(time) => panic!("{engine} on {device}: {time:?}"),
        }
    };
    assert_eq!(refused("memspec", "h100-80", "train.clip", "1"), "engine");
    assert_eq!(refused("trl", "cpu", "train.clip", "1"), "engine");
    assert_eq!(refused("trl", "h100-80", "train.precision", "f32"), "train.precision");
}

#[test]
fn every_model_and_device_has_an_ordered_finite_time_or_a_reason() {
    let mut timed = 0;
    for model in crate::model::catalog::names() {
        for device in crate::device::names() {
            for engine in ["trl", "unsloth"] {
                let settings = [("train.steps", "10".to_owned()), ("data.context", "1024".to_owned())];
                let setup = setup(&plan(engine, model, device, &settings));
                let time = match time(&setup) {
                    Ok(time) => time,
                    Err(CostError::Unsupported { what, .. }) => {
                        assert!(!what.is_empty());
                        continue;
                    }
                };
                for range in [
                    Some(time.step_seconds),
                    Some(time.tokens_per_second),
                    time.total_seconds,
                    time.cost.map(|cost| cost.usd),
                ] {
                    let Some(Range { value, low, high }) = range else { continue };
                    let ordered = low <= value && value <= high && low >= 0.0 && high.is_finite();
                    assert!(ordered, "{engine} {model} {device}: {low} {value} {high}");
                }
                timed += 1;
            }
        }
    }
    assert!(timed > 1000, "{timed}");
}
