//! The guide's tables as Markdown and CSV.

use std::fmt::Write;

use crate::tables::{Answer, Row, Tables};

/// As Markdown: the assumptions, then each table.
pub fn markdown(tables: &Tables) -> String {
    let mut text = format!("# The guide's tables, computed\n\nClaims: {}, by line. Sizes are GiB.\n", tables.source);
    if let Ok(serde_json::Value::Object(assumptions)) = serde_json::to_value(&tables.assumptions) {
        text += "\n| assumption | |\n| --- | --- |\n";
        for (name, value) in assumptions {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "| {name} | {} |", cell(&value));
        }
    }
    let mut table = "";
    for row in &tables.rows {
        if row.table != table {
            table = &row.table;
            let _ = write!(
                text,
                "\n## {table}\n\n| | | memspec | guide | difference | |\n| --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let guide = match (&row.says, row.line) {
            (Some(says), Some(line)) => format!("{says} (line {line})"),
            (Some(says), None) => says.clone(),
            _ => String::new(),
        };
        let (computed, note) = (computed(&row.answer), note(row));
        let cells = [&row.subject, &row.figure, &computed, &guide, &row.difference, note].map(|text| cell(text));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn computed(answer: &Answer) -> String {
    match answer {
        Answer::Number { computed, low, high, unit, .. } if low == high => format!("{computed} {unit}"),
        Answer::Number { computed, low, high, unit, .. } => format!("{computed} {unit} ({low} to {high})"),
        Answer::Words { computed, .. } => computed.clone(),
        Answer::NotCosted { .. } => "not costed".to_owned(),
        Answer::Unknown { .. } => "unknown".to_owned(),
    }
}

fn note(row: &Row) -> &String {
    match &row.answer {
        Answer::Number { note, .. } | Answer::Words { note, .. } => note,
        Answer::NotCosted { why } | Answer::Unknown { why } => why,
    }
}

/// A text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// As CSV (RFC 4180), a line for each figure; the assumptions are lines of the table `assumption`.
pub fn csv(tables: &Tables) -> String {
    let mut text = "table,subject,figure,line,says,claimed,status,computed,low,high,unit,difference,note\n".to_owned();
    let mut line = |fields: [&str; 13]| {
        text += &fields.map(field).join(",");
        text.push('\n');
    };
    if let Ok(serde_json::Value::Object(assumptions)) = serde_json::to_value(&tables.assumptions) {
        for (name, value) in assumptions {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line(["assumption", &name, "", "", "", "", "words", &value, "", "", "", "", ""]);
        }
    }
    for row in &tables.rows {
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (status, computed, low, high, unit) = match &row.answer {
            Answer::Number { computed, low, high, unit, .. } => {
                ("number", computed.to_string(), low.to_string(), high.to_string(), *unit)
            }
            Answer::Words { computed, .. } => ("words", computed.clone(), String::new(), String::new(), ""),
            Answer::NotCosted { .. } => ("not_costed", String::new(), String::new(), String::new(), ""),
            Answer::Unknown { .. } => ("unknown", String::new(), String::new(), String::new(), ""),
        };
        let place = row.line.map(|line| line.to_string()).unwrap_or_default();
        let (says, claimed) = (row.says.as_deref().unwrap_or_default(), number(row.claimed));
        line([
            &row.table,
            &row.subject,
            &row.figure,
            &place,
            says,
            &claimed,
            status,
            &computed,
            &low,
            &high,
            unit,
            &row.difference,
            note(row),
        ]);
    }
    text
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
