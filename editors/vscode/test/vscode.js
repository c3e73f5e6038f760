// As much of the editor's API as the client of a language server needs: real places, texts and diagnostics; what is registered is kept; the rest is there
// and does nothing.
const Module = require('node:module');
const { URI } = require('vscode-uri');

class Position {
  constructor(line, character) {
    this.line = line;
    this.character = character;
  }
}

class Range {
  constructor(start, end, endLine, endCharacter) {
    const bare = typeof start === 'number';
    this.start = bare ? new Position(start, end) : start;
    this.end = bare ? new Position(endLine, endCharacter) : end;
  }
}

class Disposable {
  constructor(dispose = () => {}) {
    this.dispose = dispose;
  }
  static from(...all) {
    return new Disposable(() => all.forEach((one) => one.dispose()));
  }
}

class EventEmitter {
  constructor() {
    this.listeners = new Set();
    this.event = (listener, self, disposables) => {
      const bound = self ? listener.bind(self) : listener;
      this.listeners.add(bound);
      const disposable = new Disposable(() => this.listeners.delete(bound));
      disposables?.push(disposable);
      return disposable;
    };
  }
  fire(value) {
    [...this.listeners].forEach((listener) => listener(value));
  }
  dispose() {
    this.listeners.clear();
  }
}

class CancellationTokenSource {
  constructor() {
    this.canceled = new EventEmitter();
    this.token = { isCancellationRequested: false, onCancellationRequested: this.canceled.event };
  }
  cancel() {
    this.token.isCancellationRequested = true;
    this.canceled.fire();
  }
  dispose() {}
}

class Diagnostic {
  constructor(range, message, severity) {
    Object.assign(this, { range, message, severity });
  }
}

class Location {
  constructor(uri, range) {
    Object.assign(this, { uri, range });
  }
}

class DiagnosticRelatedInformation {
  constructor(location, message) {
    Object.assign(this, { location, message });
  }
}

class CodeAction {
  constructor(title, kind) {
    Object.assign(this, { title, kind });
  }
}

class Kind {
  constructor(value) {
    this.value = value;
  }
  append(part) {
    return new Kind(this.value ? `${this.value}.${part}` : part);
  }
}

class WorkspaceEdit {
  constructor() {
    this.edits = new Map();
  }
  set(uri, edits) {
    this.edits.set(uri.toString(), edits);
  }
}

class TextEdit {
  constructor(range, newText) {
    Object.assign(this, { range, newText });
  }
}

/** Something of the API that nobody looks at: to be called, made, extended or asked for more. */
function blank(name) {
  const known = new Map();
  const target = class {};
  return new Proxy(target, {
    get(_, key) {
      if (key === 'then' || key === Symbol.iterator || key === Symbol.asyncIterator) {
        return undefined;
      }
      if (key === Symbol.toPrimitive || key === 'toString') {
        return () => name;
      }
      if (key === 'prototype' || typeof key === 'symbol') {
        return target[key];
      }
      if (!known.has(key)) {
        known.set(key, /^on[A-Z]/.test(key) ? new EventEmitter().event : blank(`${name}.${key}`));
      }
      return known.get(key);
    },
    set(_, key, value) {
      known.set(key, value);
      return true;
    },
    apply: () => new Disposable(),
  });
}

/** A namespace with some of its own, and blanks for the rest. */
function space(name, own) {
  const rest = blank(name);
  return new Proxy(own, { get: (_, key) => (key in own ? own[key] : rest[key]) });
}

/**
 * An editor with these settings.
 *
 * @param {Record<string, unknown>} settings by their whole names
 */
function editor(settings) {
  const opened = new EventEmitter();
  const closed = new EventEmitter();
  const shown = new EventEmitter();
  const editors = [];
  const state = { diagnostics: new Map(), providers: {}, commands: new Map(), messages: [], documents: [] };

  const get = (section) => ({
    get(key) {
      const whole = [section, key].filter(Boolean).join('.');
      if (whole in settings) {
        return settings[whole];
      }
      const inside = Object.entries(settings).filter(([name]) => name.startsWith(`${whole}.`));
      return inside.length ? Object.fromEntries(inside.map(([name, value]) => [name.slice(whole.length + 1), value])) : undefined;
    },
  });
  const workspace = space('workspace', {
    textDocuments: state.documents,
    notebookDocuments: [],
    workspaceFolders: undefined,
    getConfiguration: get,
    onDidOpenTextDocument: opened.event,
    onDidCloseTextDocument: closed.event,
    createFileSystemWatcher: (files) => Object.assign(blank(files), { dispose() {} }),
  });
  const matches = (selector, document) =>
    [selector].flat().some((filter) => (filter.language ?? filter) === document.languageId) ? 10 : 0;
  const languages = new Proxy(space('languages', {}), {
    get(rest, key) {
      if (key === 'match') {
        return matches;
      }
      if (key === 'createDiagnosticCollection') {
        return () => ({
          set: (uri, found) => state.diagnostics.set(uri.toString(), found ?? []),
          delete: (uri) => state.diagnostics.delete(uri.toString()),
          has: (uri) => state.diagnostics.has(uri.toString()),
          dispose() {},
        });
      }
      if (/^register\w+Provider$/.test(key)) {
        return (selector, provider) => {
          state.providers[key.slice('register'.length)] = { selector, provider };
          return new Disposable();
        };
      }
      return rest[key];
    },
  });
  const vscode = space('vscode', {
    Position,
    Range,
    Disposable,
    EventEmitter,
    CancellationTokenSource,
    CancellationError: class extends Error {},
    Diagnostic,
    DiagnosticRelatedInformation,
    Location,
    DiagnosticSeverity: { Error: 0, Warning: 1, Information: 2, Hint: 3 },
    CodeAction,
    CodeActionKind: Object.assign(Kind, { Empty: new Kind(''), QuickFix: new Kind('quickfix') }),
    WorkspaceEdit,
    TextEdit,
    Uri: URI,
    version: '1.91.0',
    workspace,
    languages,
    commands: space('commands', {
      registerCommand(name, run) {
        state.commands.set(name, run);
        return new Disposable();
      },
      executeCommand: async (name, ...rest) => state.commands.get(name)?.(...rest),
    }),
    window: space('window', {
      tabGroups: { all: [], onDidChangeTabs: new EventEmitter().event, onDidChangeTabGroups: new EventEmitter().event },
      visibleTextEditors: editors,
      onDidChangeVisibleTextEditors: shown.event,
      activeTextEditor: undefined,
      createOutputChannel: (name) => blank(name),
      showWarningMessage: async (text) => void state.messages.push(text),
      showErrorMessage: async (text) => void state.messages.push(text),
    }),
    env: space('env', { appName: 'test', language: 'en', machineId: 'test', remoteName: undefined }),
    extensions: space('extensions', { getExtension: () => undefined }),
  });

  /** Opens a text. */
  function open(name, languageId, text) {
    const uri = URI.file(name);
    const document = { uri, fileName: name, languageId, version: 1, isClosed: false, isDirty: false, getText: () => text };
    state.documents.push(document);
    editors.push({ document });
    shown.fire(editors);
    opened.fire(document);
    return document;
  }
  return { vscode, state, open };
}

/** The extension as it is packed, in an editor. */
function extension(vscode) {
  const load = Module._load;
  Module._load = (name, ...rest) => (name === 'vscode' ? vscode : load(name, ...rest));
  try {
    const path = require.resolve('../dist/extension.js');
    delete require.cache[path];
    return require(path);
  } finally {
    Module._load = load;
  }
}

module.exports = { editor, extension, Position, Range };
