// The client of memspec-lint's language server.
const vscode = require('vscode');
const { LanguageClient, TransportKind } = require('vscode-languageclient/node');
const server = require('./server');

/** @type {LanguageClient | undefined} */
let client;

async function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand('memspec.restart', restart),
    vscode.workspace.onDidChangeConfiguration((change) => {
      const anew = ['memspec.server.path', 'memspec.yaml'].some((setting) => change.affectsConfiguration(setting));
      return anew ? restart() : undefined;
    }),
  );
  await start();
}

async function deactivate() {
  await client?.stop();
  client = undefined;
}

async function restart() {
  await deactivate();
  await start();
}

async function start() {
  const settings = vscode.workspace.getConfiguration('memspec');
  const folders = (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath);
  const command = server.find({ configured: settings.get('server.path'), folders });
  if (!command) {
    const path = 'Set its path';
    const answer = await vscode.window.showWarningMessage(
      'memspec-lint is neither in a virtual environment of this workspace nor on PATH. `pip install memspec-lint` puts it there.',
      path,
    );
    if (answer === path) {
      await vscode.commands.executeCommand('workbench.action.openSettings', 'memspec.server.path');
    }
    return;
  }
  client = new LanguageClient('memspec', 'memspec', serverOptions(command), clientOptions(settings));
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    vscode.window.showErrorMessage(`memspec: ${command} could not be started: ${error.message ?? error}`);
  }
}

function serverOptions(command) {
  return { command, args: ['server'], transport: TransportKind.stdio };
}

function clientOptions(settings) {
  const yaml = settings.get('yaml') ? ['file', 'untitled'].map((scheme) => ({ scheme, language: 'yaml' })) : [];
  return {
    documentSelector: [{ language: 'mem' }, ...yaml],
    initializationOptions: {
      device: settings.get('device') || null,
      inlayHints: settings.get('inlayHints'),
      codeLens: settings.get('codeLens'),
    },
    synchronize: {
      configurationSection: 'memspec',
      fileEvents: ['**/memspec.toml', '**/*.mem', '**/config.json'].map((files) =>
        vscode.workspace.createFileSystemWatcher(files),
      ),
    },
  };
}

module.exports = { activate, deactivate };
