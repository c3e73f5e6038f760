//! What the solver finds fits, and is the most that does.

use std::path::Path;

use memspec::cost::estimate;
use memspec::lang;
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Checkpointing, Choice, EngineName, Plan, QuantizeKind, read_text};
use memspec::quantity::{Bytes, Tokens};
use memspec::setup::{Setup, resolve};
use memspec::solve::{Growing, Method, Place, Resolved, Suggested, Wish, largest, setups, suggest, what_if, with};
use proptest::prelude::*;

fn plan(model: &str, device: &str) -> Plan {
    Plan {
        name: "solved".to_owned(),
        model: Some(model.into()),
        device: Some(device.into()),
        adapter: Some(plan::Adapter { kind: AdapterKind::Lora, rank: Some(16.into()), ..Default::default() }),
        data: Some(plan::Data { context: Some(Tokens(1024).into()), ..Default::default() }),
        train: Some(plan::Train {
            micro_batch: Some(2.into()),
            accumulate: Some(4.into()),
            checkpointing: Some(Checkpointing::Block.into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn setup(plan: &Plan) -> Setup {
    resolve(plan, Path::new("."), &Environment::default()).unwrap()
}

fn resolved(plan: &Plan) -> Resolved {
    setups(plan, Path::new("."), &Environment::default()).unwrap().remove(0)
}

const SMALL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

#[test]
fn every_single_change_says_what_it_saves_and_what_it_costs() {
    let plan = plan("meta-llama/Meta-Llama-3-8B", "h200");
    let changes = what_if(&resolved(&plan), Path::new("."), &Environment::default());
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let memory =
                if change.takes.0 > 0 { format!("takes {}", change.takes) } else { format!("saves {}", change.saves) };
            format!("{}: {memory}, {}", change.title, change.price.words())
        })
        .collect();
    // of the engine memspec alone, whose figures stand still
    let own = |line: &&String| !line.starts_with("engine");
    insta::assert_snapshot!(lines.iter().filter(own).map(String::as_str).collect::<Vec<_>>().join("\n"));
    for change in &changes {
        assert!(change.saves == Bytes(0) || change.takes == Bytes(0), "{}", change.title);
    }
}

fn wish(model: &str, device: &str) -> Wish {
    Wish {
        model: model.to_owned(),
        places: vec![Place { device: device.to_owned(), hours_a_month: None }],
        context: None,
        method: None,
        engines: vec![EngineName::Memspec],
    }
}

fn suggested(wish: &Wish, all: bool) -> Suggested {
    suggest(wish, all, Path::new("."), &Environment::default()).unwrap()
}

#[test]
fn suggestions_fit_are_ordered_and_read_back() {
    for (model, device) in [(SMALL, "t4"), ("meta-llama/Meta-Llama-3-8B", "t4"), ("meta-llama/Meta-Llama-3-8B", "h200")]
    {
        let found = suggested(&wish(model, device), true);
        assert!(!found.plans.is_empty(), "{model} on {device}");
        for one in &found.plans {
            assert!(estimate(&setup(&one.plan)).unwrap().fits, "{:?}", one.plan);
            let document = read_text("suggested.mem", lang::write(&one.plan));
            assert_eq!(document.problems, []);
            assert_eq!(document.plans[0].plan, one.plan);
        }
        let order: Vec<_> = found
            .plans
            .iter()
            .map(|one| (one.method, one.bits, std::cmp::Reverse(one.rank), std::cmp::Reverse(one.context)))
            .collect();
        assert!(order.is_sorted(), "{order:?}");
        let best = suggested(&wish(model, device), false);
        assert_eq!(best.plans[0].plan, found.plans[0].plan, "{model} on {device}");
    }
}

#[test]
fn a_wish_is_kept_to() {
    let found = suggested(&Wish { context: Some(777), method: Some(Method::Lora), ..wish(SMALL, "t4") }, true);
    assert!(found.plans.iter().all(|one| one.context == 777 && one.method == Method::Lora));
    let refused = suggested(&wish("Qwen/Qwen-7B", "t4"), false);
    assert!(refused.plans.is_empty() && refused.refused.len() == 1, "{:?}", refused.refused);
    assert!(suggest(&wish("no/such-model", "t4"), false, Path::new("."), &Environment::default()).is_err());
    assert!(suggest(&wish(SMALL, "t5"), false, Path::new("."), &Environment::default()).is_err());
}

#[test]
fn what_never_fits_is_0_and_what_always_does_ends_at_the_positions() {
    let none = largest(&setup(&plan("meta-llama/Meta-Llama-3-70B", "t4")), Growing::Context).unwrap();
    assert_eq!((none.value, none.bounded_by_memory), (0, true));
    let all = largest(&setup(&plan(SMALL, "h200")), Growing::Context).unwrap();
    assert_eq!((all.value, all.bounded_by_memory), (8192, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_largest_fits_and_one_more_does_not(
        growing in prop::sample::select(vec![Growing::Context, Growing::Batch]),
        mib in 600u64..6000,
        quantize in prop::option::of(prop::sample::select(vec![QuantizeKind::Nf4, QuantizeKind::Int8])),
        block in any::<bool>(),
    ) {
        let mut plan = plan(SMALL, "t4");
        plan.quantize = quantize.map(|kind| plan::Quantize { kind, ..Default::default() });
        if !block {
            plan.train.get_or_insert_default().checkpointing = Some(Choice::One(Checkpointing::None));
        }
        plan.set("budget.device_memory", &format!("<= {mib}MiB")).unwrap();
        let setup = setup(&plan);
        let found = largest(&setup, growing).unwrap();
        let fits = |value: u64| estimate(&with(&setup, growing, value)).unwrap().fits;
        if found.value > 0 {
            prop_assert!(fits(found.value) && found.estimate.fits);
        }
        if found.bounded_by_memory {
            prop_assert!(!fits(found.value + 1));
        }
    }

    #[test]
    fn memory_never_falls_when_context_or_batch_grows(
        growing in prop::sample::select(vec![Growing::Context, Growing::Batch]),
        value in 1u64..4000,
        more in 1u64..2000,
        block in any::<bool>(),
    ) {
        let mut plan = plan(SMALL, "h200");
        if !block {
            plan.train.get_or_insert_default().checkpointing = Some(Choice::One(Checkpointing::None));
        }
        let setup = setup(&plan);
        let bytes = |value| estimate(&with(&setup, growing, value)).unwrap().peak.process.bytes;
        prop_assert!(bytes(value) <= bytes(value + more));
    }

    #[test]
    fn a_plan_that_is_written_reads_back(
        rank in 1u32..1000,
        rate in 1e-7f64..1.0,
        context in 1u64..100_000,
        targets in prop::sample::select(vec!["all_linear", "query_value", "[q_proj, v_proj]"]),
        model in "[a-zA-Z0-9/ \"\\\\._-]{1,20}",
        warmup in prop::sample::select(vec!["3%", "100step"]),
        blocks in 0u32..40,
    ) {
        let mut written = plan(&model, "a100-80");
        for (path, value) in [
            ("adapter.rank", rank.to_string()),
            ("adapter.targets", targets.to_owned()),
            ("train.learning_rate", rate.to_string()),
            ("train.warmup", warmup.to_owned()),
            ("train.checkpointing", blocks.to_string()),
            ("data.context", format!("{context}tok")),
            ("budget.device_memory", "<= 14.5GiB".to_owned()),
            ("budget.headroom", ">= 5%".to_owned()),
        ] {
            written.set(path, &value).unwrap();
        }
        written.train.get_or_insert_default().micro_batch = Some(Choice::Fit(vec![4, 2]));
        let document = read_text("written.mem", lang::write(&written));
        prop_assert_eq!(&document.problems, &[]);
        prop_assert_eq!(&document.plans[0].plan, &written);
    }
}
