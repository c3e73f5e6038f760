//! Settings that follow from one that is open, and whose memory only grows with them: `accumulate = 16 / micro_batch`.

use super::choices::Open;
use crate::plan::{Follows, Plan};
use crate::quantity::Quantity;

/// Settings whose value no tensor depends on.
const WEIGHTLESS: &[&str] = &["adapter.alpha", "train.learning_rate"];

/// A setting that follows from one open setting and nothing else that is open, and takes no less when it grows.
#[derive(Debug)]
pub(super) struct Follower {
    /// Its dotted path.
    setting: String,
    /// The place of the open setting among those that are.
    pub(super) on: usize,
    /// Its value for each of that one's; none where it would be no value of it.
    values: Vec<Option<String>>,
    /// Where the least of them is.
    pub(super) least: usize,
}

impl Follower {
    /// Sets it in a plan to what follows from that value of the open setting; what it cannot be is left to follow.
    pub(super) fn follow(&self, plan: &mut Plan, value: usize) {
        if let Some(value) = &self.values[value] {
            // it was in a plan already, so that it is a value of the setting
            let _ = plan.set(&self.setting, value);
        }
    }
}

/// The followers, and what else follows from other settings. `growing`: the settings whose tensors never shrink when they grow.
pub(super) fn followers(plan: &Plan, open: &[Open], growing: &[&str]) -> (Vec<Follower>, Vec<Follows>) {
    let follows = plan.follows();
    let mut others = Vec::new();
    let mut found = Vec::new();
    for one in &follows {
        let setting = one.setting.as_str();
        let names = one.from.names();
        let chained = follows.iter().any(|other| names.contains(&other.setting.as_str()))
            || follows.iter().any(|other| other.from.names().contains(&setting));
        let known = growing.contains(&setting) || WEIGHTLESS.contains(&setting);
        let on: Vec<usize> = (0..open.len()).filter(|&n| names.contains(&open[n].setting.as_str())).collect();
        let follower = match on.as_slice() {
            &[on] if known && !chained => follower(plan, &open[on], setting, on),
            _ => None,
        };
        match follower {
            Some(follower) => found.push(follower),
            None => others.push(one.clone()),
        }
    }
    (found, others)
}

fn follower(plan: &Plan, open: &Open, setting: &str, on: usize) -> Option<Follower> {
    let value = |number: usize| {
        let mut plan = plan.clone();
        plan.choose(&open.setting, number);
        // another setting that cannot follow is another one's mistake
        let _ = plan.settle();
        written(&plan, setting)
    };
    let values: Vec<Option<String>> = (0..open.values.len()).map(value).collect();
    let number = |value: &Option<String>| Some(value.as_ref()?.parse::<Quantity>().ok()?.value);
    let least = values.iter().enumerate().filter_map(|(n, value)| Some((n, number(value)?)));
    let least = least.min_by(|a, b| a.1.total_cmp(&b.1))?.0;
    Some(Follower { setting: setting.to_owned(), on, values, least })
}

/// The value of a setting, where it has one.
fn written(plan: &Plan, setting: &str) -> Option<String> {
    let plan = serde_json::to_value(plan).ok()?;
    match setting.split('.').try_fold(&plan, |value, name| value.get(name))? {
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}
