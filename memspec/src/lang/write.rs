//! A plan as `.mem` text.

use serde_json::Value;

use crate::plan::{Block, Kind, Plan};

/// The text of a plan: every setting that it has, in the order of the documentation, what it inherits included. Reading it gives the same plan.
///
/// ```
/// # use memspec::plan::{Adapter, AdapterKind, Plan, read_text};
/// let plan = Plan {
///     name: "tiny".into(),
///     model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
///     device: Some("a100-80".into()),
///     adapter: Some(Adapter { kind: AdapterKind::Lora, rank: Some(8.into()), ..Default::default() }),
///     ..Default::default()
/// };
/// let text = memspec::lang::write(&plan);
/// assert_eq!(
///     text,
///     r#"plan "tiny" {
///   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
///   device = "a100-80"
///
///   adapter lora {
///     rank = 8
///   }
/// }
/// "#
/// );
/// assert_eq!(read_text("tiny.mem", text).plans[0].plan, plan);
/// ```
pub fn write(plan: &Plan) -> String {
    let value = serde_json::to_value(plan).unwrap_or_default();
    let mut text = format!("plan {} {{\n", quoted(&plan.name));
    settings(&mut text, Plan::SPEC, &value, "  ");
    for block in Plan::blocks() {
        let Some(inside) = value.get(block.name) else { continue };
        let kind = inside.get("kind").and_then(Value::as_str).map(|kind| format!(" {kind}")).unwrap_or_default();
        let mut body = String::new();
        settings(&mut body, block, inside, "    ");
        let body = if body.is_empty() { " ".to_owned() } else { format!("\n{body}  ") };
        text += &format!("\n  {}{kind} {{{body}}}\n", block.name);
    }
    for (n, assert) in plan.asserts.iter().enumerate() {
        let otherwise =
            assert.otherwise.as_ref().map(|message| format!(" else {}", quoted(message))).unwrap_or_default();
        text += &format!("{}  assert {}{otherwise}\n", if n == 0 { "\n" } else { "" }, assert.that);
    }
    text + "}\n"
}

/// The settings of a block, a line each, their `=` below each other.
fn settings(text: &mut String, block: &Block, value: &Value, indent: &str) {
    let written: Vec<_> =
        block.settings.iter().filter_map(|setting| Some((setting, value.get(setting.name)?))).collect();
    let wide = written.iter().map(|(setting, _)| setting.name.len()).max().unwrap_or(0);
    for (setting, value) in written {
        let line = match value {
            // a limit carries its own sign
            Value::String(limit) if block.limits => format!("{:wide$} {limit}", setting.name),
            value => format!("{:wide$} = {}", setting.name, choice(setting.kind, value)),
        };
        *text += &format!("{indent}{line}\n");
    }
}

fn choice(kind: Kind, value: &Value) -> String {
    for word in ["fit", "sweep"] {
        if let Some(Value::Array(values)) = value.get(word) {
            return format!("{word} {}", list(kind, values));
        }
    }
    if let Some(Value::String(expression)) = value.get("compute") {
        return expression.clone();
    }
    one(kind, value)
}

fn list(kind: Kind, values: &[Value]) -> String {
    format!("[{}]", values.iter().map(|value| one(kind, value)).collect::<Vec<_>>().join(", "))
}

fn one(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::List(kind), Value::Array(values)) => list(*kind, values),
        (_, Value::Array(values)) => list(Kind::Name, values),
        (Kind::Tokens, number @ Value::Number(_)) => format!("{number}tok"),
        (_, Value::String(text)) => {
            let symbol = kind.symbols().iter().any(|symbol| symbol.name == text);
            let name = kind.takes_names() && is_word(text);
            // units: `3%`, `90min`
            let quantity = !kind.takes_text() && !kind.takes_names();
            if symbol || name || quantity { text.clone() } else { quoted(text) }
        }
        (_, other) => other.to_string(),
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
