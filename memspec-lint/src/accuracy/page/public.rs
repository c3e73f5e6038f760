//! The page's section on what others published.

use std::fmt::Write;

use super::super::public::{PublicGroup, Verdicts};
use super::{Fate, Public, percent};

pub(super) fn section(text: &mut String, published: &Public) {
    text.push_str(
        "## What others published\n\n\
         `data/measured_public.csv` has figures from papers, documentation and issues, each with a grade of how well its configuration is known. A row that leaves \
         open what decides its memory is not predicted, nor is one whose framework is not costed; what a row leaves open beside that is assumed, and \
         `memspec-lint accuracy data/measured_public.csv` names it. A figure counts for no more digits than it was printed with, and `GB` may be 10^9 or 2^30 bytes. No \
         constant was set by these rows.\n\n\
         | source (grade) | rows | predicted | with a figure | median | mean | worst |\n| --- | --: | --: | --: | --: | --: | --: |\n",
    );
    let figures = &published.figures;
    for (name, group) in figures.by_source.iter().chain(&figures.by_grade) {
        let _ = writeln!(text, "| {name} | {} |", errors(group));
    }
    text.push_str("\nWhy rows of grade A are not predicted:\n\n| why | rows |\n| --- | --: |\n");
    for (why, rows) in figures.by_grade.get("A").into_iter().flat_map(|group| &group.skipped) {
        let _ = writeln!(text, "| {why} | {rows} |");
    }
    verdicts(text, published);
    longest(text, published);
}

fn errors(group: &PublicGroup) -> String {
    format!(
        "{} | {} | {} | {} | {} | {}",
        group.rows,
        group.specific,
        group.figures,
        percent(group.median),
        percent(group.mean),
        percent(group.worst)
    )
}

fn verdicts(text: &mut String, published: &Public) {
    let sum = Verdicts::of(&published.verdicts);
    let _ = writeln!(
        text,
        "\n`data/verdicts_public.csv`: runs that completed or died on a known card. {} of {} say enough; {} are predicted right, {} of {} of those further than \
         2 % from the edge; {} said to fit died. That is with its scope as it became: when runs under FSDP 1 were still read as FSDP 2, and the comparison in \
         Unsloth's README of 2023 as today's Trainer, 23 runs were predicted, and three of those said to fit had died (two of litgpt's, and CodeLlama 34B). Neither is \
         costed any more, and their figures are left out above, too.\n\n| run | predicted | published |\n| --- | --- | --- |",
        sum.specific, sum.rows, sum.right, sum.clear_right, sum.clear, sum.wrong_fits
    );
    for row in &published.verdicts {
        let word = |fate| if fate == Fate::Fits { "fits" } else { "oom" };
        let Some(outcome) = row.outcome else { continue };
        let edge = if row.near_edge { " (within 2 % of the edge)" } else { "" };
        let measured = outcome.measured.map_or("-", word);
        let _ = writeln!(text, "| {} | {}{edge} | {measured} |", row.title, word(outcome.predicted));
    }
}

fn longest(text: &mut String, published: &Public) {
    text.push_str(
        "\n`data/max_context_public.csv`: the largest contexts of a vendor's table, for comparison. Most of it is extrapolated; the runs' other settings are assumed.\n\n\
         | run | published | found |\n| --- | --: | --: |\n",
    );
    for row in &published.longest {
        let tokens =
            |tokens: Option<u64>, none: &str| tokens.map_or_else(|| none.to_owned(), |tokens| tokens.to_string());
        let _ = writeln!(text, "| {} | {} | {} |", row.title, tokens(row.published, "dies"), tokens(row.found, "-"));
    }
    text.push('\n');
}
