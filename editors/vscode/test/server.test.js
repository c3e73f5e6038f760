// Which server is found.
const assert = require('node:assert');
const { test } = require('node:test');
const { find } = require('../src/server');

function check(there, where, expected) {
  const found = find({ env: { PATH: '/usr/bin' }, platform: 'linux', exists: (file) => there.includes(file), ...where });
  assert.strictEqual(found, expected);
}

test('the settings go first, then a virtual environment, then PATH', () => {
  const there = ['/usr/bin/memspec-lint', '/work/.venv/bin/memspec-lint', '/env/bin/memspec-lint'];
  check(there, { folders: ['/work'] }, '/work/.venv/bin/memspec-lint');
  check(there, { folders: ['/other'] }, '/usr/bin/memspec-lint');
  check(there, { env: { VIRTUAL_ENV: '/env', PATH: '/usr/bin' } }, '/env/bin/memspec-lint');
  check(there, { folders: ['/work'], configured: ' ${workspaceFolder}/lint ' }, '/work/lint');
  check([], { folders: ['/work'] }, undefined);
});

test('Windows has other names for it', () => {
  const found = find({
    folders: ['C:/work'],
    env: { Path: 'C:/a;C:/b' },
    platform: 'win32',
    exists: (file) => file.replaceAll('\\', '/') === 'C:/b/memspec-lint.exe',
  });
  assert.strictEqual(found.replaceAll('\\', '/'), 'C:/b/memspec-lint.exe');
});
