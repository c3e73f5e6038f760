//! The page of `estimate --html`: one file with all that is in it, for any browser, without the network.

mod owner;
mod picture;

use memspec::cost::{Bound, CostError, Estimate, Interval, Range, Timeline, timeline};
use memspec::device::DeviceKind;
use memspec::quantity::{Bytes, Seconds};
use memspec::setup::Setup;
use minijinja::{Environment, context};
use serde::Serialize;

use super::estimate::{PlanEstimate, WhatIf};
use owner::Owner;
use picture::{COLUMNS, Picture, draw};

/// A plan of the page.
#[derive(Debug)]
pub struct Section<'a> {
    /// What it takes.
    pub plan: &'a PlanEstimate,
    /// What would run.
    pub setup: &'a Setup,
    /// Every single change, each estimated.
    pub changes: Vec<WhatIf>,
}

/// The page of a file's plans.
///
/// # Errors
/// A plan whose run cannot be replayed, or a template that cannot be filled.
pub fn page(file: &str, text: &str, sections: &[Section<'_>]) -> Result<String, PageError> {
    let plans = sections.iter().map(View::of).collect::<Result<Vec<_>, _>>()?;
    let mut environment = Environment::new();
    // By the ending of its name, everything that is put into the page is escaped, and nothing in the style sheet.
    environment.add_template("page.html", include_str!("page.html"))?;
    environment.add_template("plan.html", include_str!("plan.html"))?;
    environment.add_template("style.css", include_str!("style.css"))?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(environment.get_template("page.html")?.render(context! { file, text, plans, version })?)
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The engine does not run it.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The template.
    #[error(transparent)]
    Template(#[from] minijinja::Error),
}

/// A plan as the template has it: words and figures, nothing to compute.
#[derive(Debug, Serialize)]
struct View {
    name: String,
    fits: bool,
    verdict: String,
    /// Nothing says which card: there is no limit.
    open: bool,
    facts: Vec<Fact>,
    figures: Vec<Figure>,
    notes: Vec<String>,
    bar: Bar,
    picture: Option<Picture>,
    phase: String,
    parts: Vec<PartRow>,
    allocated: String,
    settings: Vec<SettingRow>,
    changes: Vec<ChangeRow>,
    serving: Vec<Fact>,
}

/// A name and its value.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

/// A figure with what is expected around it.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    value: String,
    beside: String,
}

/// The interval of the process's peak on the way to the limit, in per cent of the bar.
#[derive(Debug, Serialize)]
struct Bar {
    low: f64,
    value: f64,
    high: f64,
    limit: Option<f64>,
    words: String,
}

#[derive(Debug, Serialize)]
struct PartRow {
    what: &'static str,
    setting: &'static str,
    class: &'static str,
    bytes: String,
    share: f64,
}

#[derive(Debug, Serialize)]
struct SettingRow {
    setting: String,
    parts: String,
    bytes: String,
    share: f64,
}

#[derive(Debug, Serialize)]
struct ChangeRow {
    title: String,
    price: &'static str,
    memory: String,
    speed: String,
    less: bool,
    fits: bool,
}

impl View {
    fn of(section: &Section<'_>) -> Result<Self, CostError> {
        let (plan, setup) = (section.plan, section.setup);
        let estimate = &plan.estimate;
        let open = plan.cards.is_some();
        let seen: Option<Timeline> = timeline(setup, COLUMNS)?;
        let all = estimate.peak.allocated.bytes.max(1) as f64;
        let share = |bytes: u64| (1000.0 * bytes as f64 / all).round() / 10.0;
        let parts = estimate.at_peak.iter().map(|part| PartRow {
            what: part.what,
            setting: part.setting,
            class: Owner::of(part.what, part.setting).class(),
            bytes: Bytes(part.bytes).to_string(),
            share: share(part.bytes),
        });
        let settings = plan.by_setting.iter().map(|one| SettingRow {
            setting: one.setting.clone(),
            parts: one.parts.join(", "),
            bytes: Bytes(one.bytes).to_string(),
            share: share(one.bytes),
        });
        Ok(Self {
            name: estimate.name.clone(),
            fits: estimate.fits,
            verdict: plan.verdict(),
            open,
            facts: facts(plan, setup),
            figures: figures(plan),
            notes: notes(plan, setup),
            bar: bar(estimate, open),
            picture: seen.map(|seen| draw(&seen, estimate, !open)),
            phase: estimate.peak.phase.to_string(),
            parts: parts.collect(),
            allocated: Bytes(estimate.peak.allocated.bytes).to_string(),
            settings: settings.collect(),
            changes: section.changes.iter().map(ChangeRow::of).collect(),
            serving: serving(plan),
        })
    }
}

/// What is estimated: the settings that decide most.
fn facts(plan: &PlanEstimate, setup: &Setup) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name, value: String| facts.push(Fact { name, value });
    fact("model", setup.model_name.clone());
    match setup.device.kind {
        _ if plan.cards.is_some() => fact("device", "none named".to_owned()),
        DeviceKind::Cpu => fact("device", setup.device.title.clone()),
        _ => fact("device", format!("{} ({})", setup.device.title, setup.device.name)),
    }
    if let Some(parallel) = setup.parallel.filter(|parallel| parallel.world() > 1) {
        fact("parallel", format!("{} on {} devices", parallel.kind, parallel.world()));
    }
    if setup.trains {
        fact("engine", setup.engine.to_string());
        fact(
            "weights",
            match &setup.quantize {
                Some(quantize) if quantize.double => format!("{}, double", quantize.kind),
                Some(quantize) => quantize.kind.to_string(),
                None => "not quantized".to_owned(),
            },
        );
        fact(
            "trained",
            match &setup.adapter {
                Some(adapter) => format!("{} of rank {}", adapter.kind, adapter.rank),
                None => "all weights".to_owned(),
            },
        );
        let train = &setup.train;
        let samples = counted(train.micro_batch, "sample", "samples");
        fact("micro batch", format!("{samples} of {} tokens", setup.longest_sample()));
        let batches = counted(train.accumulate, "micro batch", "micro batches");
        fact("a step", format!("{batches}, {} tokens", setup.tokens_per_step()));
        let recomputed = setup.recomputed_blocks();
        fact("checkpointing", format!("{recomputed} of {} blocks", setup.model.layers));
        fact("precision", train.precision.name().to_owned());
        fact("optimizer", train.optimizer.name().to_owned());
    }
    for one in &plan.chosen {
        fact("chosen", format!("{} = {}", one.setting, one.value));
    }
    facts
}

fn counted(number: u32, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn figures(plan: &PlanEstimate) -> Vec<Figure> {
    let peak = &plan.estimate.peak;
    let memory = |name, interval: Interval| Figure {
        name,
        value: Bytes(interval.bytes).to_string(),
        beside: format!("{} to {}", Bytes(interval.low), Bytes(interval.high)),
    };
    let mut figures =
        vec![memory("process", peak.process), memory("reserved", peak.reserved), memory("allocated", peak.allocated)];
    let Some(time) = &plan.time else { return figures };
    let seconds = |seconds: f64| match seconds {
        short if short < 0.1 => format!("{:.1} ms", 1000.0 * short),
        short if short < 10.0 => format!("{short:.2} s"),
        long => Seconds(long).to_string(),
    };
    let mut range = |name, range: Range, each: &dyn Fn(f64) -> String| {
        figures.push(Figure {
            name,
            value: each(range.value),
            beside: format!("{} to {}", each(range.low), each(range.high)),
        });
    };
    range("tokens a second", time.tokens_per_second, &|tokens| format!("{tokens:.0}"));
    range("a step", time.step_seconds, &seconds);
    if let Some(total) = time.total_seconds {
        range("the run", total, &seconds);
    }
    if let Some(cost) = &time.cost {
        range("cost", cost.usd, &|usd| format!("{usd:.2} USD"));
    }
    figures
}

/// What a reader has to know beside the figures.
fn notes(plan: &PlanEstimate, setup: &Setup) -> Vec<String> {
    let mut notes = Vec::new();
    if plan.cards.is_some() {
        notes.push("Nothing says on which card it runs: the figures are those of any card with bf16.".to_owned());
    } else {
        notes.extend(super::estimate::not_measured(setup, &plan.estimate).map(|words| capital(&words) + "."));
    }
    for one in &plan.differences {
        let beside = if one.costed { "" } else { " (in the interval only)" };
        notes.push(format!("{}: {}{beside}.", one.name, one.what));
    }
    if let Some(oom) = plan.estimate.oom {
        notes.push(format!(
            "Under the limit it dies in the {} phase: {} of {} cannot be placed, with {} allocated and {} reserved.",
            oom.phase,
            "a tensor",
            Bytes(oom.tried_bytes),
            Bytes(oom.allocated_bytes),
            Bytes(oom.reserved_bytes),
        ));
    }
    if plan.assumes_padding {
        notes.push("The lengths of the samples are not known: a micro batch is taken to be padded.".to_owned());
    }
    if let Some(data) = &plan.data {
        let longest = data.longest.map(|longest| format!(", the longest {longest}")).unwrap_or_default();
        let cut = match data.truncated_share {
            0.0 => String::new(),
            share => format!(", {:.1} % are cut", 100.0 * share),
        };
        notes.push(format!("{} samples of {:.0} tokens on average{longest}{cut}.", data.samples, data.mean));
    }
    notes.extend(plan.no_data.as_ref().map(|why| format!("Samples not counted: {why}.")));
    match &plan.time {
        Some(time) => {
            let waits = match time.bound {
                Bound::Compute => "matrix products",
                Bound::Bandwidth => "memory",
                Bound::Host => "the host",
                Bound::Network => "other devices",
            };
            let measured =
                if time.measured { "" } else { "; no run like this was timed yet, so its intervals are wide" };
            notes.push(format!("A step waits most for {waits}{measured}."));
        }
        None => notes.extend(plan.no_time.as_ref().map(|why| format!("Time not known: {why}."))),
    }
    notes
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn bar(estimate: &Estimate, open: bool) -> Bar {
    let process = estimate.peak.process;
    let limit = (!open).then_some(estimate.limit_bytes);
    let end = process.high.max(limit.unwrap_or(0)).max(1) as f64 * 1.05;
    let at = |bytes: u64| (10_000.0 * bytes as f64 / end).round() / 100.0;
    let of = limit.map(|limit| format!(" of {}", Bytes(limit))).unwrap_or_default();
    Bar {
        low: at(process.low),
        value: at(process.bytes),
        high: at(process.high),
        limit: limit.map(at),
        words: format!("{} to {}{of}", Bytes(process.low), Bytes(process.high)),
    }
}

fn serving(plan: &PlanEstimate) -> Vec<Fact> {
    if let Some(why) = &plan.no_serve {
        return vec![Fact { name: "not costed", value: why.clone() }];
    }
    let Some(served) = &plan.serve else { return Vec::new() };
    let inference = &served.inference;
    let parts = [
        ("weights", inference.weights),
        ("cache of conversations", inference.cache),
        ("workspace", inference.workspace),
        ("context", inference.context),
        ("total", inference.total),
    ];
    let fact = |(name, interval): (&'static str, Interval)| Fact { name, value: Bytes(interval.bytes).to_string() };
    let fits = if served.fits { "yes" } else { "no" };
    parts.map(fact).into_iter().chain([Fact { name: "fits", value: fits.to_owned() }]).collect()
}

impl ChangeRow {
    fn of(change: &WhatIf) -> Self {
        let memory = match (change.saves_bytes, change.takes_bytes) {
            (0, 0) => "±0".to_owned(),
            (0, takes) => format!("+{}", Bytes(takes)),
            (saves, _) => format!("−{}", Bytes(saves)),
        };
        let speed = match change.slower {
            Some(share) if share >= 0.005 => format!("{:.0} % slower", 100.0 * share),
            Some(share) if share <= -0.005 => format!("{:.0} % faster", -100.0 * share),
            Some(_) => "same".to_owned(),
            None => "not known".to_owned(),
        };
        Self {
            title: change.title.replace(" -> ", " → "),
            price: change.price.words(),
            memory,
            speed,
            less: change.saves_bytes > 0,
            fits: change.fits,
        }
    }
}
