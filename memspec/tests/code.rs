//! Plans made in code, without any text.

use memspec::plan::{Adapter, AdapterKind, Budget, Choice, EngineName, Plan, Targets, Train, nearest};
use memspec::quantity::Bytes;

#[test]
fn a_plan_is_made_and_changed_in_code() {
    let mut plan = Plan {
        name: "tiny".into(),
        model: Some("models/tiny".into()),
        engine: Some(EngineName::Memspec.into()),
        adapter: Some(Adapter {
            kind: AdapterKind::Lora,
            rank: Some(8.into()),
            targets: Some(Targets::AllLinear.into()),
            ..Default::default()
        }),
        budget: Some(Budget { device_memory: Some(Bytes(1 << 30).into()), ..Default::default() }),
        ..Default::default()
    };
    plan.set("train.micro_batch", "2").unwrap();
    plan.set("train.checkpointing", "block").unwrap();
    plan.set("budget.device_memory", "<= 2GiB").unwrap();
    assert_eq!(plan.train.as_ref().map(|train: &Train| train.micro_batch.clone()), Some(Some(Choice::One(2))));
    assert_eq!(plan.budget.as_ref().unwrap().device_memory, Some(Bytes(2 << 30).into()));
    let refused = [
        ("train.micro_batch", "0"),
        ("train.micro_batch", "6h"),
        ("train.size", "1"),
        ("trian.x", "1"),
        ("engine", "trll"),
    ];
    let refused = refused.map(|(path, value)| plan.set(path, value).unwrap_err());
    insta::assert_snapshot!(refused.join("\n"), @r"
    `micro_batch` is at least 1, got 0
    `micro_batch` takes a whole number, got 6h
    `train` has no setting `size`
    a plan has no block `trian`
    `engine` takes `memspec`, `trl` or `unsloth`, got `trll`
    ");
    assert_eq!(Plan::setting("train.micro_batch").unwrap().default, Some("1"));
    assert_eq!(nearest("batch", ["micro_batch", "accumulate"]), Some("micro_batch"));
}
