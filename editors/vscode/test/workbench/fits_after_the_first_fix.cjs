// What a user does in the window, by keys, and what is seen there.
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const puppeteer = require('puppeteer-core');

const { CHROMIUM, SHOTS, MEMSPEC_TEST_ADDRESS: address, MEMSPEC_TEST_FOLDER: folder } = process.env;
const file = path.join(folder, 'plan.mem');

async function main() {
  const browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    // root, as CI often is, has no sandbox
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    defaultViewport: { width: 1400, height: 800 },
  });
  const page = await browser.newPage();
  try {
    await session(page);
  } catch (error) {
    await shot(page, 'failed');
    throw error;
  } finally {
    await browser.close();
  }
}

async function session(page) {
  const before = fs.readFileSync(file, 'utf8');
  const payload = JSON.stringify([['openFile', `vscode-remote://${address}${file}`]]);
  await page.goto(`http://${address}/?folder=${folder}&payload=${encodeURIComponent(payload)}`);

  await seen(page, 'an error under the text', '.squiggly-error');
  await says(page, 'the line above the plan', '.codelens-decoration', /peak [\d.]+ of 39\.4 GiB ▓▓▓▓▓ does not fit/);
  await shot(page, 'found');

  // The next mistake of the file, in words.
  await page.click('.view-lines');
  await page.keyboard.press('F8');
  const words = await says(page, 'the finding', '.marker-widget .descriptioncontainer', /plan `chat` needs [\d.]+ GiB[^]*peak-over-budget/);
  await page.keyboard.press('Escape');

  // The menu of its fixes; the first one is taken. Where the keys come while VS Code asks for the lamp, its answer goes before theirs
  // and the menu stays closed: then they are pressed again.
  const menu = '.action-widget .action .title';
  await until('the menu of fixes', async () => {
    await press(page, 'Control', '.');
    return page.waitForSelector(menu, { timeout: 3000 }).catch(() => false);
  });
  const fix = await says(page, 'the first fix', menu, /: saves [\d.]+ GiB, fits/);
  await shot(page, 'fixes');
  await page.keyboard.press('Enter');
  await gone(page, 'the error under the text', '.squiggly-error');
  const fits = await says(page, 'the line above the plan', '.codelens-decoration', /peak [\d.]+ of 39\.4 GiB ▓+░* fits/);

  assert.strictEqual(fs.readFileSync(file, 'utf8'), before, 'nothing is written before it is saved');
  await press(page, 'Control', 's');
  await until('the file on disk changes', () => fs.readFileSync(file, 'utf8') !== before);
  await shot(page, 'fits');

  // A server that dies is started again, and knows what is open.
  process.kill(server());
  await press(page, 'Control', 'End');
  await page.keyboard.type('plan');
  await seen(page, 'an error from a new server', '.squiggly-error');
  await press(page, 'Control', 'z');
  await gone(page, 'the error under the text', '.squiggly-error');
  console.log(`VS Code: "${words.split('\n')[0]}"; took "${fix}"; then "${fits}"; the server was killed, and a new one answers`);
}

/** The process that the extension started: nothing else on this machine has its path. */
function server() {
  const started = path.join(folder, '.venv/bin/memspec-lint');
  const words = (pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch {
      return []; // it ended, or is none of ours
    }
  };
  const found = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && words(pid)[0] === started);
  assert.strictEqual(found.length, 1, `${found.length} servers`);
  return Number(found[0]);
}

async function press(page, modifier, key) {
  await page.keyboard.down(modifier);
  await page.keyboard.press(key);
  await page.keyboard.up(modifier);
}

const timeout = 60000;

async function seen(page, what, selector) {
  await page.waitForSelector(selector, { timeout }).catch(() => assert.fail(`${what} did not come`));
}

async function gone(page, what, selector) {
  await page.waitForFunction((wanted) => !document.querySelector(wanted), { timeout }, selector).catch(() => assert.fail(`${what} stayed`));
}

/** Its text, with plain blanks, once it is as it should be: VS Code fills what it shows piece by piece. */
async function says(page, what, selector, wanted) {
  let text;
  await until(`${what} says ${wanted}`, async () => {
    text = await page.evaluate((it) => document.querySelector(it)?.innerText.replaceAll('\u00a0', ' '), selector);
    return wanted.test(text ?? '');
  }, () => `, it says ${JSON.stringify(text)}`);
  return text;
}

async function until(what, reached, instead = () => '') {
  for (const end = Date.now() + timeout; Date.now() < end; ) {
    if (await reached()) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`waited in vain: ${what}${instead()}`);
}

async function shot(page, name) {
  if (SHOTS) {
    await page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
