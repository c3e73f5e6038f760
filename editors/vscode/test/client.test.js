// The extension as it is packed, with the real client and the real server; only the editor is not real.
const assert = require('node:assert');
const { test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { editor, extension, Range } = require('./vscode');

const PLAN = `plan "chat" {
  model  = "meta-llama/Meta-Llama-3-8B"
  device = "a100-40"
  engine = trl
  quantize nf4 { }
  adapter lora { rank = 16 }
  data { context = 2048tok }
  train { micro_batch = 4 }
}
`;

/** The server that was built: `MEMSPEC_LINT`, else the debug build of this workspace. */
function built() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(__dirname, '../../../target');
  const server = process.env.MEMSPEC_LINT ?? path.join(target, 'debug', 'memspec-lint');
  assert.ok(fs.existsSync(server), `${server} is not there: cargo build -p memspec-lint, or set MEMSPEC_LINT`);
  return server;
}

async function until(what, reached) {
  for (let n = 0; n < 600; n += 1) {
    const found = reached();
    if (found) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come`);
}

const SETTINGS = {
  'memspec.server.path': '',
  'memspec.device': '',
  'memspec.inlayHints': true,
  'memspec.codeLens': true,
  'memspec.yaml': true,
};

test('a plan that does not fit gets its diagnostic, its line, and the edit that repairs it', async () => {
  const { vscode, state, open } = editor({ ...SETTINGS, 'memspec.server.path': built() });
  const { activate, deactivate } = extension(vscode);
  await activate({ subscriptions: [] });
  assert.deepStrictEqual(state.messages, []);
  try {
    const document = open('/plans/chat.mem', 'mem', PLAN);
    const none = new vscode.CancellationTokenSource().token;
    const found = await until('the diagnostic', () => {
      const all = state.diagnostics.get(document.uri.toString());
      return all?.find((one) => String(one.code?.value ?? one.code) === 'peak-over-budget');
    });
    assert.match(String(found.message), /^plan `chat` needs/);
    assert.strictEqual(found.severity, 0);

    const lenses = await until('lenses', () => state.providers.CodeLensProvider);
    const [lens] = await lenses.provider.provideCodeLenses(document, none);
    assert.match(lens.command.title, /^peak [\d.]+ of 39\.4 GiB ▓▓▓▓▓ does not fit$/);

    const range = new Range(found.range.start, found.range.start);
    const { provider } = state.providers.CodeActionsProvider;
    const actions = await provider.provideCodeActions(document, range, { diagnostics: [found], triggerKind: 1 }, none);
    const first = actions[0];
    assert.match(first.title, /: saves [\d.]+ GiB, fits$/);
    assert.strictEqual(first.isPreferred, true);
    const edits = first.edit.edits.get(document.uri.toString());
    assert.ok(edits.some((edit) => /\d/.test(edit.newText)), JSON.stringify(edits));
  } finally {
    await deactivate();
  }
});

test('without a server it says what to do', async () => {
  const { vscode, state } = editor(SETTINGS);
  const { activate, deactivate } = extension(vscode);
  const before = { ...process.env };
  Object.assign(process.env, { PATH: '', VIRTUAL_ENV: '', CONDA_PREFIX: '' });
  try {
    await activate({ subscriptions: [] });
  } finally {
    Object.assign(process.env, before);
  }
  assert.match(state.messages[0], /pip install memspec-lint/);
  assert.ok(state.commands.has('memspec.restart'));
  await deactivate();
});
