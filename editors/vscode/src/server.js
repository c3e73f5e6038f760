// Which `memspec-lint` is started.
const fs = require('node:fs');
const path = require('node:path');

/**
 * The server's program: what the settings say, else that of a virtual environment of the workspace, else the one on PATH.
 *
 * @param {{ configured?: string, folders?: string[], env?: NodeJS.ProcessEnv, platform?: string, exists?: (file: string) => boolean }} where
 * @returns {string | undefined}
 */
function find({ configured, folders = [], env = process.env, platform = process.platform, exists = isFile }) {
  if (configured?.trim()) {
    return inFolders(configured.trim(), folders);
  }
  const windows = platform === 'win32';
  const name = windows ? 'memspec-lint.exe' : 'memspec-lint';
  const scripts = windows ? 'Scripts' : 'bin';
  const environments = folders.flatMap((folder) => ['.venv', 'venv'].map((venv) => path.join(folder, venv)));
  if (env.VIRTUAL_ENV) {
    environments.push(env.VIRTUAL_ENV);
  }
  if (env.CONDA_PREFIX) {
    environments.push(env.CONDA_PREFIX);
  }
  const onPath = (env.PATH ?? env.Path ?? '').split(windows ? ';' : ':').filter(Boolean);
  const places = [...environments.map((folder) => path.join(folder, scripts)), ...onPath];
  return places.map((folder) => path.join(folder, name)).find(exists);
}

/** A path of the settings: `~` is the home folder, `${workspaceFolder}` the first folder. */
function inFolders(configured, folders) {
  const home = process.env.HOME ?? process.env.USERPROFILE ?? '~';
  return configured.replace(/^~(?=[\\/])/, home).replaceAll('${workspaceFolder}', folders[0] ?? '.');
}

function isFile(file) {
  try {
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

module.exports = { find };
