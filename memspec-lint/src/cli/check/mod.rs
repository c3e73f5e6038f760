//! `memspec-lint check`.

mod allow;
mod print;
mod watch;

use std::path::{Path, PathBuf};

use clap::Args;
use memspec::plan::Document;
use memspec::solve::Resolved;
use rayon::prelude::*;

use super::open::{OnDevice, Opener, STDIN};
use super::{Failure, Outcome, file, find};
use crate::Linter;
use crate::cards::Cards;
use crate::config::Selector;
use crate::context::{Context, Repairs};
use crate::diagnostic::Finding;
use crate::fix::{self, Applicability};
use crate::output::Style;
use crate::repair;
use print::Format;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint check plans/                      every plan in plans/ and below
  memspec-lint check sft.yaml                    a plan in YAML or JSON, or another trainer's file
  memspec-lint check train.mem --device t4       as if it were to run on a T4
  memspec-lint check train.mem --fix             make it fit without changing what is trained
  memspec-lint check train.mem --diff --unsafe-fixes
  memspec-lint check --select MEM --ignore thin-headroom
  memspec-lint check --watch                     again whenever a file changes
  memspec-lint check --add-allow='as in the paper'
  memspec-lint check --output-format sarif > memspec.sarif
  memspec-lint check - --stdin-filename train.yaml < train.yaml
  memspec-lint check --output-format concise     one line a finding, for editors

A finding is allowed with a comment above it: # memspec: allow(thin-headroom) why
What holds for all plans of a folder is in its memspec.toml.

Exit codes: 0 clean, 1 errors or warnings that are certain (an estimate is, where its whole interval is over a limit), 2 could not run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files; folders to search for .mem files, and for YAML and JSON files of plans, axolotl, LLaMA-Factory and TRL; - for standard
    /// input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    on: OnDevice,
    /// Apply the fixes that keep the training the same; of standard input, print the fixed text
    #[arg(long)]
    fix: bool,
    /// With --fix or --diff, also apply fixes that may change what is trained
    #[arg(long)]
    unsafe_fixes: bool,
    /// Show what --fix would change, and change nothing
    #[arg(long, conflicts_with = "fix")]
    diff: bool,
    /// The only findings that are wanted: families (MEM), codes (MEM002) or names (thin-headroom), with commas between
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = selector)]
    select: Option<Vec<Selector>>,
    /// Findings that are not wanted, in the same words
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = selector)]
    ignore: Vec<Selector>,
    /// What standard input is called: its extension says what it is written in, its folder which memspec.toml holds
    #[arg(long, value_name = "NAME", default_value = "stdin.mem")]
    stdin_filename: PathBuf,
    /// Write a comment that allows it above each finding that may be allowed, with the reason
    #[arg(long, value_name = "REASON", num_args = 0..=1, require_equals = true, default_missing_value = "TODO: say why",
          conflicts_with_all = ["fix", "diff"])]
    add_allow: Option<String>,
    /// How often each rule found something, in place of the findings
    #[arg(long)]
    statistics: bool,
    /// Check again whenever a file changes
    #[arg(long, conflicts_with_all = ["fix", "diff", "add_allow"])]
    watch: bool,
    /// How findings are printed; NO_GRAPHICS=1 also narrates
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output_format: Format,
    /// Short for --output-format json
    #[arg(long, conflicts_with = "output_format")]
    json: bool,
    /// Pass over YAML and JSON files that are no plans, where they are named too: for hooks, which name every file
    #[arg(long)]
    only_plans: bool,
    /// Exit with 0 whatever is found
    #[arg(long)]
    exit_zero: bool,
}

impl Arguments {
    fn is_stdin(&self) -> bool {
        self.paths == [PathBuf::from(STDIN)]
    }

    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output_format }
    }

    /// Repairs are priced where they are shown: for programs all, for readers as many as are read.
    fn most_priced(&self) -> usize {
        if self.statistics || self.fix || self.diff {
            return usize::MAX;
        }
        match self.format() {
            Format::Concise | Format::Github => 0,
            Format::Full | Format::Narrated => READ,
            Format::Json | Format::Sarif => usize::MAX,
        }
    }

    fn wanted(&self) -> find::Wanted {
        if self.only_plans { find::Wanted::OnlyPlans } else { find::Wanted::Plans }
    }
}

fn selector(written: &str) -> Result<Selector, String> {
    written.parse().map_err(|unknown: crate::config::UnknownSelector| format!("{unknown}; {}", unknown.help()))
}

/// Files whose repairs are priced in a report for readers. What makes a plan fit takes as long to find out as checking thirty plans.
const READ: usize = 10;

/// A file after checking.
struct Checked {
    /// As it is after the fixes, and what the findings are about; with `--diff`, as it was.
    shown: Document,
    /// The texts before and after the fixes.
    before: String,
    after: String,
    findings: Vec<Finding>,
    applied: Vec<(&'static str, String)>,
    /// The rules that `--add-allow` wrote comments for.
    allowed: Vec<&'static str>,
    /// Of each run whose device nobody named, the cards that it fits.
    cards: Vec<(String, Cards)>,
    /// Whether it was asked what makes its plans fit.
    priced: bool,
}

impl Checked {
    /// Changes of its plans would be shown, and are not priced yet.
    fn is_to_be_priced(&self) -> bool {
        self.wants_fixes() || !self.priced && self.findings.iter().any(repair::wants_suggestions)
    }

    /// A plan of it does not fit, and nobody asked yet what makes it fit.
    fn wants_fixes(&self) -> bool {
        !self.priced && self.findings.iter().any(repair::wants_fixes)
    }
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    if arguments.is_stdin() && (arguments.watch || arguments.add_allow.is_some()) {
        return Err(Failure::new("standard input is not a file", "name the plan's file"));
    }
    if arguments.watch {
        match watch::watch(arguments, style)? {}
    }
    once(arguments, style)
}

fn once(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let mut opener = Opener::new(&arguments.on)?;
    opener.select.clone_from(&arguments.select);
    opener.ignore.clone_from(&arguments.ignore);
    let files = if arguments.is_stdin() {
        let (linter, document) = opener.stdin(&arguments.stdin_filename)?;
        vec![check(&linter, document, arguments, arguments.most_priced() > 0)]
    } else {
        check_files(&opener, arguments)?
    };
    let findings: Vec<&Finding> = files.iter().flat_map(|file| &file.findings).collect();
    print::print(&files, &findings, arguments, style)?;
    let fails = findings.iter().any(|finding| finding.fails());
    Ok(if fails && !arguments.exit_zero { Outcome::Findings } else { Outcome::Clean })
}

fn check_files(opener: &Opener, arguments: &Arguments) -> Result<Vec<Checked>, Failure> {
    let paths = find::plans(&arguments.paths, arguments.wanted())?;
    let linters: Vec<(PathBuf, Linter)> =
        paths.into_iter().map(|path| opener.linter(&path).map(|linter| (path, linter))).collect::<Result<_, _>>()?;
    let most = arguments.most_priced();
    // Which files are the first is known once all are checked.
    let at_once = linters.len() <= most;
    let checked = linters.par_iter().map(|(path, linter)| check_file(path, linter, arguments, at_once));
    let mut files: Vec<Checked> = checked.collect::<Result<_, _>>()?;
    let to_be_priced = files.iter_mut().zip(&linters).filter(|(file, _)| file.is_to_be_priced());
    let first: Vec<_> = to_be_priced.take(most).collect();
    first.into_par_iter().for_each(|(file, (_, linter))| {
        let priced = check(linter, file.shown.clone(), arguments, true);
        *file = Checked { allowed: std::mem::take(&mut file.allowed), ..priced };
    });
    Ok(files)
}

fn check_file(path: &Path, linter: &Linter, arguments: &Arguments, priced: bool) -> Result<Checked, Failure> {
    let mut checked = check(linter, find::read(linter, path)?, arguments, priced);
    if let Some(reason) = &arguments.add_allow
        && let Some((text, names)) = allow::add(&checked.shown, &checked.findings, reason)
    {
        file::write(path, &text)?;
        checked = check(linter, find::read(linter, path)?, arguments, priced);
        checked.allowed = names;
    }
    if arguments.fix && checked.before != checked.after {
        file::write(path, &checked.after)?;
    }
    Ok(checked)
}

fn check(linter: &Linter, document: Document, arguments: &Arguments, priced: bool) -> Checked {
    let before = document.source.text.clone();
    let as_it_is = |document: Document, after: String| {
        let repairs = if priced { Repairs::All } else { Repairs::None };
        let context = Context { repairs, ..linter.context(&document) };
        let (findings, cards) = (linter.findings(&context), cards(&context));
        let before = before.clone();
        Checked { shown: document, before, after, findings, applied: Vec::new(), allowed: Vec::new(), cards, priced }
    };
    if !arguments.fix && !arguments.diff {
        return as_it_is(document, before.clone());
    }
    let allowed = if arguments.unsafe_fixes { Applicability::Unsafe } else { Applicability::Safe };
    let fixed = fix::fix(linter, document.clone(), allowed);
    let after = fixed.document.source.text.clone();
    if arguments.diff {
        // What it shows is not done, so everything is still to be found.
        return as_it_is(document, after);
    }
    let fix::Fixed { document: shown, findings, applied } = fixed;
    Checked { shown, before, after, findings, applied, allowed: Vec::new(), cards: Vec::new(), priced }
}

fn cards(context: &Context<'_>) -> Vec<(String, Cards)> {
    let runs = context.plans.iter().flat_map(|plan| plan.setups.iter());
    let unnamed = runs.filter(|run| run.resolved.setup.device.is_any());
    let cards = unnamed.filter_map(|run| {
        let (Resolved { plan, setup, .. }, estimate) = (&run.resolved, run.estimate().ok()?);
        Some((estimate.name.clone(), Cards::of(plan, setup, estimate, context.base, context.environment)?))
    });
    cards.collect()
}
