//! What is alive when: the picture has the estimate's peak in it, to the byte.

use memspec::cost::{Timeline, estimate, timeline};
use memspec::exchange::job::Job;
use memspec::plan::read_text;
use memspec::setup::Setup;
use memspec::solve::setups;
use serde_json::{Value, json};

fn run(job: &Value) -> Setup {
    Job::read(job).unwrap().setup("H200").unwrap()
}

fn planned(text: &str) -> Setup {
    let document = read_text("plan.mem", text);
    setups(&document.plans[0].plan, "".as_ref(), &Default::default()).unwrap().remove(0).setup
}

/// The highest moment of the picture is the peak of the estimate, of the same parts, however many columns there are.
fn check(setup: &Setup) -> Timeline {
    let expected = estimate(setup).unwrap();
    let columns = [1, 7, 240, 100_000];
    let seen = columns.map(|columns| timeline(setup, columns).unwrap().expect("it trains"));
    for seen in &seen {
        let visit = seen.visits.iter().max_by_key(|visit| visit.highest().allocated()).unwrap();
        let highest = visit.highest();
        let mut parts: Vec<(&str, u64)> = seen.parts.iter().map(|part| part.what).zip(highest.alive.clone()).collect();
        parts.retain(|(_, bytes)| *bytes > 0);
        parts.sort_by_key(|(what, bytes)| (std::cmp::Reverse(*bytes), *what));
        let mut at_peak: Vec<(&str, u64)> = expected.at_peak.iter().map(|part| (part.what, part.bytes)).collect();
        at_peak.sort_by_key(|(what, bytes)| (std::cmp::Reverse(*bytes), *what));
        assert_eq!((visit.phase, parts), (expected.peak.phase, at_peak), "{}", setup.name);
        for phase in &expected.phases {
            let of_phase = seen.visits.iter().filter(|visit| visit.phase == phase.name);
            let highest = of_phase.map(|visit| visit.highest().allocated()).max().unwrap_or(0);
            assert!(highest <= phase.allocated_bytes, "{}: {}", setup.name, phase.name);
        }
    }
    seen[2].clone()
}

#[test]
fn the_highest_moment_is_the_peak_of_the_estimate() {
    for job in [
        json!({"model": "llama3.2-1b", "evaluate": 4, "merge": true}),
        json!({"model": "llama3.2-1b", "method": "full", "world": 2, "shard": "fsdp2"}),
        json!({"model": "qwen2.5-0.5b", "quant": "nf4", "accum": 2, "stack": "unsloth"}),
        json!({"model": "qwen1.5-moe-a2.7b", "method": "full", "precision": "bf16-pure", "optim": "adafactor"}),
    ] {
        let seen = check(&run(&job));
        assert!(seen.visits.iter().all(|visit| visit.highest().reserved >= visit.highest().allocated()), "{job}");
    }
    check(&planned(
        r#"plan "cpu" { model = "HuggingFaceTB/SmolLM2-135M-Instruct"; device = cpu; engine = memspec; adapter lora { }; data { context = 256tok } }"#,
    ));
}

#[test]
fn what_only_serves_has_no_timeline() {
    let setup = planned(
        r#"plan "serve" { model = "HuggingFaceTB/SmolLM2-135M-Instruct"; device = t4; serve { context = 256tok } }"#,
    );
    assert_eq!(timeline(&setup, 240), Ok(None));
}
