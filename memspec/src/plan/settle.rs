//! A typed plan's values that follow from others, once those have values.

use serde_json::Value as Json;

use super::follow::{default, seen};
use super::section::Section;
use super::value::{Item, Value};
use super::{Expression, Plan, explain};
use crate::quantity::Quantity;

/// A setting of a plan that follows from others.
#[derive(Clone, Debug, PartialEq)]
pub struct Follows {
    /// Its dotted path.
    pub setting: String,
    /// From what.
    pub from: Expression,
}

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The setting's dotted path.
    pub setting: String,
    /// Why, in a sentence.
    pub message: String,
}

impl Plan {
    /// The settings that follow from others.
    pub fn follows(&self) -> Vec<Follows> {
        let mut found = Vec::new();
        computed(&serde_json::to_value(self).unwrap_or_default(), "", &mut found);
        found
    }

    /// Gives every setting that follows from others its value, where each of those has one; the rest stay.
    ///
    /// # Errors
    /// A value that its setting does not take: 64 / 3 for a whole number.
    pub fn settle(&mut self) -> Result<(), Unsettled> {
        let mut open = self.follows();
        while !open.is_empty() {
            let before = open.len();
            let values = serde_json::to_value(&*self).unwrap_or_default();
            for Follows { setting, from } in std::mem::take(&mut open) {
                let value = from.evaluate(&|path: &str| lookup(&values, path));
                match value {
                    Ok(Value::Computed(_)) => open.push(Follows { setting, from }),
                    Ok(value) => self.put(&setting, value, &from)?,
                    Err((_, message)) => {
                        return Err(Unsettled { message: format!("`{setting}` = {from}: {message}"), setting });
                    }
                }
            }
            if open.len() == before {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &str, value: Value, from: &Expression) -> Result<(), Unsettled> {
        let Some(setting) = Plan::setting(path) else { return Ok(()) };
        let written = match &value {
            Value::Quantity(quantity) => Expression::Quantity(*quantity).to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Word(word) => word.clone(),
            _ => String::new(),
        };
        let item = Item { value, span: 0..written.len() };
        let small = setting.least.and_then(|least| explain::below(setting.name, least, &item, &written));
        let (section, name): (&mut dyn Section, _) = match path.split_once('.') {
            Some((block, name)) => match self.section(block) {
                Some(section) => (section, name),
                None => return Ok(()),
            },
            None => (self, path),
        };
        let refused = match small {
            Some(problem) => Some(problem),
            None => section.set(name, &item).err().and_then(|faults| {
                faults.iter().find_map(|fault| explain::fault(name, setting.kind, &item, fault, &written))
            }),
        };
        match refused {
            Some(problem) => {
                Err(Unsettled { setting: path.to_owned(), message: format!("{} ({path} = {from})", problem.message) })
            }
            None => Ok(()),
        }
    }
}

/// The value at a dotted path of a plan as JSON, or its default; nothing of what is still open.
pub(crate) fn lookup(plan: &Json, path: &str) -> Option<Value> {
    let found = path.split('.').try_fold(plan, |value, name| value.get(name));
    let value = match found {
        None => default(path)?,
        Some(Json::Number(number)) => Value::Quantity(Quantity::number(number.as_f64()?)),
        Some(Json::Bool(value)) => Value::Bool(*value),
        Some(Json::String(text)) => Value::Word(text.clone()),
        Some(_) => return None,
    };
    Some(seen(path, value))
}

/// Every `{compute: ..}` of a plan.
fn computed(value: &Json, path: &str, into: &mut Vec<Follows>) {
    let Json::Object(map) = value else { return };
    if let (1, Some(Json::String(text))) = (map.len(), map.get("compute"))
        && let Ok(from) = serde_json::from_value(Json::String(text.clone()))
    {
        into.push(Follows { setting: path.to_owned(), from });
        return;
    }
    for (key, value) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        computed(value, &path, into);
    }
}
