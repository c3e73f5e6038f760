//! Asserts on what is estimated: which hold, and what is said of those that do not.
#![cfg(feature = "lang")]

use std::path::Path;

use memspec::cost::{estimate, failed};
use memspec::model::Environment;
use memspec::plan::read_text;
use memspec::setup::resolve;
use proptest::prelude::*;

fn document(device: &str, condition: &str) -> memspec::plan::Document {
    read_text(
        "a.mem",
        format!(
            "plan \"a\" {{\n  model = \"smollm2-135m\"\n  device = {device}\n  adapter lora {{ }}\n  data {{ context = 512tok }}\n  assert {condition}\n}}\n"
        ),
    )
}

/// What is said of an assert that does not hold.
fn broken(device: &str, condition: &str) -> Option<String> {
    let document = document(device, condition);
    assert_eq!(document.problems, [], "{condition}");
    let plan = &document.plans[0].plan;
    let setup = resolve(plan, Path::new("."), &Environment::default()).unwrap();
    failed(plan, &setup, estimate(&setup).ok().as_ref(), None).first().map(ToString::to_string)
}

#[test]
fn headroom_is_an_amount_or_a_part() {
    for holds in ["headroom >= 50%", "50% < headroom", "headroom > 1GiB", "not headroom >= 99.9%", "headroom <= 100%"] {
        assert_eq!(broken("t4", holds), None, "{holds}");
    }
    insta::assert_snapshot!(broken("t4", "headroom >= 99.9%").unwrap());
    insta::assert_snapshot!(broken("t4", "headroom >= 1TiB").unwrap());
}

#[test]
fn what_is_no_part_is_not_compared_with_a_percent() {
    for wrong in ["device_memory <= 5%", "headroom + 1GiB >= 5%", "max(headroom, 1GiB) >= 5%", "headroom >= 6h"] {
        let problems = document("t4", wrong).problems;
        let [problem] = problems.as_slice() else { panic!("{wrong}: {problems:#?}") };
        assert_eq!(problem.code, "wrong-unit", "{wrong}");
    }
}

#[test]
fn the_hosts_memory_is_known_on_a_cpu_only() {
    assert_eq!(broken("cpu", "host_memory >= 1MiB"), None);
    let said = broken("cpu", "host_memory <= 1MiB").unwrap();
    assert!(said.starts_with("not host_memory <= 1MiB (host_memory is "), "{said}");
    for unknown in ["host_memory <= 1MiB", "disk <= 1MiB"] {
        assert_eq!(broken("t4", unknown), None);
    }
}

proptest! {
    /// A part of the device is so many bytes of it.
    #[test]
    fn a_part_holds_where_its_bytes_do(percent in 0..=100_u64) {
        let usable = {
            let document = document("t4", "true");
            resolve(&document.plans[0].plan, Path::new("."), &Environment::default()).unwrap().device.usable.0
        };
        let part = broken("t4", &format!("headroom >= {percent}%")).is_none();
        let bytes = broken("t4", &format!("headroom >= {}KiB", usable * percent / 100 / 1024)).is_none();
        prop_assert_eq!(part, bytes);
    }
}
