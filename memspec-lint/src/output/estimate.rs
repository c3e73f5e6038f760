//! What a plan takes: as a table, and as what `estimate --json` prints.

use std::fmt::Write;

use memspec::cost::Estimate;
use memspec::quantity::Bytes;
use memspec::solve::{Change, Price};
use schemars::JsonSchema;
use serde::Serialize;

use super::Style;

/// The estimates of a file's plans.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "memspec-lint estimate")]
pub struct Estimates {
    /// One for each plan, and of a plan with `sweep` one for each run.
    pub plans: Vec<PlanEstimate>,
}

/// What a plan takes, and what would change it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlanEstimate {
    /// What it takes.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The values that were chosen where the plan has `fit` or `sweep`.
    pub chosen: Vec<SettingValue>,
    /// What each setting owns at the peak, the largest first; the bytes add up to `peak.allocated.bytes`.
    pub by_setting: Vec<SettingBytes>,
    /// Single changes that save memory: those that fit first, then the cheapest, then the largest saving.
    pub changes: Vec<WhatIf>,
}

/// A setting and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingValue {
    /// The setting's dotted path.
    pub setting: String,
    /// Its value as a plan writes it.
    pub value: String,
}

/// A setting and what it owns at the peak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingBytes {
    /// The setting's dotted path.
    pub setting: String,
    /// Bytes of the tensors whose size it decides.
    pub bytes: u64,
    /// What they are.
    pub parts: Vec<String>,
}

/// A change, and what it would save.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WhatIf {
    /// For a reader: `micro_batch 4 -> 2`.
    pub title: String,
    /// The settings with their new values.
    pub settings: Vec<SettingValue>,
    /// What it costs the user.
    pub price: Price,
    /// Bytes that it takes off the process's peak.
    pub saves_bytes: u64,
    /// The changed plan fits.
    pub fits: bool,
}

impl PlanEstimate {
    /// An estimate with its chosen values and changes.
    pub fn new(estimate: &Estimate, chosen: &[(String, String)], changes: &[Change]) -> Self {
        let value = |setting: &str, value: &str| SettingValue { setting: setting.to_owned(), value: value.to_owned() };
        Self {
            by_setting: by_setting(estimate)
                .into_iter()
                .map(|(setting, bytes, parts)| SettingBytes {
                    setting: setting.to_owned(),
                    bytes,
                    parts: parts.into_iter().map(str::to_owned).collect(),
                })
                .collect(),
            chosen: chosen.iter().map(|(setting, chosen)| value(setting, chosen)).collect(),
            changes: changes
                .iter()
                .map(|change| WhatIf {
                    title: change.title.clone(),
                    settings: change.settings.iter().map(|(setting, new)| value(setting, new)).collect(),
                    price: change.price,
                    saves_bytes: change.saves.0,
                    fits: change.estimate.fits,
                })
                .collect(),
            estimate: estimate.clone(),
        }
    }
}

/// What each setting owns at the peak, with the names of the parts, the largest first.
pub fn by_setting(estimate: &Estimate) -> Vec<(&'static str, u64, Vec<&'static str>)> {
    let mut settings: Vec<(&'static str, u64, Vec<&'static str>)> = Vec::new();
    for part in &estimate.at_peak {
        match settings.iter_mut().find(|(setting, ..)| *setting == part.setting) {
            Some((_, bytes, parts)) => {
                *bytes += part.bytes;
                parts.push(part.what);
            }
            None => settings.push((part.setting, part.bytes, vec![part.what])),
        }
    }
    settings.sort_by_key(|(setting, bytes, _)| (std::cmp::Reverse(*bytes), *setting));
    settings
}

/// The table of a plan.
pub fn table(plan: &PlanEstimate, style: Style) -> String {
    let estimate = &plan.estimate;
    let (peak, limit) = (&estimate.peak, Bytes(estimate.limit_bytes));
    let mut text = String::new();
    let verdict = if estimate.fits {
        let free = Bytes(estimate.limit_bytes.saturating_sub(estimate.needs().0));
        style.good(&format!("fits {limit} on {}, {free} to spare", estimate.device))
    } else {
        let over = Bytes(estimate.needs().0.saturating_sub(estimate.limit_bytes));
        style.bad(&format!("does not fit {limit} on {}, {over} too much", estimate.device))
    };
    let _ = writeln!(text, "{}: {verdict}", style.bold(&format!("plan `{}`", estimate.name)));
    if !plan.chosen.is_empty() {
        let chosen: Vec<_> = plan.chosen.iter().map(|one| format!("{} = {}", one.setting, one.value)).collect();
        let _ = writeln!(text, "chosen: {}", chosen.join(", "));
    }
    let _ = writeln!(text, "\n{}", style.bold(&format!("peak, in the {} phase", peak.phase)));
    for (name, interval) in [("allocated", peak.allocated), ("reserved", peak.reserved), ("process", peak.process)] {
        let range = format!("{} to {}", Bytes(interval.low), Bytes(interval.high));
        let _ = writeln!(text, "  {name:<10} {:>11}  {}", Bytes(interval.bytes).to_string(), style.faint(&range));
    }
    if !estimate.measured {
        let _ = writeln!(
            text,
            "  {}",
            style.faint(&format!("no run on {} has been measured yet: the intervals are wide", estimate.device))
        );
    }

    let _ = writeln!(text, "\n{}", style.bold("phases, allocated"));
    for phase in &estimate.phases {
        let mark = if phase.name == peak.phase { "  <- peak" } else { "" };
        let _ =
            writeln!(text, "  {:<10} {:>11}{mark}", phase.name.to_string(), Bytes(phase.allocated_bytes).to_string());
    }

    let all = peak.allocated.bytes.max(1) as f64;
    let percent = |bytes: u64| format!("{:>5.1} %", 100.0 * bytes as f64 / all);
    let _ = writeln!(text, "\n{}", style.bold("alive at the peak"));
    let wide = estimate.at_peak.iter().map(|part| part.what.len()).max().unwrap_or(0);
    for part in &estimate.at_peak {
        let _ = writeln!(
            text,
            "  {:<wide$}  {:>11}  {}  {}",
            part.what,
            Bytes(part.bytes).to_string(),
            percent(part.bytes),
            style.faint(part.setting)
        );
    }

    let _ = writeln!(text, "\n{}", style.bold("what each setting costs at the peak"));
    let wide = plan.by_setting.iter().map(|one| one.setting.len()).max().unwrap_or(0);
    for one in &plan.by_setting {
        let parts = style.faint(&one.parts.join(", "));
        let _ = writeln!(
            text,
            "  {:<wide$}  {:>11}  {}  {parts}",
            one.setting,
            Bytes(one.bytes).to_string(),
            percent(one.bytes)
        );
    }

    if !plan.changes.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("what a change would save"));
        let wide = plan.changes.iter().map(|change| change.title.len()).max().unwrap_or(0);
        for change in &plan.changes {
            let fits = if change.fits { style.good("fits") } else { style.bad("does not fit") };
            let saves = Bytes(change.saves_bytes).to_string();
            let _ =
                writeln!(text, "  {:<wide$}  {saves:>11}  {fits}  {}", change.title, style.faint(change.price.words()));
        }
    }
    text
}

/// The JSON schema of [`Estimates`], as `schemas/estimate.schema.json` has it.
pub fn schema() -> String {
    schema_of::<Estimates>()
}

pub(crate) fn schema_of<T: JsonSchema>() -> String {
    let schema = schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
