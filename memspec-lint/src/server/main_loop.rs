//! Messages in, replies and diagnostics out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use gen_lsp_types as lsp;
use gen_lsp_types::{Notification as _, Request as _};
use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, RequestId, Response};
use memspec::model::Environment;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::diagnosing::Diagnosing;
use super::documents::{self, Documents, Open};
use super::options::Options;
use super::outbox::Outbox;
use super::snapshot::Snapshot;
use super::workers::Workers;
use super::{capabilities, handlers};

/// Threads that answer requests which take estimates, and as many that cost plans after a change: half of the machine's, so that typing never waits for
/// them, and no more than there is work for.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).clamp(1, 4)
}

/// Serves a client until it says goodbye. Models are looked up in `environment`.
///
/// # Errors
/// A client that does not keep to the protocol, or that is gone.
pub fn run(connection: &Connection, environment: Environment) -> Result<(), ProtocolError> {
    let (id, initialize) = connection.initialize_start()?;
    let (client, encoding) = capabilities::client(&initialize);
    let offered = json!({
        "capabilities": capabilities::server(encoding),
        "serverInfo": {"name": "memspec-lint", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, offered)?;

    let options = initialize.get("initializationOptions").map(Options::read).unwrap_or_default();
    let mut server = Server {
        snapshot: Snapshot { client, encoding, options: Arc::new(options), ..Snapshot::default() },
        environment,
        outbox: Outbox::new(connection.sender.clone()),
        requests: Workers::new(threads(), "requests"),
        diagnosing: Diagnosing::new(threads()),
        asked: 0,
    };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                server.request(request);
            }
            Message::Notification(notification) => server.notification(notification),
            Message::Response(_) => {}
        }
    }
    Ok(())
}

/// The server.
struct Server {
    snapshot: Snapshot,
    environment: Environment,
    outbox: Outbox,
    requests: Workers,
    diagnosing: Diagnosing,
    /// Requests that this side has made.
    asked: i32,
}

impl Server {
    fn request(&mut self, request: Request) {
        use handlers as on;
        let dispatch = Dispatch { request: Some(request), server: self };
        dispatch
            .at_once::<lsp::DefinitionRequest>(on::definition::handle)
            .at_once::<lsp::ReferencesRequest>(on::references::handle)
            .at_once::<lsp::PrepareRenameRequest>(on::rename::prepare)
            .or_refused::<lsp::RenameRequest>(on::rename::handle)
            .at_once::<lsp::DocumentSymbolRequest>(on::document_symbol::handle)
            .at_once::<lsp::FoldingRangeRequest>(on::folding::handle)
            .at_once::<lsp::DocumentFormattingRequest>(on::formatting::handle)
            .at_once::<lsp::DocumentRangeFormattingRequest>(on::formatting::range)
            .at_once::<lsp::SemanticTokensRequest>(on::semantic_tokens::handle)
            .at_once::<lsp::DocumentLinkRequest>(on::document_link::handle)
            .at_once::<lsp::CompletionRequest>(on::completion::handle)
            .with_costs::<lsp::CompletionResolveRequest>(on::completion::resolve)
            .with_costs::<lsp::HoverRequest>(on::hover::handle)
            .with_costs::<lsp::CodeLensRequest>(on::code_lens::handle)
            .with_costs::<lsp::InlayHintRequest>(on::inlay_hint::handle)
            .with_costs::<lsp::CodeActionRequest>(on::code_action::handle)
            .with_costs::<lsp::CodeActionResolveRequest>(on::code_action::resolve)
            .with_costs::<lsp::DocumentDiagnosticRequest>(on::diagnostics::pull)
            .finish();
    }

    fn notification(&mut self, notification: Notification) {
        let Notification { method, params } = notification;
        match lsp::LspNotificationMethod::from(method.as_str()) {
            lsp::DidOpenTextDocumentNotification::METHOD => self.told(params, Self::opened),
            lsp::DidChangeTextDocumentNotification::METHOD => self.told(params, Self::changed),
            lsp::DidCloseTextDocumentNotification::METHOD => self.told(params, Self::closed),
            lsp::DidSaveTextDocumentNotification::METHOD | lsp::DidChangeWatchedFilesNotification::METHOD => {
                self.files_changed()
            }
            lsp::DidChangeConfigurationNotification::METHOD => self.told(params, Self::configured),
            lsp::CancelNotification::METHOD => self.told(params, Self::canceled),
            _ => {}
        }
    }

    /// Does what a notification says. One that is not understood or goes wrong is put down in the client's log.
    fn told<P: DeserializeOwned>(&mut self, params: Value, act: fn(&mut Self, P)) {
        match P::deserialize(params) {
            Ok(params) => {
                if catch_unwind(AssertUnwindSafe(|| act(self, params))).is_err() {
                    self.outbox.log("a notification could not be handled; please report this".to_owned());
                }
            }
            Err(error) => self.outbox.log(format!("a notification is not understood: {error}")),
        }
    }

    fn opened(&mut self, params: lsp::DidOpenTextDocumentParams) {
        let item = params.text_document;
        let linter = self.linter(&item.uri);
        self.put(Open::new(item, linter, &self.snapshot.documents));
    }

    fn changed(&mut self, params: lsp::DidChangeTextDocumentParams) {
        let lsp::VersionedTextDocumentIdentifier { version, text_document_identifier } = params.text_document;
        let Some(open) = self.snapshot.open(&text_document_identifier.uri) else { return };
        let (encoding, all) = (self.snapshot.encoding, &self.snapshot.documents);
        self.put(open.changed(version, &params.content_changes, encoding, all));
    }

    fn closed(&mut self, params: lsp::DidCloseTextDocumentParams) {
        let uri = params.text_document.uri;
        let file = self.snapshot.open(&uri).and_then(|open| open.file.clone());
        self.documents().close(&uri);
        if !self.snapshot.client.pulls {
            self.diagnosing.clear(self.outbox.clone(), uri);
        }
        self.imported(file);
    }

    /// Takes a document in the place of the one of its name.
    fn put(&mut self, open: Open) {
        let file = open.file.clone();
        let open = self.documents().put(open);
        self.diagnose(open);
        self.imported(file);
    }

    /// Looks at those documents again that import a file.
    fn imported(&mut self, file: Option<PathBuf>) {
        let importers = file.map(|file| self.snapshot.documents.importers(&file)).unwrap_or_default();
        if importers.is_empty() {
            return;
        }
        for importer in importers {
            let again = importer.by(importer.linter.clone(), &self.snapshot.documents);
            let again = self.documents().put(again);
            self.diagnose(again);
        }
        self.refresh();
    }

    /// Something beside the open texts is another now: a model, data, a `memspec.toml`.
    fn files_changed(&mut self) {
        self.snapshot.memo.forget();
        self.read_anew();
    }

    fn configured(&mut self, params: lsp::DidChangeConfigurationParams) {
        let options = Options::read(&params.settings);
        if options != *self.snapshot.options {
            self.snapshot.options = Arc::new(options);
            self.read_anew();
        }
    }

    fn canceled(&mut self, params: lsp::CancelParams) {
        let id = match params.id {
            lsp::Id::Int(id) => RequestId::from(id),
            lsp::Id::String(id) => RequestId::from(id),
        };
        self.outbox.cancel(&id);
    }

    /// Reads every open document again, with what its `memspec.toml` and the editor's settings say now.
    fn read_anew(&mut self) {
        let open: Vec<Arc<Open>> = self.snapshot.documents.iter().cloned().collect();
        for document in open {
            let linter = self.linter(&document.uri);
            let again = document.by(linter, &self.snapshot.documents);
            let again = self.documents().put(again);
            self.diagnose(again);
        }
        self.refresh();
    }

    /// Has the client ask again for what it asked of documents that it did not change.
    fn refresh(&mut self) {
        let requests = [
            lsp::DiagnosticRefreshRequest::METHOD,
            lsp::CodeLensRefreshRequest::METHOD,
            lsp::InlayHintRefreshRequest::METHOD,
        ];
        for (method, _) in requests.into_iter().zip(self.snapshot.client.refreshes).filter(|(_, can)| *can) {
            self.asked += 1;
            self.outbox.send(Request::new(RequestId::from(self.asked), method.to_string(), Value::Null));
        }
    }

    fn linter(&self, uri: &lsp::Uri) -> crate::Linter {
        let (linter, mistakes) = documents::linter(uri, &self.environment, &self.snapshot.options);
        if let Some(mistakes) = mistakes {
            self.outbox.log(mistakes);
        }
        linter
    }

    /// The documents, to be changed. Handlers at work keep those that they began with.
    fn documents(&mut self) -> &mut Documents {
        Arc::make_mut(&mut self.snapshot.documents)
    }

    /// Sends a document's diagnostics to a client that does not ask for them.
    fn diagnose(&self, open: Arc<Open>) {
        if !self.snapshot.client.pulls {
            self.diagnosing.start(self.snapshot.clone(), self.outbox.clone(), open);
        }
    }
}

/// Finds the handler of a request.
struct Dispatch<'a> {
    request: Option<Request>,
    server: &'a Server,
}

impl Dispatch<'_> {
    /// Answers on the main loop: what a text says takes no time.
    fn at_once<R: lsp::Request>(mut self, handler: fn(&Snapshot, R::Params) -> R::Result) -> Self {
        if let Some((id, params)) = self.take::<R>() {
            self.server.outbox.reply(id, || Ok(handler(&self.server.snapshot, params)));
        }
        self
    }

    /// Answers on the main loop, or says why not.
    fn or_refused<R: lsp::Request>(mut self, handler: fn(&Snapshot, R::Params) -> Result<R::Result, String>) -> Self {
        if let Some((id, params)) = self.take::<R>() {
            self.server.outbox.reply(id, || handler(&self.server.snapshot, params));
        }
        self
    }

    /// Answers on another thread.
    fn with_costs<R: lsp::Request>(mut self, handler: fn(&Snapshot, R::Params) -> R::Result) -> Self {
        if let Some((id, params)) = self.take::<R>() {
            let (snapshot, outbox) = (self.server.snapshot.clone(), self.server.outbox.clone());
            self.server.requests.run(move || outbox.reply(id, || Ok(handler(&snapshot, params))));
        }
        self
    }

    /// The request, if it is of this kind.
    fn take<R: lsp::Request>(&mut self) -> Option<(RequestId, R::Params)> {
        let request = self.request.take_if(|request| request.method == R::METHOD.as_str())?;
        match serde_json::from_value(request.params) {
            Ok(params) => {
                self.server.outbox.expect(request.id.clone());
                Some((request.id, params))
            }
            Err(error) => {
                let message = format!("{}: {error}", request.method);
                self.server.outbox.send(Response::new_err(request.id, ErrorCode::InvalidParams as i32, message));
                None
            }
        }
    }

    /// Nobody took it.
    fn finish(self) {
        if let Some(Request { id, method, .. }) = self.request {
            let message = format!("`{method}` is not supported");
            self.server.outbox.send(Response::new_err(id, ErrorCode::MethodNotFound as i32, message));
        }
    }
}
