// Opens pages in headless Chromium as a reader would: wide and on a phone, light and dark, without a network. Says everything that is wrong.
//
//   node tests/page/check.mjs [--shots FOLDER] PAGE.html ...
//
// It talks to the browser over its debugging pipe, so nothing has to be installed but Chromium and node.
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const words = process.argv.slice(2);
const shots = words[0] === "--shots" ? (words.shift(), resolve(words.shift())) : undefined;
const VIEWS = [
    { name: "wide-light", width: 1280, height: 900, scheme: "light" },
    { name: "wide-dark", width: 1280, height: 900, scheme: "dark" },
    { name: "phone-light", width: 390, height: 844, scheme: "light" },
    { name: "phone-dark", width: 390, height: 844, scheme: "dark" },
];

/** A browser, asked over its pipe: messages that end with a zero byte. */
class Browser {
    constructor() {
        this.profile = mkdtempSync(join(tmpdir(), "memspec-page-"));
        const program = process.env.CHROMIUM ?? "chromium";
        const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"];
        this.process = spawn(program, [...flags, `--user-data-dir=${this.profile}`, "--remote-debugging-pipe", "about:blank"], {
            stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
        });
        this.ended = new Promise((end) => this.process.once("exit", end));
        this.waiting = new Map();
        this.events = [];
        this.next = 1;
        let rest = "";
        this.process.stdio[4].setEncoding("utf8").on("data", (text) => {
            const messages = (rest + text).split("\0");
            rest = messages.pop();
            messages.forEach((message) => this.receive(JSON.parse(message)));
        });
        const fail = (why) => this.waiting.forEach(({ fail }) => fail(new Error(why)));
        this.process.once("error", (error) => fail(`cannot start ${program}: ${error.message}`));
        this.process.once("exit", (code) => fail(`${program} ended with ${code}`));
    }

    receive(message) {
        const { id, error, result } = message;
        if (id === undefined) return void this.events.push(message);
        const { done, fail } = this.waiting.get(id);
        this.waiting.delete(id);
        error ? fail(new Error(error.message)) : done(result);
    }

    ask(method, params = {}, sessionId = undefined) {
        const id = this.next++;
        return new Promise((done, fail) => {
            this.waiting.set(id, { done, fail });
            this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
        });
    }

    async event(method, sessionId) {
        for (let tries = 0; tries < 1000; tries++) {
            const found = this.events.find((event) => event.method === method && event.sessionId === sessionId);
            if (found) return found;
            await new Promise((done) => setTimeout(done, 10));
        }
        throw new Error(`no ${method} in ten seconds`);
    }

    async close() {
        await this.ask("Browser.close").catch(() => {});
        await this.ended;
        rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

/** Runs in the page: what a reader would trip over. */
function faults() {
    const found = [];
    const wide = document.documentElement.scrollWidth;
    if (wide > innerWidth) {
        const outside = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
        found.push(`scrolls sideways: ${wide} of ${innerWidth} px, by ${outside.slice(0, 3).map((one) => one.outerHTML.slice(0, 80)).join(" | ")}`);
    }

    // WCAG 2.2, 1.4.3: text against what lies behind it.
    const numbers = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const [r, g, b, a = 1] = numbers(getComputedStyle(one).backgroundColor);
            if (a > 0.9) return [r, g, b];
        }
        return [255, 255, 255];
    };
    // Names in the picture stand on its areas, whose colours their classes have.
    const fill = (one) => {
        const area = [...document.querySelectorAll("path.area")].find((path) => [...one.classList].some((name) => name !== "in" && path.classList.contains(name)));
        return numbers(getComputedStyle(area).fill);
    };
    const shown = (one) => one.getClientRects().length > 0;
    const texts = [...document.querySelectorAll("main *")].filter(
        (one) => !(one instanceof SVGElement) && shown(one) && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    for (const one of texts) {
        const named = one.matches(".words .in") && !one.matches(".unused");
        const [a, b] = [light(numbers(getComputedStyle(one).color)), light(named ? fill(one) : behind(one))].sort((a, b) => b - a);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)} of ${one.outerHTML.slice(0, 90)}`);
    }

    // Words of the picture do not cover each other, nor leave it.
    for (const selector of [".words", ".phases", ".steps"]) {
        for (const group of document.querySelectorAll(selector)) {
            const names = [...group.children].filter((one) => shown(one) && one.textContent.trim());
            const box = (one) => {
                const range = document.createRange();
                range.selectNodeContents(one);
                return range.getBoundingClientRect();
            };
            const boxes = names.map(box);
            const plot = group.closest("figure").getBoundingClientRect();
            boxes.forEach((a, i) => {
                if (a.left < plot.left - 1 || a.right > plot.right + 1) found.push(`\`${names[i].textContent}\` leaves the picture`);
                boxes.slice(i + 1).forEach((b, j) => {
                    const over = Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
                    if (over) found.push(`\`${names[i].textContent}\` covers \`${names[i + 1 + j].textContent}\``);
                });
            });
        }
    }

    // What assistive technology needs.
    const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
    ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => found.push(`two elements are called ${id}`));
    for (const svg of document.querySelectorAll("svg")) {
        const named = svg.getAttribute("aria-labelledby").split(" ").every((id) => document.getElementById(id)?.textContent.trim());
        if (!named) found.push("a picture without title and description");
        if (!svg.closest("section").querySelector("table")) found.push("a picture without a table beside it");
    }
    document.querySelectorAll("table").forEach((table) => {
        if (!table.caption?.textContent.trim()) found.push("a table without a caption");
        if (table.querySelector("thead th:not([scope]), tbody tr:not(:has(th[scope=row]))")) found.push("a table without heads");
    });
    if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
    return found;
}

async function look(browser, page, view) {
    const { targetId } = await browser.ask("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.ask("Target.attachToTarget", { targetId, flatten: true });
    const ask = (method, params) => browser.ask(method, params, sessionId);
    await Promise.all(["Page", "Network", "Log", "Runtime"].map((domain) => ask(`${domain}.enable`)));
    await ask("Emulation.setDeviceMetricsOverride", { width: view.width, height: view.height, deviceScaleFactor: 1, mobile: view.width < 500 });
    await ask("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: view.scheme }] });
    const url = pathToFileURL(resolve(page)).href;
    await ask("Page.navigate", { url });
    await browser.event("Page.loadEventFired", sessionId);

    const { result, exceptionDetails } = await ask("Runtime.evaluate", { expression: `(${faults})()`, returnByValue: true });
    const found = exceptionDetails ? [exceptionDetails.exception.description] : result.value;
    const printed = await ask("Page.printToPDF", { printBackground: true });
    if (printed.data.length < 10_000) found.push("prints nothing");
    if (shots) {
        const { cssContentSize: size } = await ask("Page.getLayoutMetrics");
        const clip = { x: 0, y: 0, width: view.width, height: size.height, scale: 1 };
        const { data } = await ask("Page.captureScreenshot", { clip, captureBeyondViewport: true });
        mkdirSync(shots, { recursive: true });
        const name = join(shots, `${basename(page, ".html")}-${view.name}`);
        writeFileSync(`${name}.png`, Buffer.from(data, "base64"));
        writeFileSync(`${name}.pdf`, Buffer.from(printed.data, "base64"));
    }
    for (const { method, params } of browser.events.filter((event) => event.sessionId === sessionId)) {
        if (method === "Network.requestWillBeSent" && ![url, "data:,"].includes(params.request.url)) found.push(`asks for ${params.request.url}`);
        if (method === "Log.entryAdded") found.push(`says ${params.entry.text}`);
        if (method === "Runtime.consoleAPICalled" || method === "Runtime.exceptionThrown") found.push(`says ${JSON.stringify(params)}`);
    }
    await browser.ask("Target.closeTarget", { targetId });
    return found;
}

const browser = new Browser();
let failed = false;
try {
    for (const page of words) {
        for (const view of VIEWS) {
            const found = await look(browser, page, view);
            failed ||= found.length > 0;
            console.log(`${basename(page)} ${view.name}: ${found.length ? found.map((one) => `\n  ${one}`).join("") : "as it should be"}`);
        }
    }
} finally {
    await browser.close();
}
process.exit(failed || words.length === 0 ? 1 : 0);
