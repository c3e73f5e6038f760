//! What client and server tell each other at the beginning.

use gen_lsp_types as lsp;
use serde_json::Value;

use super::handlers::semantic_tokens;
use super::positions::Encoding;
use super::snapshot::Client;

/// What the client can do. Read from plain JSON: a client that says something odd elsewhere is served all the same.
pub(super) fn client(initialize: &Value) -> (Client, Encoding) {
    let at = |pointer: &str| initialize.pointer(&format!("/capabilities/{pointer}"));
    let is = |pointer: &str| at(pointer).and_then(Value::as_bool).unwrap_or(false);
    let lists = |pointer: &str, what: &str| {
        at(pointer).and_then(Value::as_array).is_some_and(|list| list.iter().any(|one| one == what))
    };
    let client = Client {
        pulls: at("textDocument/diagnostic").is_some_and(Value::is_object),
        resolves_edits: lists("textDocument/codeAction/resolveSupport/properties", "edit"),
        creates_files: lists("workspace/workspaceEdit/resourceOperations", "create"),
        snippets: is("textDocument/completion/completionItem/snippetSupport"),
        refreshes: ["diagnostics", "codeLens", "inlayHint"].map(|what| is(&format!("workspace/{what}/refreshSupport"))),
    };
    let encoding = if lists("general/positionEncodings", "utf-8") { Encoding::Utf8 } else { Encoding::Utf16 };
    (client, encoding)
}

/// What the server does.
pub(super) fn server(encoding: Encoding) -> lsp::ServerCapabilities {
    lsp::ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => lsp::PositionEncodingKind::UTF8,
            Encoding::Utf16 => lsp::PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(
            lsp::TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(lsp::TextDocumentSyncKind::Incremental),
                save: Some(true.into()),
                ..Default::default()
            }
            .into(),
        ),
        completion_provider: Some(lsp::CompletionOptions {
            trigger_characters: Some(["=", " ", "\"", "(", "["].map(str::to_owned).to_vec()),
            resolve_provider: Some(true),
            ..Default::default()
        }),
        hover_provider: Some(true.into()),
        definition_provider: Some(true.into()),
        references_provider: Some(true.into()),
        document_symbol_provider: Some(true.into()),
        code_action_provider: Some(
            lsp::CodeActionOptions {
                code_action_kinds: Some(vec![
                    lsp::CodeActionKind::QuickFix,
                    lsp::CodeActionKind::SourceFixAll,
                    lsp::CodeActionKind::RefactorRewrite,
                ]),
                resolve_provider: Some(true),
                ..Default::default()
            }
            .into(),
        ),
        code_lens_provider: Some(lsp::CodeLensOptions { resolve_provider: Some(false), ..Default::default() }),
        document_link_provider: Some(lsp::DocumentLinkOptions { resolve_provider: Some(false), ..Default::default() }),
        document_formatting_provider: Some(true.into()),
        document_range_formatting_provider: Some(true.into()),
        rename_provider: Some(lsp::RenameOptions { prepare_provider: Some(true), ..Default::default() }.into()),
        folding_range_provider: Some(true.into()),
        semantic_tokens_provider: Some(
            lsp::SemanticTokensOptions {
                legend: semantic_tokens::legend(),
                full: Some(true.into()),
                ..Default::default()
            }
            .into(),
        ),
        inlay_hint_provider: Some(true.into()),
        diagnostic_provider: Some(
            lsp::DiagnosticOptions {
                identifier: Some("memspec".to_owned()),
                inter_file_dependencies: true,
                ..Default::default()
            }
            .into(),
        ),
        ..Default::default()
    }
}
