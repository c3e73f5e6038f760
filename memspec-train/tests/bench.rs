//! `bench` and `devices`, as they are on a machine without a card.

mod common;

use common::{ADAPTER, Place};
use serde_json::Value;

#[test]
fn a_plan_is_measured_without_data_or_weights() {
    let place = Place::new();
    place.remove("model/model.safetensors").remove("train.jsonl");
    measured(&place);
    place.plan(&[(ADAPTER, "")]);
    measured(&place);
}

fn measured(place: &Place) {
    let done = place.call(&["bench", "plan.mem", "--steps", "2", "--random-weights", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let measured: Value = serde_json::from_str(&done.stdout).unwrap();
    for figure in ["tokens_per_s", "first_step_s", "reserved_bytes"] {
        assert!(measured[figure].as_f64().unwrap() > 0.0, "{figure}: {measured}");
    }
    assert_eq!(measured["step_s"].as_array().unwrap().len(), 2);
    let phases = measured["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 5, "{measured}");
    for phase in phases {
        let (promised, measured) =
            (phase["promised_bytes"].as_f64().unwrap(), phase["measured_bytes"].as_f64().unwrap());
        assert!((promised / measured - 1.0).abs() < 0.005, "{phase}");
    }
}

#[test]
fn weights_that_are_not_there_can_be_made_up() {
    let place = Place::new();
    place.plan(&[("\"model\"", "\"HuggingFaceTB/SmolLM2-135M\""), ("256MiB", "8GiB")]);
    place.call(&["bench", "plan.mem"]).refused(2, &["--random-weights"]);
}

#[test]
fn what_a_machine_has_is_said_and_nothing_is_an_error() {
    let done = Place::new().call(&["devices", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let machine: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(machine["libraries"].as_array().unwrap().len(), 3);
    assert_eq!(machine["cards"].as_array().unwrap().is_empty(), machine["no_cards"].is_string());
}

#[test]
fn a_card_that_this_binary_cannot_use_is_refused_by_name() {
    let place = Place::new();
    place.plan(&[("device = cpu", "device = t4"), ("256MiB", "8GiB")]);
    place.refuses_to_start(2, &["`t4`"]);
}
