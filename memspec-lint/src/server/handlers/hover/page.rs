//! Pages: of settings, blocks, plans, rules and words of the language.

use std::fmt::Write;

use memspec::cost::Estimate;
use memspec::plan::{Block, Plan, Setting};
use memspec::quantity::{Bytes, Seconds};
use memspec::solve::Resolved;

use crate::context::Seen;
use crate::costed::Costed;
use crate::output::estimate::{by_setting, not_measured};
use crate::registry::Rule;

/// What a setting means, what it takes, its default.
pub(super) fn meaning(setting: &Setting) -> String {
    let mut text = format!("**{}**: {}\n\n{}", setting.name, setting.kind, setting.doc);
    if let Some(default) = setting.default {
        let _ = write!(text, "\n\nDefault: `{default}`");
    }
    let symbols = setting.kind.symbols();
    if !symbols.is_empty() {
        text += "\n";
        for symbol in symbols {
            let _ = write!(text, "\n- `{}`: {}", symbol.name, symbol.doc);
        }
    }
    text
}

/// The same for a setting of a plan, with what it costs there.
pub(super) fn setting(path: &str, plan: &Seen<'_>) -> Option<String> {
    let mut text = meaning(Plan::setting(path)?);
    if let Some(price) = price(plan, |setting| setting == path) {
        let _ = write!(text, "\n\n{price}");
    }
    let chosen = plan.setups.first().and_then(|one| one.resolved.chosen.iter().find(|(setting, _)| setting == path));
    if let Some((_, value)) = chosen.filter(|_| plan.setups.len() == 1) {
        let _ = write!(text, "\n\nChosen: `{value}`");
    }
    Some(text)
}

/// What a block is for, and what its settings cost.
pub(super) fn block(block: &Block, plan: &Seen<'_>) -> String {
    let mut text = format!("**{}**: {}", block.name, block.doc);
    let inside = |setting: &str| setting.split('.').next() == Some(block.name);
    if let Some(price) = price(plan, inside) {
        let _ = write!(text, "\n\n{price}");
    }
    text
}

/// What settings own at the peak.
pub(super) fn price(plan: &Seen<'_>, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let (_, estimate) = worst(plan)?;
    let owned: Vec<_> = by_setting(estimate).into_iter().filter(|(setting, ..)| wanted(setting)).collect();
    let bytes: u64 = owned.iter().map(|(_, bytes, _)| bytes).sum();
    let parts: Vec<_> = owned.iter().flat_map(|(.., parts)| parts.iter().copied()).collect();
    (bytes > 0).then(|| {
        let share = 100.0 * bytes as f64 / estimate.peak.allocated.bytes.max(1) as f64;
        format!("Owns **{}** at the peak of `{}` ({share:.1} %): {}", Bytes(bytes), estimate.name, parts.join(", "))
    })
}

/// The run of a plan that needs most.
fn worst<'a>(plan: &'a Seen<'_>) -> Option<(&'a Resolved, &'a Estimate)> {
    plan.estimates().max_by_key(|(_, estimate)| estimate.needs().0)
}

/// The breakdown of a plan, with its error bar.
pub(super) fn plan(plan: &Seen<'_>) -> String {
    let mut text = format!("**plan `{}`**", plan.written.name);
    let Some((resolved, estimate)) = worst(plan) else {
        for problem in plan.unresolved.iter() {
            let _ = write!(text, "\n\n{}", problem.message);
        }
        for error in plan.setups.iter().filter_map(Costed::refusal) {
            let _ = write!(text, "\n\nnot costed: {error}");
        }
        return text;
    };
    let process = estimate.peak.process;
    let verdict = if estimate.fits { "fits" } else { "does not fit" };
    let _ = write!(
        text,
        ": peak {} ({} to {}) in the {} phase; {verdict} {} on {}",
        Bytes(process.bytes),
        Bytes(process.low),
        Bytes(process.high),
        estimate.peak.phase,
        Bytes(estimate.limit_bytes),
        estimate.device,
    );
    if plan.setups.len() > 1 {
        let _ = write!(text, "\n\nOf {} runs, the one that needs most: `{}`", plan.setups.len(), estimate.name);
    }
    if let Some(why) = not_measured(&resolved.setup, estimate) {
        let _ = write!(text, "\n\n({why})");
    }
    text += "\n\n| setting | at the peak | | what |\n| --- | ---: | ---: | --- |\n";
    let all = estimate.peak.allocated.bytes.max(1) as f64;
    let mut row = |what: &str, bytes: u64, parts: &str| {
        let _ = writeln!(text, "| {what} | {} | {:.1} % | {parts} |", Bytes(bytes), 100.0 * bytes as f64 / all);
    };
    for (setting, bytes, parts) in by_setting(estimate) {
        row(&format!("`{setting}`"), bytes, &parts.join(", "));
    }
    let beside = process.bytes.saturating_sub(estimate.peak.allocated.bytes);
    row("beside tensors", beside, "what the allocator holds too, and the process's context");
    if let Some(Ok(time)) = plan.setups.first().map(|one| &one.time).filter(|_| plan.setups.len() == 1) {
        let _ = write!(text, "\n{:.0} tokens/s", time.tokens_per_second.value);
        if let Some(total) = time.total_seconds {
            let _ = write!(text, ", {} ({} to {})", Seconds(total.value), Seconds(total.low), Seconds(total.high));
        }
        if let Some(cost) = &time.cost {
            let _ = write!(text, ", {:.2}usd", cost.usd.value);
        }
    }
    text
}

/// A rule's page.
pub(super) fn rule(rule: &Rule) -> String {
    // A hover is narrow: headings a size smaller.
    let mut code = false;
    let mut text = String::new();
    for line in rule.page().lines() {
        code ^= line.starts_with("```");
        if line.starts_with('#') && !code {
            text += "##";
        }
        text += line;
        text += "\n";
    }
    text
}

/// Words of the language itself.
pub(super) fn keyword(word: &str) -> Option<&'static str> {
    Some(match word {
        "mem" => "`mem 1`: the edition of the language; may be left out",
        "plan" => "`plan \"name\" { .. }`: a fine-tuning run",
        "profile" => "`profile name { .. }`: settings for plans that `extends` it",
        "extends" => "`extends profile`: settings of a profile, where the plan has none of its own",
        "let" => "`let name = value`: a name for a value, to be used below it",
        "import" => "`import \"file\" as name`: another file's names",
        "fit" => {
            "`fit [a, b, c]`: the first of these, in the order of preference, with which the plan meets its budget"
        }
        "sweep" => "`sweep [a, b, c]`: one run for each of these",
        "assert" => "`assert condition else \"message\"`: what has to hold of the plan",
        "min" => "`min(a, b, ..)`: the smallest",
        "max" => "`max(a, b, ..)`: the largest",
        "ceil" => "`ceil(a)`: the next whole number",
        _ => return None,
    })
}
