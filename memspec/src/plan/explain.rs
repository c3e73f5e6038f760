//! The words for each mistake: what is wrong, what to write instead.

use std::ops::Range;

use super::arithmetic::dimension;
use super::check::RawBlock;
use super::spec::{Block, Kind, UnknownSymbol, nearest};
use super::value::{Fault, Item, Value};
use super::{Expression, Place, Plan, Problem};
use crate::quantity::{Dimension, Quantity, QuantityError};

/// Names that other trainers use, and ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("batch_size", "micro_batch"),
    ("micro_batch_size", "micro_batch"),
    ("per_device_train_batch_size", "micro_batch"),
    ("gradient_accumulation", "accumulate"),
    ("gradient_accumulation_steps", "accumulate"),
    ("gradient_checkpointing", "checkpointing"),
    ("use_gradient_checkpointing", "checkpointing"),
    ("lr", "learning_rate"),
    ("lr_scheduler", "schedule"),
    ("lr_scheduler_type", "schedule"),
    ("warmup_ratio", "warmup"),
    ("warmup_steps", "warmup"),
    ("max_grad_norm", "clip"),
    ("num_train_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("max_steps", "steps"),
    ("optim", "optimizer"),
    ("max_length", "context"),
    ("max_seq_length", "context"),
    ("seq_len", "context"),
    ("sequence_len", "context"),
    ("cutoff_len", "context"),
    ("r", "rank"),
    ("lora_r", "rank"),
    ("lora_alpha", "alpha"),
    ("lora_dropout", "dropout"),
    ("target_modules", "targets"),
    ("lora_target_modules", "targets"),
    ("modules_to_save", "train_whole"),
    ("use_rslora", "rank_stabilized"),
    ("double_quant", "double"),
    ("bnb_4bit_use_double_quant", "double"),
    ("base_model", "model"),
    ("model_name_or_path", "model"),
    ("output_dir", "output"),
    ("dataset", "path"),
];

pub(super) fn missing_model(plan: &str, at: Range<usize>) -> Problem {
    Problem::new("missing-model", at, format!("plan `{plan}` does not say which model it trains"))
        .label("no `model` here")
        .help("add `model = \"..\"`: a folder with its config.json, a .gguf file, or a hub name")
}

pub(super) fn duplicate(name: &str, block: bool, second: Range<usize>, first: Range<usize>) -> Problem {
    let (message, help) = if block {
        (
            format!("block `{name}` stands twice"),
            "a plan has one of each block: move its settings into the first".to_owned(),
        )
    } else {
        (
            format!("`{name}` is set twice"),
            format!("keep one; to try several values write `{name} = fit [..]` or `sweep [..]`"),
        )
    };
    Problem::new("duplicate-setting", second, message).label("again here").related(first, "first here").help(help)
}

pub(super) fn unknown_setting(block: &Block, name: &str, place: &Place) -> Problem {
    let problem =
        Problem::new("unknown-setting", place.key.clone(), format!("`{}` has no setting `{name}`", block.name))
            .label("unknown");
    if let Some(inner) = block.block(name) {
        let kind = inner.kinds.first().map(|kind| format!(" {}", kind.name)).unwrap_or_default();
        return problem.help(format!("`{name}` is a block: `{name}{kind} {{ .. }}`"));
    }
    let alias = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
    let known = |name: &str| block.setting(name).is_some();
    if let Some(meant) = alias.filter(|ours| known(ours)) {
        return problem.help(format!("it is called `{meant}` here")).fix(place.key.clone(), meant);
    }
    let homes: Vec<_> = homes(alias.unwrap_or(name)).into_iter().map(|home| format!("`{home}`")).collect();
    if !homes.is_empty() {
        let called = alias.map(|ours| format!(", called `{ours}`")).unwrap_or_default();
        return problem.help(format!("it is a setting of {}{called}", homes.join(" and ")));
    }
    match nearest(name, block.settings.iter().map(|setting| setting.name)) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(place.key.clone(), meant),
        None => problem.help(format!("it has {}", listed(block.settings.iter().map(|setting| setting.name)))),
    }
}

/// The blocks that have a setting of that name.
fn homes(name: &str) -> Vec<&'static str> {
    let all = std::iter::once(Plan::SPEC).chain(Plan::SPEC.blocks.iter().copied());
    all.filter(|block| block.setting(name).is_some()).map(|block| block.name).collect()
}

pub(super) fn unknown_block(outer: &Block, raw: &RawBlock) -> Problem {
    let name = &raw.name;
    let problem = Problem::new("unknown-block", raw.key.clone(), format!("`{}` has no block `{name}`", outer.name))
        .label("unknown");
    if outer.setting(name).is_some() {
        return problem.help(format!("`{name}` is a setting: `{name} = ..`"));
    }
    if outer.name != "plan" && Plan::SPEC.block(name).is_some() {
        return problem.help(format!("`{name}` stands beside `{}`, directly in the plan", outer.name));
    }
    match nearest(name, outer.blocks.iter().map(|block| block.name)) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(raw.key.clone(), meant),
        None if outer.blocks.is_empty() => problem.help(format!("`{}` holds settings only", outer.name)),
        None => problem.help(format!("a plan has {}", listed(outer.blocks.iter().map(|block| block.name)))),
    }
}

pub(super) fn no_kind(block: &Block, kind: &str, span: Range<usize>, key: &Range<usize>) -> Problem {
    Problem::new("unknown-kind", span.clone(), format!("`{}` has no kinds, got `{kind}`", block.name))
        .label("nothing stands here")
        .help(format!("write `{} {{ .. }}`", block.name))
        .fix(key.end..span.end, "")
}

pub(super) fn unknown_kind(block: &Block, unknown: &UnknownSymbol, span: Range<usize>) -> Problem {
    let problem =
        Problem::new("unknown-kind", span.clone(), format!("`{}` has no kind `{}`", block.name, unknown.written))
            .label("unknown");
    match unknown.nearest {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(span, meant),
        None => problem.help(format!("it has {}", listed(unknown.known.iter().copied()))),
    }
}

pub(super) fn missing_kind(block: &Block, key: Range<usize>) -> Problem {
    let kinds = listed(block.kinds.iter().map(|kind| kind.name));
    Problem::new("missing-kind", key, format!("`{}` needs a kind", block.name))
        .label("which kind?")
        .help(format!("one of {kinds}"))
}

/// A setting of the budget that is not written as a limit.
pub(super) fn not_a_limit(name: &str, kind: Kind, item: &Item, place: &Place, source: &str) -> Problem {
    let problem = Problem::new("not-a-limit", place.statement.clone(), format!("`{name}` is a limit, not a setting"))
        .label("not a limit");
    // `name = quantity` is repaired by its sign; anything else by an example
    match &item.value {
        Value::Quantity(_) if place.key.end <= item.span.start => {
            let got = source.get(item.span.clone()).unwrap_or_default();
            problem.help(format!("write `{name} <= {got}`")).fix(place.key.end..item.span.start, " <= ")
        }
        _ => problem.help(format!("a comparison and {kind}, as in `device_memory <= 14.5GiB`")),
    }
}

/// A limit on something that is not a figure of the budget.
pub(super) fn limit_outside(name: &str, place: &Place, source: &str) -> Problem {
    let got = source.get(place.value.clone()).unwrap_or_default();
    Problem::new("limit-outside-budget", place.statement.clone(), format!("`{name}` is a setting, not a limit"))
        .label("limits stand in `budget`")
        .help(format!("write `{name} = {got}`"))
        .fix(place.statement.clone(), format!("{name} = {got}"))
}

/// A number below the least that a setting takes.
pub(super) fn below(name: &str, least: f64, item: &Item, source: &str) -> Option<Problem> {
    let leaf = |item: &Item| {
        let value = match &item.value {
            Value::Quantity(quantity) => quantity.value,
            Value::Word(text) => text.parse::<Quantity>().ok()?.value,
            _ => return None,
        };
        (value < least).then(|| {
            let got = source.get(item.span.clone()).unwrap_or_default();
            Problem::new("out-of-range", item.span.clone(), format!("`{name}` is at least {least}, got {got}"))
                .label("too small")
        })
    };
    match &item.value {
        Value::List(items) | Value::Fit(items) | Value::Sweep(items) => {
            items.iter().find_map(|item| below(name, least, item, source))
        }
        _ => leaf(item),
    }
}

/// The problem for a fault of a value; none where it is already reported.
pub(super) fn fault(name: &str, kind: Kind, item: &Item, fault: &Fault, source: &str) -> Option<Problem> {
    let written = |span: &Range<usize>| {
        source.get(span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    Some(match fault {
        Fault::Reported => return None,
        Fault::Mismatch(span) => {
            let value = find(item, span);
            mismatch(name, kind, value, span, &with_value(written(span), value))
        }
        Fault::List(span) => Problem::new("wrong-type", span.clone(), format!("`{name}` takes {kind}, got a list"))
            .label("a list")
            .help(format!(
                "write `{name} = fit {0}` for the first that fits the budget, `sweep {0}` for one run each",
                written(span)
            )),
        Fault::Length(span, length) => Problem::new(
            "wrong-type",
            span.clone(),
            format!("`{name}` takes a list of {length} values, got {}", written(span)),
        )
        .label(format!("not {length} values")),
        Fault::Empty(span) => Problem::new("wrong-type", span.clone(), format!("`{name}` has nothing to choose from"))
            .label("empty")
            .help("write at least one value: `fit [4, 2, 1]`"),
        Fault::Symbol(span, unknown) => {
            let problem = Problem::new(
                "unknown-symbol",
                span.clone(),
                format!("`{name}` takes {kind}, got `{}`", unknown.written),
            )
            .label("unknown");
            match unknown.nearest {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(span.clone(), meant),
                None => problem,
            }
        }
        Fault::Quoted(span, word) => {
            Problem::new("quoted-symbol", span.clone(), format!("`{name}` takes a word without quotes"))
                .label("in quotes")
                .help(format!("write `{name} = {word}`"))
                .fix(span.clone(), word)
        }
        Fault::Unquoted(span, word) => {
            Problem::new("unquoted-text", span.clone(), format!("`{name}` takes {kind}, got the word `{word}`"))
                .label("no quotes")
                .help(format!("write `{name} = \"{word}\"`"))
                .fix(span.clone(), format!("\"{word}\""))
        }
        Fault::Quantity(span, error) => unit(span.clone(), error),
        Fault::Comparison(span) => {
            Problem::new("not-a-limit", span.clone(), format!("`{name}` is limited with `<=`, `<`, `>=` or `>`"))
                .label("not a limit")
                .help(format!("as in `{name} <= ..`"))
        }
    })
}

/// What is written, and, where that is computed, what it comes to.
fn with_value(written: String, value: Option<&Value>) -> String {
    match value {
        Some(Value::Quantity(quantity)) if written.parse::<Quantity>().is_err() => {
            let rounded = Quantity { value: (quantity.value * 1e4).round() / 1e4, ..*quantity };
            format!("{written}, which is {}", Expression::Quantity(rounded))
        }
        _ => written,
    }
}

/// A quantity that cannot be read, wherever it stands.
pub(crate) fn unit(span: Range<usize>, error: &QuantityError) -> Problem {
    let problem = |message: String| Problem::new("unknown-unit", span.clone(), message);
    match error {
        QuantityError::BareB(text) => problem(format!("`{text}`: `B` is not a unit"))
            .label("bytes or billions?")
            .help("write bytes as `KiB`, `MiB` or `GiB`, and a count as digits"),
        QuantityError::UnknownUnit { unit, nearest: Some(meant) } => {
            let fix = span.end.saturating_sub(unit.len())..span.end;
            let problem = problem(format!("`{unit}` is not a unit"))
                .label("unknown unit")
                .help(format!("did you mean `{meant}`?"));
            // in quotes the unit does not end where its span does
            if span.len() > unit.len() { problem.fix(fix, *meant) } else { problem }
        }
        QuantityError::UnknownUnit { unit, nearest: None } => problem(format!("`{unit}` is not a unit"))
            .label("unknown unit")
            .help(format!("the units are {}", listed(crate::quantity::UNITS.iter().map(|unit| unit.name)))),
        error => problem(error.to_string()).label("not a quantity"),
    }
}

fn mismatch(name: &str, kind: Kind, value: Option<&Value>, span: &Range<usize>, written: &str) -> Problem {
    let quantity = match value {
        Some(Value::Quantity(quantity)) => Some(*quantity),
        Some(Value::Word(word)) => word.parse().ok(),
        _ => None,
    };
    let code = match quantity {
        Some(quantity) if dimension(kind).is_some_and(|dimension| dimension != quantity.dimension) => "wrong-unit",
        _ => "wrong-type",
    };
    let problem = Problem::new(code, span.clone(), format!("`{name}` takes {kind}, got {written}")).label(
        match (code, quantity) {
            ("wrong-unit", Some(quantity)) if quantity.dimension == Dimension::Number => "no unit".to_owned(),
            ("wrong-unit", Some(quantity)) => quantity.dimension.to_string(),
            _ => format!("not {kind}"),
        },
    );
    match (kind, quantity, value) {
        (Kind::Percent, Some(Quantity { value, dimension: Dimension::Number }), _) if value > 0.0 && value < 1.0 => {
            let percent = format!("{}%", (value * 1e8).round() / 1e6);
            problem.help(format!("write `{percent}`")).fix(span.clone(), percent)
        }
        (
            Kind::Percent | Kind::Bytes | Kind::Duration | Kind::Money,
            Some(Quantity { dimension: Dimension::Number, .. }),
            _,
        ) => problem.help("write its unit right after the number"),
        (Kind::Integer, Some(quantity), _) if quantity.dimension == Dimension::Number => {
            problem.help("whole, and not negative")
        }
        (Kind::Bool, _, Some(Value::Symbol(word) | Value::Text(word) | Value::Word(word))) => {
            match word.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" => problem.help("write `true`").fix(span.clone(), "true"),
                "no" | "off" | "false" => problem.help("write `false`").fix(span.clone(), "false"),
                _ => problem,
            }
        }
        (Kind::Integer | Kind::Number, None, Some(Value::Text(text)))
            if text.parse::<f64>().is_ok_and(f64::is_finite) =>
        {
            problem.help(format!("write `{text}`, without quotes")).fix(span.clone(), text)
        }
        (Kind::List(_), _, Some(Value::Symbol(_) | Value::Text(_) | Value::Word(_))) => {
            problem.help(format!("write `[{written}]`")).fix(span.clone(), format!("[{written}]"))
        }
        _ => problem,
    }
}

/// The value that stands at `span`.
fn find<'a>(item: &'a Item, span: &Range<usize>) -> Option<&'a Value> {
    match &item.value {
        Value::Limit(_, bound) => find(bound, span),
        Value::List(items) | Value::Fit(items) | Value::Sweep(items) if item.span != *span => {
            items.iter().find_map(|item| find(item, span))
        }
        value => (item.span == *span).then_some(value),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
