//! What can be done about findings: each fix with its saving, a comment that allows it, and all that is safe at once.

use std::collections::HashMap;
use std::path::Path;

use gen_lsp_types as lsp;
use memspec::exchange::foreign;
use memspec::plan::Edit;
use serde_json::json;

use super::diagnostics;
use crate::context::Repairs;
use crate::fix::{self, Applicability, Fix};
use crate::server::documents::{self, Open};
use crate::server::snapshot::Snapshot;
use crate::suppress;
use crate::{Context, Finding};

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::CodeActionParams) -> Option<Vec<lsp::CodeActionResponse>> {
    let open = snapshot.open(&params.text_document.uri)?;
    let span = snapshot.span(open, params.range);
    let wanted = |kind: &lsp::CodeActionKind| wants(params.context.only.as_deref(), kind);
    let context = snapshot.context(open, Repairs::None);
    let findings = open.findings(&context);
    let mut actions = Vec::new();
    let is_clean = findings.is_empty();
    if wanted(&lsp::CodeActionKind::QuickFix) {
        for finding in findings {
            let touches = |label: &crate::Label| label.span.start <= span.end && span.start <= label.span.end;
            if finding.labels.first().is_some_and(touches) {
                actions.extend(of_finding(snapshot, open, &priced(snapshot, open, &context, finding)));
            }
        }
    }
    let all = lsp::CodeActionKind::SourceFixAll;
    let asked = params.context.only.is_some() && wanted(&all);
    if !is_clean && (asked || wanted(&all) && snapshot.client.resolves_edits) {
        actions.extend(fix_all(snapshot, open, asked));
    }
    if snapshot.client.creates_files && wanted(&lsp::CodeActionKind::RefactorRewrite) {
        actions.extend(convert(open));
    }
    Some(actions.into_iter().map(Into::into).collect())
}

/// Writes the plan of another trainer's file beside it, unless there is a file of that name.
fn convert(open: &Open) -> Option<lsp::CodeAction> {
    let trainer = open.document.foreign.as_ref()?.trainer;
    // as the file says it, without the device that the editor's settings name
    let plan = foreign::read(open.document.source.clone(), trainer).plans.pop()?.plan;
    let file = documents::path(&open.uri)?.with_extension("mem");
    let name = file.file_name()?.to_string_lossy().into_owned();
    let uri = documents::uri(&file).filter(|_| !file.exists())?;
    let create = lsp::CreateFile { uri: uri.clone(), options: None, annotation_id: None };
    let write = lsp::TextDocumentEdit {
        text_document: lsp::OptionalVersionedTextDocumentIdentifier {
            version: None,
            text_document_identifier: lsp::TextDocumentIdentifier { uri },
        },
        edits: vec![lsp::TextEdit { range: lsp::Range::default(), new_text: memspec::lang::write(&plan) }.into()],
    };
    Some(lsp::CodeAction {
        title: format!("convert from {} to a plan, {name}", trainer.title()),
        kind: Some(lsp::CodeActionKind::RefactorRewrite),
        edit: Some(lsp::WorkspaceEdit {
            document_changes: Some(vec![create.into(), write.into()]),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The edit of an action that was chosen.
pub(crate) fn resolve(snapshot: &Snapshot, mut action: lsp::CodeAction) -> lsp::CodeAction {
    let uri = action.data.as_ref().and_then(|data| data.get("fixAll")).and_then(|uri| uri.as_str());
    if let Some(open) = uri.and_then(|uri| snapshot.open(&uri.into())) {
        action.edit = Some(all_safe(snapshot, open));
    }
    action
}

/// Whether a client that wants `only` some kinds wants this one. A kind is wanted with those above it: `source` is also `source.fixAll`.
fn wants(only: Option<&[lsp::CodeActionKind]>, kind: &lsp::CodeActionKind) -> bool {
    let name = |kind: &lsp::CodeActionKind| {
        serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let kind = name(kind);
    only.is_none_or(|only| {
        only.iter().map(name).any(|wanted| {
            wanted.is_empty() || kind == wanted || kind.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('.'))
        })
    })
}

/// The finding with its repairs, if there is a price to find out: those of its plan are, and of no other.
fn priced(snapshot: &Snapshot, open: &Open, context: &Context<'_>, finding: Finding) -> Finding {
    let named = |plan: &&crate::context::Seen<'_>| Some(&plan.written.name) == finding.plan.as_ref();
    let Some(plan) = context.plans.iter().find(named) else { return finding };
    let priced = open.priced(plan.index, || {
        let context = snapshot.context(open, Repairs::Of(plan.index));
        open.findings(&context)
    });
    let same = |other: &&Finding| other.rule == finding.rule && other.labels == finding.labels;
    priced.iter().find(same).cloned().unwrap_or(finding)
}

fn of_finding(snapshot: &Snapshot, open: &Open, finding: &Finding) -> Vec<lsp::CodeAction> {
    let diagnostic = diagnostics::diagnostic(snapshot, open, finding);
    let action = |title: String, edits: &[Edit], preferred: bool| lsp::CodeAction {
        title,
        kind: Some(lsp::CodeActionKind::QuickFix),
        diagnostics: Some(vec![diagnostic.clone()]),
        is_preferred: preferred.then_some(true),
        edit: Some(edit(snapshot, open, edits)),
        ..Default::default()
    };
    let safe = fix::chosen(finding, Applicability::Safe);
    let fixes = finding.fixes.iter().filter(|fix| !fix.edits.is_empty());
    let title = |fix: &Fix| match fix.applicability {
        Applicability::Safe | Applicability::DisplayOnly => fix.title.clone(),
        Applicability::Unsafe => format!("{} [unsafe]", fix.title),
    };
    let mut actions: Vec<_> = fixes.map(|fix| action(title(fix), &fix.edits, Some(fix) == safe)).collect();
    if suppress::may_allow(finding)
        && let Some(comment) = suppress::comment(&open.document, finding.offset(), &[finding.rule], "why")
    {
        actions.push(action(format!("allow {} here, with a reason", finding.rule), &[comment], false));
    }
    actions
}

fn fix_all(snapshot: &Snapshot, open: &Open, now: bool) -> Option<lsp::CodeAction> {
    let edit = (now || !snapshot.client.resolves_edits).then(|| all_safe(snapshot, open));
    // Known to do nothing, it is not offered.
    if edit.as_ref().is_some_and(|edit| edit.changes.as_ref().is_some_and(HashMap::is_empty)) {
        return None;
    }
    Some(lsp::CodeAction {
        title: "apply all fixes that keep the training the same".to_owned(),
        kind: Some(lsp::CodeActionKind::SourceFixAll),
        data: edit.is_none().then(|| json!({"fixAll": open.uri.to_string()})),
        edit,
        ..Default::default()
    })
}

/// The edit that applies every safe fix, as `check --fix` does.
fn all_safe(snapshot: &Snapshot, open: &Open) -> lsp::WorkspaceEdit {
    let texts = |file: &Path| snapshot.documents.text(file);
    let fixed = fix::fix_among(&open.linter, open.document.clone(), Applicability::Safe, &texts);
    let after = fixed.document.source.text;
    let all = Edit { range: 0..open.text().len(), text: after };
    let edits = if all.text == open.text() { Vec::new() } else { vec![all] };
    edit(snapshot, open, &edits)
}

fn edit(snapshot: &Snapshot, open: &Open, edits: &[Edit]) -> lsp::WorkspaceEdit {
    let edits: Vec<_> = edits.iter().map(|edit| snapshot.edit(open, edit)).collect();
    let changes = if edits.is_empty() { HashMap::new() } else { HashMap::from([(open.uri.clone(), edits)]) };
    lsp::WorkspaceEdit { changes: Some(changes), ..Default::default() }
}
