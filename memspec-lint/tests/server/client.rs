//! An editor, as far as the protocol knows: it opens texts, edits them and asks.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::Duration;

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use memspec::model::Environment;
use serde_json::{Value, json};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client with its server on another thread.
pub(crate) struct Client {
    connection: Connection,
    server: Option<JoinHandle<()>>,
    asked: i32,
    /// What was published of each document: the version, and the diagnostics.
    published: HashMap<String, (i64, Value)>,
    /// What the server calls the kinds of tokens, by number.
    pub(crate) token_types: Vec<String>,
}

impl Client {
    /// A client that can do everything but ask for diagnostics, and counts columns as `encoding` says.
    pub(crate) fn new(encoding: &str) -> Self {
        Self::with(json!({
            "general": {"positionEncodings": [encoding]},
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": true}},
                "codeAction": {"resolveSupport": {"properties": ["edit"]}},
            },
            "workspace": {"workspaceEdit": {"documentChanges": true, "resourceOperations": ["create"]}},
        }))
    }

    /// A client that can do what it says. Plans that name no device are on a T4, or answers would depend on this machine.
    pub(crate) fn with(capabilities: Value) -> Self {
        let (connection, other) = Connection::memory();
        let server = std::thread::spawn(move || {
            memspec_lint::server::run(&other, Environment::default()).expect("the client keeps to the protocol");
        });
        let mut client =
            Client { connection, server: Some(server), asked: 0, published: HashMap::new(), token_types: Vec::new() };
        let options = json!({"device": "t4"});
        let offered =
            client.request("initialize", json!({"capabilities": capabilities, "initializationOptions": options}));
        let types = &offered["capabilities"]["semanticTokensProvider"]["legend"]["tokenTypes"];
        client.token_types = types.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        client.tell("initialized", json!({}));
        client
    }

    /// Asks, and waits for the result.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.try_request(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Asks, and waits for the result or the error's message.
    pub(crate) fn try_request(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.ask(method, params);
        loop {
            match self.receive() {
                Message::Response(response) if response.id == id => {
                    return response.response_result.map_err(|error| error.message);
                }
                other => self.note(other),
            }
        }
    }

    /// Asks, and does not wait.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> RequestId {
        self.asked += 1;
        let id = RequestId::from(self.asked);
        self.send(Request::new(id.clone(), method.to_owned(), params));
        id
    }

    pub(crate) fn tell(&self, method: &str, params: Value) {
        self.send(Notification::new(method.to_owned(), params));
    }

    pub(crate) fn open(&self, uri: &str, text: &str) {
        let language = if uri.ends_with(".mem") { "mem" } else { "yaml" };
        let item = json!({"uri": uri, "languageId": language, "version": 1, "text": text});
        self.tell("textDocument/didOpen", json!({"textDocument": item}));
    }

    /// Edits: each change has a range and a text.
    pub(crate) fn change(&self, uri: &str, version: i64, changes: Value) {
        let document = json!({"uri": uri, "version": version});
        self.tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": changes}));
    }

    /// All diagnostics of that version of a document. What is sent while a plan is being costed may be less, so it waits for what is asked for.
    pub(crate) fn diagnostics(&mut self, uri: &str, version: i64) -> Value {
        let report = self.request("textDocument/diagnostic", json!({"textDocument": {"uri": uri}}));
        let all = &report["items"];
        loop {
            if self.published.get(uri).is_some_and(|(published, found)| *published == version && found == all) {
                return all.clone();
            }
            let message = self.receive();
            self.note(message);
        }
    }

    /// Waits until the server asks that.
    pub(crate) fn asked_for(&mut self, method: &str) {
        loop {
            match self.receive() {
                Message::Request(request) if request.method == method => return,
                other => self.note(other),
            }
        }
    }

    pub(crate) fn send(&self, message: impl Into<Message>) {
        self.connection.sender.send(message.into()).expect("the server lives");
    }

    fn receive(&self) -> Message {
        self.connection.receiver.recv_timeout(PATIENCE).expect("the server answers")
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Notification(Notification { method, params }) if method == "textDocument/publishDiagnostics" => {
                let uri = params["uri"].as_str().unwrap().to_owned();
                let version = params["version"].as_i64().unwrap_or_default();
                self.published.insert(uri, (version, params["diagnostics"].clone()));
            }
            Message::Notification(Notification { method, params }) if method == "window/logMessage" => {
                panic!("the server complains: {params}")
            }
            _ => {}
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.request("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.server.take().unwrap().join().expect("the server ends in peace");
    }
}
