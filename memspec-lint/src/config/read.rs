//! Reading a `memspec.toml`: its tables, and what is wrong with them, with places.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use glob::Pattern;
use memspec::plan::{Budget, Plan, Source};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::{Config, Part, Selector};
use crate::diagnostic::Finding;
use crate::output::{Style, report};

/// What is wrong with a `memspec.toml`.
#[derive(Clone, Debug)]
pub struct Mistakes {
    source: Source,
    findings: Vec<Finding>,
}

impl Mistakes {
    /// As reports, with the lines that they are about.
    pub fn render(&self, style: Style) -> String {
        report::render_all(&self.source, &self.findings, style)
    }
}

/// A `memspec.toml`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "memspec.toml")]
struct File {
    /// The device of plans that name none, or `auto`.
    #[schemars(with = "Option<String>")]
    device: Option<Spanned<String>>,
    /// Limits that a plan's budget does not give.
    #[serde(default)]
    #[schemars(with = "Budget")]
    budget: Limits,
    /// Which findings are wanted.
    #[serde(default)]
    lint: Lint,
    /// What holds for some of the plans; where several hold for one, the later before the earlier.
    #[serde(default, rename = "override")]
    overrides: Vec<Override>,
}

/// What holds for some of the plans.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Override {
    /// Which: patterns of paths, relative to this file. `*` is any part of a name, `**` any folders.
    #[schemars(with = "Vec<String>")]
    paths: Vec<Spanned<String>>,
    /// The device of plans that name none, or `auto`.
    #[schemars(with = "Option<String>")]
    device: Option<Spanned<String>>,
    /// Limits that a plan's budget does not give.
    #[serde(default)]
    #[schemars(with = "Budget")]
    budget: Limits,
    /// Which findings are wanted.
    #[serde(default)]
    lint: Lint,
}

type Limits = BTreeMap<Spanned<String>, Spanned<String>>;

/// Which findings are wanted: families (`MEM`), codes (`MEM002`), names (`thin-headroom`) or `all`. What names a rule more exactly
/// decides.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lint {
    /// The rules that are looked at; all when this is missing.
    #[schemars(with = "Option<Vec<String>>")]
    select: Option<Vec<Spanned<String>>>,
    /// The rules that are not.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    ignore: Vec<Spanned<String>>,
}

/// The JSON schema of `memspec.toml`, as `schemas/memspec-toml.schema.json` has it.
pub fn schema() -> String {
    crate::output::estimate::schema_of::<File>()
}

pub(super) fn read(path: &Path) -> Result<Config, Mistakes> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Mistakes {
        source: Source { name: name.clone(), text: String::new() },
        findings: vec![mistake(format!("cannot read `{name}`: {error}")).help("it has to be a file of UTF-8 text")],
    })?;
    let mut reader = Reader::default();
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let config = match toml::from_str::<File>(&text) {
        Ok(file) => reader.config(folder, file),
        Err(error) => {
            reader.mistakes.push(unreadable(&error));
            Config { folder, everywhere: Part::default(), overrides: Vec::new() }
        }
    };
    match reader.mistakes.as_slice() {
        [] => Ok(config),
        _ => Err(Mistakes { source: Source { name, text }, findings: reader.mistakes }),
    }
}

fn mistake(message: impl Into<String>) -> Finding {
    Finding::error("config", message)
}

/// Not TOML, or not with the keys and types of a `memspec.toml`.
fn unreadable(error: &toml::de::Error) -> Finding {
    let mut finding =
        mistake(error.message().lines().next().unwrap_or_default()).label(error.span().unwrap_or_default(), "");
    // serde's words: unknown field `x`, expected one of `y`, `z`
    if let Some((unknown, known)) = error.message().split_once(", expected ") {
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let (unknown, known) = (quoted(unknown), quoted(known));
        let nearest =
            unknown.first().and_then(|unknown| memspec::plan::nearest(unknown, known.iter().map(String::as_str)));
        if let Some(nearest) = nearest {
            finding = finding.help(format!("did you mean `{nearest}`?"));
        }
    }
    finding
}

/// Reads what TOML gave, and notes every mistake.
#[derive(Default)]
struct Reader {
    mistakes: Vec<Finding>,
}

impl Reader {
    fn config(&mut self, folder: std::path::PathBuf, file: File) -> Config {
        let everywhere = self.part(file.device, file.budget, file.lint);
        let overrides = file.overrides.into_iter().map(|one| {
            let patterns = one.paths.iter().filter_map(|pattern| self.pattern(pattern)).collect();
            (patterns, self.part(one.device, one.budget, one.lint))
        });
        let overrides = overrides.collect();
        Config { folder, everywhere, overrides }
    }

    fn part(&mut self, device: Option<Spanned<String>>, limits: Limits, lint: Lint) -> Part {
        Part {
            device: device.and_then(|device| self.device(&device)),
            budget: self.budget(limits),
            select: lint.select.map(|selectors| self.selectors(&selectors)),
            ignore: self.selectors(&lint.ignore),
        }
    }

    fn device(&mut self, written: &Spanned<String>) -> Option<String> {
        match memspec::device::find(written.get_ref()) {
            Ok(_) => Some(written.get_ref().clone()),
            Err(error) => {
                self.mistakes.push(mistake(error.to_string()).label(written.span(), ""));
                None
            }
        }
    }

    /// Limits are written as in YAML: `headroom = ">= 5%"`.
    fn budget(&mut self, limits: Limits) -> Budget {
        let mut plan = Plan::default();
        for (name, value) in limits {
            let path = format!("budget.{}", name.get_ref());
            if Plan::setting(&path).is_none() {
                let known = Budget::SPEC.settings.iter().map(|setting| setting.name);
                let mut finding = mistake(format!("a budget has no limit `{}`", name.get_ref())).label(name.span(), "");
                if let Some(nearest) = memspec::plan::nearest(name.get_ref(), known) {
                    finding = finding.help(format!("did you mean `{nearest}`?"));
                }
                self.mistakes.push(finding);
            } else if let Err(message) = plan.set(&path, value.get_ref()) {
                self.mistakes.push(mistake(message).label(value.span(), ""));
            }
        }
        plan.budget.unwrap_or_default()
    }

    fn selectors(&mut self, written: &[Spanned<String>]) -> Vec<Selector> {
        let mut selectors = Vec::new();
        for one in written {
            match one.get_ref().parse() {
                Ok(selector) => selectors.push(selector),
                Err(unknown) => self.selector(&unknown, one.span()),
            }
        }
        selectors
    }

    fn selector(&mut self, unknown: &super::UnknownSelector, span: Range<usize>) {
        self.mistakes.push(mistake(unknown.to_string()).label(span, "").help(unknown.help()));
    }

    fn pattern(&mut self, written: &Spanned<String>) -> Option<Pattern> {
        match Pattern::new(written.get_ref()) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let finding = mistake(format!("`{}` is no pattern of paths: {}", written.get_ref(), error.msg));
                self.mistakes.push(finding.label(written.span(), "").help("write `colab/*.mem`, or `**/old/**`"));
                None
            }
        }
    }
}
