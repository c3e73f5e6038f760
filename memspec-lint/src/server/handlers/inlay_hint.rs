//! Beside each setting, the bytes that it owns at the peak; beside a `fit` or `auto`, what was chosen.

use std::collections::BTreeMap;
use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::plan::{Place, Plan, Spans};
use memspec::quantity::Bytes;

use crate::context::{Repairs, Seen};
use crate::output::estimate::by_setting;
use crate::server::documents::Open;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::InlayHintParams) -> Option<Vec<lsp::InlayHint>> {
    let open = snapshot.open(&params.text_document.uri)?;
    if !snapshot.options.inlay_hints {
        return Some(Vec::new());
    }
    let shown = snapshot.span(open, params.range);
    let context = snapshot.context(open, Repairs::None);
    Some(context.plans.iter().flat_map(|plan| hints(snapshot, open, plan, &shown)).collect())
}

/// The hints of a plan; of a sweep, those of the run that needs most.
fn hints(snapshot: &Snapshot, open: &Open, plan: &Seen<'_>, shown: &Range<usize>) -> Vec<lsp::InlayHint> {
    let Some((resolved, estimate)) = plan.estimates().max_by_key(|(_, estimate)| estimate.needs().0) else {
        return Vec::new();
    };
    let spans = &plan.written.spans;
    let mut places: BTreeMap<usize, (Option<String>, u64, Vec<&str>)> = BTreeMap::new();
    for (setting, value) in &resolved.chosen {
        if let Some(place) = spans.get(setting) {
            places.entry(place.value.end).or_default().0 = Some(value.clone());
        }
    }
    for (setting, bytes, parts) in by_setting(estimate) {
        let at = match open.document.foreign {
            Some(_) => spans.get(setting).map(|place| line_of_key(open.text(), place)),
            None => place(spans, setting).map(|at| at + colon(&open.text()[at..])),
        };
        if let Some(at) = at {
            let (_, sum, all) = places.entry(at).or_default();
            *sum += bytes;
            all.extend(parts);
        }
    }
    let hint = |(at, (chosen, bytes, parts)): (usize, (Option<String>, u64, Vec<&str>))| {
        let chosen = chosen.map(|value| format!("→ {value}"));
        let bytes = (bytes > 0).then(|| Bytes(bytes).to_string());
        let words: Vec<String> = chosen.into_iter().chain(bytes).collect();
        let tooltip = (!parts.is_empty()).then(|| format!("at the peak of `{}`: {}", estimate.name, parts.join(", ")));
        lsp::InlayHint {
            position: snapshot.position(open, at),
            label: words.join(", ").into(),
            kind: None,
            text_edits: None,
            tooltip: tooltip.map(Into::into),
            padding_left: Some(true),
            padding_right: Some(false),
            data: None,
        }
    };
    let in_sight = |at: &usize| shown.contains(at) || shown.end == *at;
    places.into_iter().filter(|(at, _)| in_sight(at)).map(hint).collect()
}

/// In YAML and JSON a block's name ends with a colon, and may be in quotes.
fn colon(after: &str) -> usize {
    let rest = after.strip_prefix('"').unwrap_or(after);
    if rest.starts_with(':') { after.len() - rest.len() + 1 } else { 0 }
}

/// Behind the value of a trainer's key; behind the key where the value has lines of its own.
fn line_of_key(text: &str, place: &Place) -> usize {
    let between = text.get(place.key.end..place.value.end).unwrap_or_default();
    if between.contains('\n') { place.key.end + colon(&text[place.key.end..]) } else { place.value.end }
}

/// Behind the setting's value, or else behind the head of the block that it would stand in.
fn place(spans: &Spans, setting: &str) -> Option<usize> {
    let block = setting.split('.').next().unwrap_or(setting);
    let is_setting = |path: &str| Plan::setting(path).is_some();
    if let Some(place) = spans.get(setting).filter(|_| is_setting(setting)) {
        return Some(place.value.end);
    }
    let place = spans.get(block).filter(|_| !is_setting(block))?;
    Some(spans.get(&format!("{block}.kind")).map_or(place.key.end, |kind| kind.key.end.max(place.key.end)))
}
