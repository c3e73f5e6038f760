//! Keys of another trainer's file: which setting each is, what that means, the trainer's default, and its price.

use std::fmt::Write;
use std::ops::Range;

use memspec::exchange::foreign::{self, KnownKey, Says, Trainer};
use memspec::plan::{Place, Plan};

use super::{Found, card, page, symbol};
use crate::Context;
use crate::context::Seen;

/// The key whose name or value is at a byte.
pub(super) fn at(context: &Context<'_>, offset: usize) -> Option<Found> {
    let foreign = context.document.foreign.as_ref()?;
    let on = |span: &Range<usize>| span.start <= offset && offset <= span.end && !span.is_empty();
    let keys = foreign::written(context.document).into_iter();
    let here = keys.filter(|(_, place)| on(&place.key) || on(&place.value));
    let (name, place) = here.min_by_key(|(_, place)| place.statement.len())?;
    let plan = context.plans.first()?;
    let is_model = name == foreign::model_key(foreign.trainer);
    let word = context.text(place.value.clone()).trim_matches(['"', '\'']);
    if on(&place.value) && is_model {
        return Some((place.value.clone(), card::model(word, context)?));
    }
    let mut text = key(foreign.trainer, &name, &place, plan);
    if on(&place.value)
        && let Some(meaning) = meaning(foreign.trainer, &name, word)
    {
        text = format!("{meaning}\n\n---\n\n{text}");
    }
    for note in foreign.notes.iter().filter(|note| note.name == name) {
        let _ = write!(text, "\n\n{}: {}", note.kind.heading(), note.why);
    }
    if is_model {
        let _ = write!(text, "\n\n---\n\n{}", page::plan(plan));
    }
    Some((if on(&place.key) { place.key } else { place.value }, text))
}

/// A key of a file, with what the settings own that come from it.
fn key(trainer: Trainer, name: &str, place: &Place, plan: &Seen<'_>) -> String {
    let known = foreign::known(trainer).find(|known| known.name == name);
    let mut text = match known {
        Some(known) => about(trainer, &known),
        None => format!("**{name}**: no key of {} that is known here", trainer.title()),
    };
    let from_here = |setting: &str| plan.written.spans.get(setting).is_some_and(|other| other.key == place.key);
    if let Some(price) = page::price(plan, from_here) {
        let _ = write!(text, "\n\n{price}");
    }
    text
}

/// What a key means, and its default.
pub(in crate::server::handlers) fn about(trainer: Trainer, key: &KnownKey) -> String {
    let title = trainer.title();
    let mut text = match key.says {
        Says::Setting(path) => {
            let doc = Plan::setting(path).map(|setting| setting.doc).unwrap_or_default();
            format!("**{}** of {title}: `{path}`\n\n{doc}", key.name)
        }
        Says::Part(what) => format!("**{}** of {title}: {what}", key.name),
        Says::Former(now) => format!("**{}** of {title}: a former name of `{now}`", key.name),
        Says::Aside(what) => format!("**{}** of {title}: {what}; it takes no memory of the device", key.name),
        Says::Refused(why) => {
            format!("**{}** of {title}: it may change memory in a way that is not costed: {why}", key.name)
        }
        Says::Differs(how) => format!("**{}** of {title}: costed, with a difference: {how}", key.name),
    };
    if let Some(default) = key.default {
        let _ = write!(text, "\n\nDefault of {title}: `{default}`");
    }
    text
}

/// What a word of a key means in a plan.
fn meaning(trainer: Trainer, name: &str, word: &str) -> Option<String> {
    let Says::Setting(path) = foreign::known(trainer).find(|known| known.name == name)?.says else { return None };
    let (_, ours) = foreign::words(trainer, name).into_iter().find(|(theirs, _)| *theirs == word)?;
    symbol(&Plan::setting(path)?.kind.symbols(), ours)
}
