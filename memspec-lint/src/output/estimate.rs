//! What a plan takes: as a table, and as what `estimate --json` prints.

use std::fmt::Write;

use memspec::cost::{Bound, CostError, Difference, Estimate, Inference, Range, Spending, Time, differences};
use memspec::plan::EngineName;
use memspec::quantity::{Bytes, Seconds};
use memspec::setup::{Lengths, Setup};
use memspec::solve::{Change, Price};
use schemars::JsonSchema;
use serde::Serialize;

use super::Style;
use crate::cards::Cards;

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
    /// What its trainer does otherwise than the one whose runs were measured; what of it is not costed makes the intervals wide.
    pub differences: Vec<Difference>,
    /// The values that were chosen where the plan has `fit` or `sweep`.
    pub chosen: Vec<SettingValue>,
    /// What each setting owns at the peak, the largest first; the bytes add up to `peak.allocated.bytes`.
    pub by_setting: Vec<SettingBytes>,
    /// Single changes that save memory: those that fit first, then the cheapest, then the largest saving.
    pub changes: Vec<WhatIf>,
    /// How long it trains, and what that costs; `null`: not known.
    pub time: Option<Time>,
    /// Why `time` is `null`.
    pub no_time: Option<String>,
    /// How long the samples are, where they were counted or the plan says so.
    pub data: Option<Samples>,
    /// Why the samples of a file that is here were not counted.
    pub no_data: Option<String>,
    /// Nothing says that the samples of a micro batch are equally long, so it is costed as one that is padded.
    pub assumes_padding: bool,
    /// What serving the result takes, where the plan has a `serve` block.
    pub serve: Option<Served>,
    /// Why `serve` is `null` although the plan asks for it.
    pub no_serve: Option<String>,
    /// Which cards it fits, where nothing says on which it runs; `limit_bytes` then is no card's.
    pub cards: Option<Cards>,
}

/// The samples of a plan's data.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Samples {
    /// How many there are.
    pub samples: u64,
    /// Tokens of all of them, cut at the context.
    pub tokens: u64,
    /// Tokens of one on average.
    pub mean: f64,
    /// Tokens of the longest; `null` where the plan gives a mean only.
    pub longest: Option<u64>,
    /// The share of them that is longer than the context, 0 to 1.
    pub truncated_share: f64,
    /// How many have which length, the short ones first.
    pub histogram: Vec<Bin>,
}

/// Samples of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Bin {
    /// The longest that falls into it, in tokens.
    pub to: u64,
    /// Samples in it.
    pub samples: u64,
}

impl From<&Lengths> for Samples {
    fn from(lengths: &Lengths) -> Self {
        Self {
            samples: lengths.samples,
            tokens: lengths.tokens,
            mean: lengths.mean(),
            longest: lengths.longest,
            truncated_share: lengths.truncated_share(),
            histogram: lengths.histogram.iter().map(|bin| Bin { to: bin.to, samples: bin.samples }).collect(),
        }
    }
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
    /// Bytes that it adds to the process's peak.
    pub takes_bytes: u64,
    /// How much longer a token takes: 0.08 is 8 % slower, less than 0 is faster; `null` where no time is known.
    pub slower: Option<f64>,
    /// The changed plan fits.
    pub fits: bool,
}

impl From<&Change> for WhatIf {
    fn from(change: &Change) -> Self {
        let settings = change.settings.iter();
        Self {
            title: change.title.clone(),
            settings: settings.map(|(setting, new)| SettingValue::new(setting, new)).collect(),
            price: change.price,
            saves_bytes: change.saves.0,
            takes_bytes: change.takes.0,
            slower: change.slower,
            fits: change.estimate.fits,
        }
    }
}

impl SettingValue {
    fn new(setting: &str, value: &str) -> Self {
        Self { setting: setting.to_owned(), value: value.to_owned() }
    }
}

/// What serving the result takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Served {
    /// What it takes.
    #[serde(flatten)]
    pub inference: Inference,
    /// It fits the device, upper end included.
    pub fits: bool,
}

impl PlanEstimate {
    /// An estimate with its chosen values and changes.
    pub fn new(estimate: &Estimate, chosen: &[(String, String)], changes: &[Change]) -> Self {
        Self {
            by_setting: by_setting(estimate)
                .into_iter()
                .map(|(setting, bytes, parts)| SettingBytes {
                    setting: setting.to_owned(),
                    bytes,
                    parts: parts.into_iter().map(str::to_owned).collect(),
                })
                .collect(),
            chosen: chosen.iter().map(|(setting, chosen)| SettingValue::new(setting, chosen)).collect(),
            changes: changes.iter().map(WhatIf::from).collect(),
            estimate: estimate.clone(),
            differences: Vec::new(),
            time: None,
            no_time: None,
            data: None,
            no_data: None,
            assumes_padding: false,
            serve: None,
            no_serve: None,
            cards: None,
        }
    }

    /// Whether it fits, and what is left or too much: "fits 14.5 GiB on t4, 6.3 GiB to spare".
    pub fn verdict(&self) -> String {
        let estimate = &self.estimate;
        let (limit, device) = (Bytes(estimate.limit_bytes), &estimate.device);
        if let Some(cards) = &self.cards {
            return cards.to_string();
        }
        if !estimate.fits {
            let over = Bytes(estimate.needs().0.saturating_sub(estimate.limit_bytes));
            return format!("does not fit {limit} on {device}, {over} too much");
        }
        match estimate.limit_bytes.checked_sub(estimate.needs().0) {
            Some(free) => format!("fits {limit} on {device}, {} to spare", Bytes(free)),
            // Under the limit the allocator gives its cache back and goes on.
            None => format!("fits {limit} on {device}, with nothing to spare"),
        }
    }

    /// With the cards that it fits, where nothing says on which it runs.
    pub fn on_cards(self, cards: Option<Cards>) -> Self {
        Self { cards, ..self }
    }

    /// With what serving takes on a device with so many bytes, where the plan asks for it.
    pub fn served(self, serve: Option<Result<Inference, CostError>>, usable: Bytes) -> Self {
        let (serve, no_serve) = match serve {
            Some(Ok(inference)) => (Some(Served { inference, fits: inference.fits(usable.0) }), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        Self { serve, no_serve, ..self }
    }

    /// With how long it trains, or why that is not known, with what is known of its samples, and how its trainer differs.
    pub fn timed(self, time: Result<Time, CostError>, setup: &Setup) -> Self {
        let (time, no_time) = match time {
            Ok(time) => (Some(time), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let data = &setup.data;
        let assumes_padding = setup.engine == EngineName::Trl && data.lengths.is_none() && setup.fills_samples();
        Self {
            assumes_padding,
            differences: differences(setup),
            time,
            no_time,
            data: data.lengths.as_ref().map(Samples::from),
            no_data: data.uncounted.clone(),
            ..self
        }
    }
}

/// Why the interval of an estimate is wide, where no run like it was measured.
pub fn not_measured(setup: &Setup, estimate: &Estimate) -> Option<String> {
    let trainer = setup.train.script;
    match estimate.measured {
        true => None,
        false if differences(setup).is_empty() => {
            Some(format!("no run on {} has been measured yet, so the interval is wide", estimate.device))
        }
        false => Some(format!("not measured: `{trainer}` is costed by its source, so the interval is wide")),
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
    let peak = &estimate.peak;
    let mut text = String::new();
    let verdict = plan.verdict();
    let verdict = if estimate.fits || plan.cards.is_some() { style.good(&verdict) } else { style.bad(&verdict) };
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
    let inputs = estimate.host.block_inputs_bytes;
    if inputs > 0 {
        let words = style.faint("pinned host memory for block inputs, train.activation_offload");
        let _ = writeln!(text, "  {:<10} {:>11}  {words}", "beside it", Bytes(inputs).to_string());
    }
    if plan.cards.is_some() {
        let words = "a card with bf16; name yours with --device, in the plan, or in memspec.toml";
        let _ = writeln!(text, "  {}", style.faint(words));
    } else if !estimate.measured && plan.differences.is_empty() {
        let _ = writeln!(
            text,
            "  {}",
            style.faint(&format!("no run on {} has been measured yet: the intervals are wide", estimate.device))
        );
    }

    differing(&mut text, plan, style);

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

    samples(&mut text, plan, style);
    time(&mut text, plan, style);
    serve(&mut text, plan, style);

    if !plan.changes.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("what a change would save"));
        text += &changes(&plan.changes, style);
    }
    text
}

/// What the trainer does otherwise.
fn differing(text: &mut String, plan: &PlanEstimate, style: Style) {
    if plan.differences.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{}",
        style.bold("not measured: this trainer is costed by its source, as TRL with these differences")
    );
    let wide = plan.differences.iter().map(|one| one.name.len()).max().unwrap_or(0);
    for Difference { name, what, costed, .. } in &plan.differences {
        let beside = if *costed { "" } else { " (in the interval only)" };
        let _ = writeln!(text, "  {name:<wide$}  {what}{}", style.faint(beside));
    }
}

/// Changes, a line each: what each saves or takes, whether the plan then fits, and its price.
pub fn changes(changes: &[WhatIf], style: Style) -> String {
    let wide = changes.iter().map(|change| change.title.len()).max().unwrap_or(0);
    let line = |change: &WhatIf| {
        let fits = if change.fits { style.good("fits") } else { style.bad("does not fit") };
        let memory = match change.takes_bytes {
            0 => Bytes(change.saves_bytes).to_string(),
            takes => format!("+{}", Bytes(takes)),
        };
        let price = match change.slower {
            Some(share) if share >= 0.005 => format!("{}, {:.0} % slower", change.price.words(), 100.0 * share),
            Some(share) if share <= -0.005 => format!("{}, {:.0} % faster", change.price.words(), -100.0 * share),
            _ => change.price.words().to_owned(),
        };
        // "slower" and by how much is said once
        let price = price.strip_prefix("slower, ").filter(|rest| rest.ends_with("slower")).unwrap_or(&price);
        format!("  {:<wide$}  {memory:>11}  {fits}  {}\n", change.title, style.faint(price))
    };
    changes.iter().map(line).collect()
}

/// What serving takes.
fn serve(text: &mut String, plan: &PlanEstimate, style: Style) {
    if let Some(why) = &plan.no_serve {
        let _ = writeln!(text, "\n{}\n  {}", style.bold("serving"), style.faint(&format!("not costed: {why}")));
    }
    let Some(Served { inference, fits }) = plan.serve else { return };
    let _ = writeln!(text, "\n{}", style.bold("serving"));
    let parts = [
        ("weights", inference.weights),
        ("cache", inference.cache),
        ("workspace", inference.workspace),
        ("context", inference.context),
        ("total", inference.total),
    ];
    for (name, interval) in parts {
        let range = match interval.low == interval.high {
            true => String::new(),
            false => format!("{} to {}", Bytes(interval.low), Bytes(interval.high)),
        };
        let _ = write!(text, "  {name:<10} {:>11}  {}", Bytes(interval.bytes).to_string(), style.faint(&range));
        let verdict = if fits { style.good("fits") } else { style.bad("does not fit") };
        let _ = writeln!(text, "{}", if name == "total" { format!("  {verdict}") } else { String::new() });
    }
}

/// What is known of the samples.
fn samples(text: &mut String, plan: &PlanEstimate, style: Style) {
    if plan.data.is_some() || plan.no_data.is_some() || plan.assumes_padding {
        let _ = writeln!(text, "\n{}", style.bold("samples"));
    }
    if let Some(why) = &plan.no_data {
        let _ = writeln!(text, "  not counted: {why}");
    }
    if plan.assumes_padding {
        let _ =
            writeln!(text, "  their lengths are not known: a micro batch is taken to be padded, and to have a mask");
    }
    let Some(data) = &plan.data else { return };
    let _ = writeln!(text, "  {} samples of {:.0} tokens on average, {} in all", data.samples, data.mean, data.tokens);
    let Some(longest) = data.longest else { return };
    let cut = match data.truncated_share {
        0.0 => "none is cut".to_owned(),
        share => format!("{:.1} % are longer than the context and cut", 100.0 * share),
    };
    let _ = writeln!(text, "  the longest has {longest}; {cut}");
    let most = data.histogram.iter().map(|bin| bin.samples).max().unwrap_or(1).max(1);
    for (to, samples) in coarse(&data.histogram) {
        let bar = "#".repeat(((20 * samples).div_ceil(most.max(samples))) as usize);
        let _ = writeln!(text, "  up to {to:>7} tokens {samples:>9}  {}", style.faint(&bar));
    }
}

/// At most eight bins, as many as a reader takes in.
fn coarse(histogram: &[Bin]) -> Vec<(u64, u64)> {
    let each = histogram.len().div_ceil(8).max(1);
    let bin = |bins: &[Bin]| Some((bins.last()?.to, bins.iter().map(|bin| bin.samples).sum()));
    histogram.chunks(each).filter_map(bin).collect()
}

/// How long it trains and what that costs.
fn time(text: &mut String, plan: &PlanEstimate, style: Style) {
    let Some(time) = &plan.time else {
        if let Some(why) = &plan.no_time {
            let _ = writeln!(text, "\n{}\n  {}", style.bold("time"), style.faint(&format!("not known: {why}")));
        }
        return;
    };
    let _ = writeln!(text, "\n{}", style.bold("time"));
    let mut line = |name: &str, value: String, range: String, rest: &str| {
        let _ = writeln!(text, "  {name:<10} {value:>11}  {}{rest}", style.faint(&range));
    };
    let between = |range: Range, each: fn(f64) -> String| format!("{} to {}", each(range.low), each(range.high));
    let seconds = |seconds: f64| if seconds < 10.0 { format!("{seconds:.3} s") } else { Seconds(seconds).to_string() };
    let waits = match time.bound {
        Bound::Compute => "waits for matrix products",
        Bound::Bandwidth => "waits for memory",
        Bound::Host => "waits for the host",
        Bound::Network => "waits for other devices",
    };
    line("step", seconds(time.step_seconds.value), between(time.step_seconds, seconds), &format!(", {waits}"));
    let tokens = |tokens: f64| format!("{tokens:.0}");
    line("tokens/s", tokens(time.tokens_per_second.value), between(time.tokens_per_second, tokens), "");
    match (time.total_seconds, time.steps) {
        (Some(total), Some(steps)) => {
            line("run", seconds(total.value), between(total, seconds), &format!(", {steps} steps"));
        }
        _ => line(
            "run",
            "not known".to_owned(),
            "`train.steps`, or `data.samples` and `data.mean_length`, say how long".to_owned(),
            "",
        ),
    }
    if let Some(cost) = &time.cost {
        line("cost", dollars(cost.usd.value), between(cost.usd, dollars), &format!(", {}", at(cost)));
    }
    if !time.measured {
        let _ = writeln!(text, "  {}", style.faint("no run like this was timed yet: the intervals are wide"));
    }
}

fn dollars(usd: f64) -> String {
    format!("{usd:.2}usd")
}

fn at(cost: &Spending) -> String {
    let date = cost.source.split(',').next().unwrap_or_default();
    match &cost.machine {
        Some(machine) => format!("{machine} at {}/h ({date})", dollars(cost.usd_per_hour)),
        None => format!("at {}/h", dollars(cost.usd_per_hour)),
    }
}

/// The JSON schema of [`Estimates`], as `schemas/estimate.schema.json` has it.
pub fn schema() -> String {
    schema_of::<Estimates>()
}

pub(crate) fn schema_of<T: JsonSchema>() -> String {
    let schema = schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
