// The manifest and what it names.
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const oniguruma = require('vscode-oniguruma');
const textmate = require('vscode-textmate');

const root = path.join(__dirname, '..');
const read = (file) => JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));
const manifest = read('package.json');

test('every file that the manifest names is there', () => {
  const { languages, grammars, snippets } = manifest.contributes;
  const files = [
    manifest.main,
    manifest.icon,
    ...languages.flatMap(({ configuration, icon }) => [configuration, icon.light, icon.dark]),
    ...[...grammars, ...snippets].map(({ path: file }) => file),
  ];
  assert.deepStrictEqual(files.filter((file) => !fs.existsSync(path.join(root, file))), []);
});

test('every setting that the code reads is declared, and every declared one is read', () => {
  const code = fs.readFileSync(path.join(root, 'src/extension.js'), 'utf8');
  const used = [...code.matchAll(/settings\.get\('([\w.]+)'\)/g)].map(([, name]) => `memspec.${name}`);
  // the client reads this one itself
  const declared = Object.keys(manifest.contributes.configuration.properties).filter((name) => name !== 'memspec.trace.server');
  assert.deepStrictEqual([...new Set(used)].sort(), declared.sort());
});

test('every command that the manifest names is registered', () => {
  const code = fs.readFileSync(path.join(root, 'src/extension.js'), 'utf8');
  for (const { command } of manifest.contributes.commands) {
    assert.ok(code.includes(`registerCommand('${command}'`), command);
  }
});

async function grammar() {
  await oniguruma.loadWASM(fs.readFileSync(require.resolve('vscode-oniguruma/release/onig.wasm')).buffer);
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(path.join(root, 'syntaxes/mem.tmLanguage.json'), 'utf8'), 'mem.json'),
  });
  return registry.loadGrammar('source.mem');
}

test('words have the colours that they mean', async () => {
  const mem = await grammar();
  const check = (line, expected) => {
    const { tokens } = mem.tokenizeLine(line, textmate.INITIAL);
    const named = tokens
      .map(({ startIndex, endIndex, scopes }) => [line.slice(startIndex, endIndex).trim(), scopes.at(-1).replace(/\.mem$/, '')])
      .filter(([text, scope]) => text && scope !== 'source');
    assert.deepStrictEqual(named, expected, line);
  };
  check('plan "tiny" {', [['plan', 'storage.type'], ['"tiny"', 'entity.name.class']]);
  check('  adapter lora { rank = 16 }', [
    ['adapter', 'entity.name.type'],
    ['lora', 'constant.other.symbol'],
    ['rank', 'variable.other.property'],
    ['=', 'keyword.operator'],
    ['16', 'constant.numeric'],
  ]);
  check('  device_memory <= 14.5GiB', [
    ['device_memory', 'variable.other.property'],
    ['<=', 'keyword.operator'],
    ['14.5', 'constant.numeric'],
    ['GiB', 'keyword.other.unit'],
  ]);
  check('  micro_batch = fit [4, 2] # why', [
    ['micro_batch', 'variable.other.property'],
    ['=', 'keyword.operator'],
    ['fit', 'keyword.control.choice'],
    ['4', 'constant.numeric'],
    ['2', 'constant.numeric'],
    ['# why', 'comment.line.number-sign'],
  ]);
  check('let tokens = 2 * 1024tok', [
    ['let', 'storage.type'],
    ['tokens', 'variable.other.constant'],
    ['=', 'keyword.operator'],
    ['2', 'constant.numeric'],
    ['*', 'keyword.operator'],
    ['1024', 'constant.numeric'],
    ['tok', 'keyword.other.unit'],
  ]);
});

test('every snippet opens as many braces as it closes, and has a prefix of its own', () => {
  const snippets = Object.values(read('snippets/mem.json'));
  assert.strictEqual(new Set(snippets.map(({ prefix }) => prefix)).size, snippets.length);
  for (const { prefix, body } of snippets) {
    const text = body.join('\n').replace(/\$\{\d+:([^}]*)\}/g, '$1');
    assert.strictEqual(text.split('{').length, text.split('}').length, prefix);
  }
});
