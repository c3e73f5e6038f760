//! The way to the client.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;
use gen_lsp_types as lsp;
use gen_lsp_types::Notification as _;
use lsp_server::{ErrorCode, Message, Notification, RequestId, Response};
use serde::Serialize;

/// The way to the client.
#[derive(Clone)]
pub(super) struct Outbox {
    connection: Sender<Message>,
    /// Requests that the client wants answered.
    waiting: Arc<Mutex<HashSet<RequestId>>>,
}

impl Outbox {
    pub(super) fn new(connection: Sender<Message>) -> Self {
        Self { connection, waiting: Arc::default() }
    }

    pub(super) fn send(&self, message: impl Into<Message>) {
        // A client that is gone is noticed by the main loop.
        let _ = self.connection.send(message.into());
    }

    /// Notes a request that will be answered.
    pub(super) fn expect(&self, id: RequestId) {
        self.waiting().insert(id);
    }

    /// Answers a request; a handler that panics is an error to the client, and nothing more.
    pub(super) fn reply<R: Serialize>(&self, id: RequestId, answer: impl FnOnce() -> Result<R, String>) {
        if !self.waiting().contains(&id) {
            self.send(Response::new_err(id, ErrorCode::RequestCanceled as i32, "canceled".to_owned()));
            return;
        }
        let response = match catch_unwind(AssertUnwindSafe(answer)) {
            Ok(Ok(result)) => Response::new_ok(id, result),
            Ok(Err(why)) => Response::new_err(id, ErrorCode::RequestFailed as i32, why),
            Err(_) => {
                let message = "the request could not be answered; please report this".to_owned();
                Response::new_err(id, ErrorCode::InternalError as i32, message)
            }
        };
        self.waiting().remove(&response.id);
        self.send(response);
    }

    pub(super) fn cancel(&self, id: &RequestId) {
        self.waiting().remove(id);
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, uri: lsp::Uri, version: Option<i32>, diagnostics: Vec<lsp::Diagnostic>) {
        let params = lsp::PublishDiagnosticsParams { uri, version, diagnostics };
        self.send(Notification::new(lsp::PublishDiagnosticsNotification::METHOD.to_string(), params));
    }

    pub(super) fn log(&self, message: String) {
        let params = lsp::LogMessageParams { kind: lsp::MessageType::Error, message };
        self.send(Notification::new(lsp::LogMessageNotification::METHOD.to_string(), params));
    }
}
