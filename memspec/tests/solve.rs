//! What the solver finds fits, and is the most that does.

use std::path::Path;

use memspec::cost::{estimate, exceeded, failed, peak_allocated, time};
use memspec::lang;
use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Checkpointing, Choice, EngineName, Plan, QuantizeKind, read_text};
use memspec::quantity::{Bytes, Tokens};
use memspec::setup::{Setup, resolve};
use memspec::solve::{Growing, Method, Place, Resolved, Suggested, Why, Wish, largest, setups, suggest, what_if, with};
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

fn written(text: &str) -> Plan {
    let document = read_text("solved.mem", text);
    assert_eq!(document.problems, []);
    document.plans[0].plan.clone()
}

/// Every reason, a line each.
fn rejected(resolved: &Resolved) -> String {
    let line = |rejected: &memspec::solve::Rejected| {
        let values: Vec<_> = rejected.values.iter().map(|(setting, value)| format!("{setting} {value}")).collect();
        format!("{}: {}\n", values.join(", "), rejected.why)
    };
    resolved.rejected.iter().map(line).collect()
}

#[test]
fn what_was_preferred_says_why_it_was_not_taken() {
    let chosen = resolved(&written(
        r#"plan "solved" {
             model = "meta-llama/Meta-Llama-3-8B"
             device = rtx4090
             engine = trl
             quantize nf4 { }
             adapter lora { rank = fit [512, 16]; dropout = 5% }
             data { context = fit [8192, 2048]; samples = 52_000; mean_length = 400tok }
             train { micro_batch = fit [16, 8, 2, 1]; checkpointing = block; precision = bf16 }
             budget { device_memory <= 14.5GiB; wall_clock <= 30h }
           }"#,
    ));
    insta::assert_snapshot!(format!("{}chosen: {:?}", rejected(&chosen), chosen.chosen));
}

#[test]
fn a_limit_on_time_and_what_an_engine_refuses_are_reasons_too() {
    let long = resolved(&written(
        r#"plan "solved" {
             model = "meta-llama/Meta-Llama-3-8B"
             device = h200
             engine = unsloth
             quantize nf4 { }
             adapter lora { dropout = fit [5%, 0%] }
             data { context = 512tok }
             train { precision = bf16; steps = fit [1_000_000step, 1000step] }
             budget { wall_clock <= 6h }
           }"#,
    ));
    assert!(matches!(long.rejected[0].why, Why::Refused(_)), "{}", rejected(&long));
    assert!(matches!(long.rejected.last().unwrap().why, Why::Limit(_)), "{}", rejected(&long));
    assert_eq!(long.chosen.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["0%", "1000"]);
}

#[test]
fn what_follows_from_a_choice_follows_it_and_asserts_are_kept_to() {
    let plan = written(
        "plan \"p\" {\n  model = \"meta-llama/Meta-Llama-3-8B\"\n  device = rtx4090\n  engine = trl\n  quantize nf4 { }\n  adapter lora { rank = fit [64, 16]; alpha = 2 * rank }\n\
           data { context = 2048tok }\n  train { micro_batch = fit [12, 6, 4, 2, 1]; accumulate = 12 / micro_batch; checkpointing = block; optimizer = adamw_8bit }\n\
           budget { device_memory <= 16GiB }\n  assert train.accumulate <= 6 and headroom >= 9GiB else \"too slow\"\n}\n",
    );
    let found = resolved(&plan);
    insta::assert_snapshot!(format!("{}{}", rejected(&found), lang::write(&found.explicit())));
}

#[test]
fn a_sweep_is_followed_in_each_run() {
    let plan = written(
        "plan \"p\" {\n  model = \"HuggingFaceTB/SmolLM2-135M-Instruct\"\n  device = t4\n  adapter lora { }\n  train { micro_batch = sweep [1, 2, 4]; accumulate = 8 / micro_batch }\n}\n",
    );
    let runs = setups(&plan, Path::new("."), &Environment::default()).unwrap();
    let batches: Vec<_> = runs.iter().map(|run| (run.setup.train.micro_batch, run.setup.train.accumulate)).collect();
    assert_eq!(batches, [(1, 8), (2, 4), (4, 2)]);
}

#[test]
fn where_nothing_fits_the_last_values_stand() {
    let plan = written(
        "plan \"p\" {\n  model = \"meta-llama/Meta-Llama-3-70B\"\n  device = t4\n  adapter lora { rank = fit [16, 8] }\n  train { micro_batch = fit [2, 1] }\n}\n",
    );
    let none = resolved(&plan);
    assert!(!estimate(&none.setup).unwrap().fits);
    assert_eq!((none.setup.adapter.as_ref().unwrap().rank, none.setup.train.micro_batch), (8, 1));
    // a quick look at the least of the rest is enough
    assert_eq!(none.rejected.len(), 2, "{}", rejected(&none));
}

/// The first values that meet the budget, found by trying every combination.
fn exhaustive(plan: &Plan, choices: &[(&str, Vec<String>)]) -> Option<Vec<String>> {
    let mut all = vec![Vec::new()];
    for (_, values) in choices {
        all = all
            .iter()
            .flat_map(|begun: &Vec<String>| {
                values.iter().map(|value| [begun.as_slice(), std::slice::from_ref(value)].concat())
            })
            .collect();
    }
    all.into_iter().find(|values| {
        let mut plan = plan.clone();
        for ((setting, _), value) in choices.iter().zip(values) {
            plan.set(setting, value).unwrap();
        }
        // 16 / 3 is no count
        let Ok(Resolved { plan, setup, .. }) =
            setups(&plan, Path::new("."), &Environment::default()).map(|mut all| all.remove(0))
        else {
            return false;
        };
        let (estimate, time) = (estimate(&setup).ok(), time(&setup).ok());
        let over = time.as_ref().map(|time| exceeded(plan.budget.as_ref().unwrap(), time)).unwrap_or_default();
        let holds = failed(&plan, &setup, estimate.as_ref(), time.as_ref()).is_empty();
        estimate.is_some_and(|estimate| estimate.fits) && over.is_empty() && holds
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_fit_is_the_first_that_meets_the_budget(
        engine in prop::sample::select(vec!["memspec", "trl", "unsloth"]),
        mib in 600u64..4000,
        minutes in 1u32..200,
        ranks in prop::collection::vec(1u32..200, 1..4),
        dropouts in prop::sample::subsequence(vec!["5%", "0%"], 1..=2).prop_shuffle(),
        contexts in prop::collection::vec(64u64..4000, 1..4),
        batches in prop::collection::vec(1u32..24, 1..4),
        checkpointing in prop::sample::subsequence(vec!["none", "block"], 1..=2).prop_shuffle(),
        optimizers in prop::sample::subsequence(vec!["adamw", "adamw_8bit", "sgd"], 1..=2),
        accumulate in prop::sample::select(vec!["1", "ceil(16 / micro_batch)", "16 / micro_batch"]),
        asserted in prop::sample::select(vec!["true", "tokens_per_step <= 8ktok", "headroom >= 76GiB and adapter.rank <= 64"]),
    ) {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
        let choices = [
            ("adapter.rank", ranks.iter().map(ToString::to_string).collect::<Vec<_>>()),
            ("adapter.dropout", words(&dropouts)),
            ("data.context", contexts.iter().map(|context| format!("{context}tok")).collect()),
            ("train.micro_batch", batches.iter().map(ToString::to_string).collect()),
            ("train.checkpointing", words(&checkpointing)),
            ("train.optimizer", words(&optimizers)),
        ];
        let [ranks, dropouts, contexts, batches, checkpointing, optimizers] =
            choices.each_ref().map(|(_, values)| format!("fit [{}]", values.join(", ")));
        let plan = written(&format!(
            r#"plan "p" {{
                 model = "{SMALL}"
                 device = "a100-80"
                 engine = {engine}
                 adapter lora {{ rank = {ranks}; dropout = {dropouts} }}
                 data {{ context = {contexts} }}
                 train {{
                   micro_batch = {batches}
                   checkpointing = {checkpointing}
                   optimizer = {optimizers}
                   accumulate = {accumulate}
                   precision = bf16
                   steps = 5000step
                 }}
                 budget {{ device_memory <= {mib}MiB; wall_clock <= {minutes}min }}
                 assert {asserted}
               }}"#
        ));
        let Ok(found) = setups(&plan, Path::new("."), &Environment::default()).map(|mut all| all.remove(0)) else {
            // not even the last values make a plan
            prop_assert_eq!(exhaustive(&plan, &choices), None);
            return Ok(());
        };
        let chosen: Vec<String> = found.chosen.iter().map(|(_, value)| value.clone()).collect();
        let expected = exhaustive(&plan, &choices);
        let expected = expected.unwrap_or_else(|| choices.iter().map(|(_, values)| values.last().unwrap().clone()).collect());
        let plain = |values: &[String]| values.iter().map(|value| value.trim_end_matches("tok").to_owned()).collect::<Vec<_>>();
        prop_assert_eq!(plain(&chosen), plain(&expected), "{}", rejected(&found));
    }

    #[test]
    fn tensors_never_shrink_when_a_growing_setting_grows(
        engine in prop::sample::select(vec![EngineName::Trl, EngineName::Unsloth]),
        model in prop::sample::select(vec![SMALL, "Qwen/Qwen2.5-0.5B", "microsoft/Phi-3-mini-4k-instruct", "google/gemma-2-2b"]),
        (setting, value, more) in prop_oneof![
            (Just("adapter.rank"), 1u64..300, 1u64..200),
            (Just("data.context"), 2u64..9000, 1u64..5000),
            (Just("train.micro_batch"), 1u64..40, 1u64..20),
            (Just("train.accumulate"), 1u64..5, 1u64..4),
        ],
        block in any::<bool>(),
        nf4 in any::<bool>(),
        context in 16u64..3000,
        batch in 1u32..6,
    ) {
        let mut plan = plan(model, "h200");
        plan.engine = Some(engine.into());
        plan.quantize = nf4.then(|| plan::Quantize { kind: QuantizeKind::Nf4, ..Default::default() });
        let checkpointing = if block { Checkpointing::Block } else { Checkpointing::None };
        plan.train.get_or_insert_default().checkpointing = Some(Choice::One(checkpointing));
        plan.set("data.context", &context.to_string()).unwrap();
        plan.set("train.micro_batch", &batch.to_string()).unwrap();
        let bytes = |value: u64| {
            let mut plan = plan.clone();
            plan.set(setting, &value.to_string()).unwrap();
            peak_allocated(&setup(&plan))
        };
        if let (Ok(less), Ok(more)) = (bytes(value), bytes(value + more)) {
            prop_assert!(less <= more, "{} {}: {} and {}", setting, value, less, more);
        }
    }

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
