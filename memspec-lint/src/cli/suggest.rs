//! `memspec-lint suggest`.

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use memspec::device::{self, affordable};
use memspec::lang;
use memspec::model::Environment;
use memspec::plan::EngineName;
use memspec::quantity::{Bytes, Money, Tokens};
use memspec::solve::{Bits, Method, Place, Suggested, Suggestion, Wish, suggest};
use serde::Serialize;

use super::{Failure, Outcome, print, print_json};
use crate::output::Style;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint suggest --model meta-llama/Meta-Llama-3-8B --device t4
  memspec-lint suggest --model qwen2.5-7b-instruct --device rtx4090 --context 4096 --method lora --engine trl
  memspec-lint suggest --model meta-llama/Meta-Llama-3-8B --spend 100usd/month --hours 40
  memspec-lint suggest --model meta-llama/Meta-Llama-3-8B --device t4 --plan > train.mem

The plans that fit, the best first: by method, bits of the base weights, rank and context, each the more the better, then by speed.
No quality is measured; the order is how much learns, in how many bits. Each is the fastest way to train so, 16 samples to a step.

Exit codes: 0 found, 1 nothing fits, 2 could not run";

/// Plans that are printed whole where all of them are not asked for.
const SHOWN: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The model, as a plan names it
    #[arg(long)]
    model: String,
    /// The device or rented machine, as a plan names it
    #[arg(long, required_unless_present = "spend")]
    device: Option<String>,
    /// Tokens of a sample; else 2048, or fewer where those do not fit
    #[arg(long, value_parser = tokens)]
    context: Option<u64>,
    /// How it is trained; else any way
    #[arg(long, value_enum)]
    method: Option<How>,
    /// Whose engine runs it; else any
    #[arg(long)]
    engine: Option<EngineName>,
    /// What may be spent on machines: 100usd/month
    #[arg(long, value_parser = monthly, conflicts_with = "device")]
    spend: Option<Money>,
    /// With --spend, the hours that it must pay for in a month
    #[arg(long, default_value_t = 20.0, requires = "spend")]
    hours: f64,
    /// Every rank and context that fits, and not the best of each method alone
    #[arg(long)]
    all: bool,
    /// The best plan alone, as a file
    #[arg(long, conflicts_with = "json")]
    plan: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum How {
    /// All weights
    Full,
    /// LoRA
    Lora,
}

fn tokens(text: &str) -> Result<u64, String> {
    match text.parse::<Tokens>() {
        Ok(Tokens(0)) => Err("a sample has at least one token".to_owned()),
        Ok(Tokens(tokens)) => Ok(tokens),
        Err(error) => Err(error.to_string()),
    }
}

fn monthly(text: &str) -> Result<Money, String> {
    let amount =
        text.strip_suffix("/month").ok_or_else(|| format!("`{text}` is not a monthly sum; write 100usd/month"))?;
    amount.parse().map_err(|error: memspec::quantity::QuantityError| error.to_string())
}

/// What is suggested.
#[derive(Serialize)]
struct Suggestions {
    suggestions: Vec<Plan>,
    refused: Vec<Refused>,
}

/// A plan that fits.
#[derive(Serialize)]
struct Plan {
    #[serde(flatten)]
    place: Place,
    method: Method,
    bits: Bits,
    rank: Option<u32>,
    context: u64,
    engine: String,
    process: memspec::cost::Interval,
    limit_bytes: u64,
    measured: bool,
    tokens_per_second: Option<memspec::cost::Range>,
    usd_per_hour: Option<f64>,
    plan: String,
}

/// An engine that does not run it.
#[derive(Serialize)]
struct Refused {
    engine: String,
    why: String,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let wish = Wish {
        model: arguments.model.clone(),
        places: places(arguments)?,
        context: arguments.context,
        method: arguments.method.map(|how| match how {
            How::Full => Method::Full,
            How::Lora => Method::Lora,
        }),
        engines: arguments.engine.map_or_else(|| EngineName::ALL.to_vec(), |engine| vec![engine]),
    };
    let found = suggest(&wish, arguments.all, Path::new(""), &Environment::from_process()).map_err(|unresolved| {
        let lines = unresolved.iter().map(|problem| {
            let help = problem.nearest.as_ref().map(|name| format!("did you mean `{name}`?")).or(problem.help.clone());
            Failure::new(&problem.message, help.as_deref().unwrap_or("check its name")).0
        });
        Failure(lines.collect())
    })?;
    let nothing = found.plans.is_empty();
    if arguments.json {
        print_json(&as_json(&found))?;
    } else if arguments.plan && !nothing {
        print(&found.plans.iter().take(1).map(|one| lang::write(&one.plan)).collect::<String>())?;
    } else {
        print(&as_text(&found, arguments, style))?;
    }
    Ok(if nothing { Outcome::Findings } else { Outcome::Clean })
}

/// The device that was named, or the machines that the money pays for, each device once.
fn places(arguments: &Arguments) -> Result<Vec<Place>, Failure> {
    let Some(spend) = arguments.spend else {
        let device = arguments.device.clone().unwrap_or_else(|| "auto".to_owned());
        return Ok(vec![Place { device, hours_a_month: None }]);
    };
    let mut places: Vec<(String, Place)> = Vec::new();
    for (machine, hours) in affordable(spend, arguments.hours) {
        if machine.gpus == 1 && places.iter().all(|(device, _)| *device != machine.device) {
            places.push((machine.device.clone(), Place { device: machine.name.clone(), hours_a_month: Some(hours) }));
        }
    }
    if places.is_empty() {
        let what = format!("{spend} a month do not pay for {} hours of any machine of the catalog", arguments.hours);
        return Err(Failure::new(what, "spend more, or ask for fewer --hours"));
    }
    Ok(places.into_iter().map(|(_, place)| place).collect())
}

fn as_json(found: &Suggested) -> Suggestions {
    let one = |one: &Suggestion| Plan {
        place: one.place.clone(),
        method: one.method,
        bits: one.bits,
        rank: one.rank,
        context: one.context,
        engine: engine(one),
        process: one.estimate.peak.process,
        limit_bytes: one.estimate.limit_bytes,
        measured: one.estimate.measured,
        tokens_per_second: one.time.as_ref().map(|time| time.tokens_per_second),
        usd_per_hour: hourly(&one.place),
        plan: lang::write(&one.plan),
    };
    let refused = |(engine, why): &(EngineName, String)| Refused { engine: engine.to_string(), why: why.clone() };
    Suggestions {
        suggestions: found.plans.iter().map(one).collect(),
        refused: found.refused.iter().map(refused).collect(),
    }
}

fn hourly(place: &Place) -> Option<f64> {
    Some(device::find(&place.device).ok()?.rented(1)?.for_world(1))
}

fn engine(one: &Suggestion) -> String {
    one.plan.engine.as_ref().and_then(|engine| engine.one()).map(ToString::to_string).unwrap_or_default()
}

fn method(one: &Suggestion) -> &'static str {
    match (one.method, one.bits) {
        (Method::Full, _) => "full fine-tuning",
        (Method::Lora, Bits::Sixteen) => "LoRA on 16 bits",
        (Method::Lora, Bits::Eight) => "LoRA on 8 bits",
        (Method::Lora, Bits::Four) => "LoRA on 4 bits",
    }
}

/// Why nothing is suggested: what came nearest, or that no engine costs it.
fn nothing(found: &Suggested, arguments: &Arguments) -> String {
    let Some(nearest) = &found.nearest else {
        return format!("no engine costs training `{}` as asked", arguments.model);
    };
    let rank = nearest.rank.map(|rank| format!(" of rank {rank}")).unwrap_or_default();
    format!(
        "nothing fits with room to spare: even {}{rank} with {} tokens takes up to {} of the {} that {} has (engine {})",
        method(nearest),
        nearest.context,
        nearest.estimate.needs(),
        Bytes(nearest.estimate.limit_bytes),
        nearest.place.device,
        engine(nearest),
    )
}

fn as_text(found: &Suggested, arguments: &Arguments, style: Style) -> String {
    let mut text = String::new();
    if found.plans.is_empty() {
        let _ = writeln!(text, "{}", style.bad(&nothing(found, arguments)));
    }
    for one in &found.plans {
        let method = method(one);
        let rank = one.rank.map(|rank| format!(", rank {rank}")).unwrap_or_default();
        let speed = one.time.as_ref().map_or_else(
            || "speed not known".to_owned(),
            |time| format!("{:.0} tokens/s", time.tokens_per_second.value),
        );
        let paid = one.place.hours_a_month.map(|hours| format!(", {hours:.0} h a month")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}  {} of {} on {}{paid}, {speed}, engine {}",
            style.bold(&format!("{:<17}{rank}, {} tokens", method, one.context)),
            Bytes(one.estimate.peak.process.bytes),
            Bytes(one.estimate.limit_bytes),
            one.place.device,
            engine(one),
        );
    }
    for (engine, why) in &found.refused {
        let _ = writeln!(text, "{}", style.faint(&format!("engine {engine}: {why}")));
    }
    let shown = if arguments.all { found.plans.len() } else { SHOWN };
    for one in found.plans.iter().take(shown) {
        let _ = write!(text, "\n{}", lang::write(&one.plan));
    }
    if found.plans.len() > shown {
        let _ = writeln!(text, "\n{}", style.faint("--all prints the others"));
    }
    text
}
