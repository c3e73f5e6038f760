//! Diagnostics: sent after each change, or when the client asks (`textDocument/diagnostic`).

use std::ops::Range;

use gen_lsp_types as lsp;

use crate::context::Repairs;
use crate::server::documents::Open;
use crate::server::snapshot::Snapshot;
use crate::{Finding, Severity};

/// What is wrong with a document, without the price of repairs; if not `wait`, as far as it is known without an estimate more.
pub(crate) fn of(snapshot: &Snapshot, open: &Open, wait: bool) -> Vec<lsp::Diagnostic> {
    let context = if wait { snapshot.context(open, Repairs::None) } else { snapshot.known_context(open, None) };
    open.findings(&context).iter().map(|finding| diagnostic(snapshot, open, finding)).collect()
}

/// The reply to a client that asks.
pub(crate) fn pull(snapshot: &Snapshot, params: lsp::DocumentDiagnosticParams) -> lsp::DocumentDiagnosticReport {
    let items = snapshot.open(&params.text_document.uri).map(|open| of(snapshot, open, true)).unwrap_or_default();
    lsp::DocumentDiagnosticReport::RelatedFullDocumentDiagnosticReport(lsp::RelatedFullDocumentDiagnosticReport {
        related_documents: None,
        full_document_diagnostic_report: lsp::FullDocumentDiagnosticReport { result_id: None, items },
    })
}

/// A finding as a diagnostic: its other places are related ones, its notes and help follow the message.
pub(super) fn diagnostic(snapshot: &Snapshot, open: &Open, finding: &Finding) -> lsp::Diagnostic {
    let at = |span: &Range<usize>| snapshot.range(open, span.clone());
    let notes = finding.notes.iter().map(|note| format!("\n{note}"));
    let help = finding.help.iter().map(|help| format!("\nhelp: {help}"));
    let message: String = std::iter::once(finding.message.clone()).chain(notes).chain(help).collect();
    let label = |text: &str| if text.is_empty() { "here".to_owned() } else { text.to_owned() };
    let related = finding.labels.iter().skip(1).map(|other| lsp::DiagnosticRelatedInformation {
        location: lsp::Location { uri: open.uri.clone(), range: at(&other.span) },
        message: label(&other.text),
    });
    let related: Vec<_> = related.collect();
    lsp::Diagnostic {
        range: finding.labels.first().map(|first| at(&first.span)).unwrap_or_default(),
        severity: Some(match finding.severity {
            Severity::Error => lsp::DiagnosticSeverity::Error,
            Severity::Warning => lsp::DiagnosticSeverity::Warning,
            Severity::Info => lsp::DiagnosticSeverity::Information,
        }),
        code: Some(finding.rule.to_owned().into()),
        source: Some("memspec".to_owned()),
        message: message.into(),
        tags: (finding.rule == "unused-allow").then(|| vec![lsp::DiagnosticTag::Unnecessary]),
        related_information: (!related.is_empty()).then_some(related),
        ..Default::default()
    }
}
