// The page as somebody sees it who is woken at night. Run by scripts/page.
"use strict";

const assert = require("node:assert/strict");
const { spawn, execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { test, before, after } = require("node:test");
const { chromium } = require("playwright-core");

const BINARY = process.env.CF_PAGE_BINARY || "target/debug/central-forwarder";
const PICTURES = process.env.CF_PAGE_PICTURES;
const INSTANCE = "page";
const PATIENCE = 60_000;
const CHROMIUM = {
  executablePath: "/usr/bin/chromium",
  // Without a sandbox: CI runs as root. The others keep it from looking for its maker's hosts.
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
};

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "central-forwarder-page-"));
const started = [];
let browser;
let central;

before(async () => {
  browser = await chromium.launch(CHROMIUM);
  central = await run("simulate", ["simulate", "--listen", "127.0.0.1:0", "--rate", "7"],
    /ws:\/\/127\.0\.0\.1:\d+\/streaming\/api/);
});

after(async () => {
  await browser?.close();
  for (const child of started) child.kill("SIGKILL");
  brokers("down");
  fs.rmSync(folder, { recursive: true });
});

// Starts our binary, and waits until what it prints matches.
function run(name, args, pattern) {
  const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  return new Promise((resolve, reject) => {
    let said = "";
    const listen = (chunk) => {
      said += chunk;
      const found = pattern.exec(said);
      if (found) resolve(Object.assign(child, { found: found[0] }));
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("exit", (code) => reject(new Error(`${name} ended with ${code}:\n${said}`)));
    setTimeout(() => reject(new Error(`${name} did not say ${pattern}:\n${said}`)), PATIENCE).unref();
  });
}

async function forwarder(name, lines) {
  const config = path.join(folder, `${name}.toml`);
  fs.writeFileSync(config, `state_dir = "${folder}/${name}"\n[admin]\nlisten = "127.0.0.1:0"\n${lines}`);
  const child = await run("run", ["run", "-c", config], /admin endpoint: http:\/\/[^/]+\//);
  return Object.assign(child, { url: child.found.split(" ").pop() });
}

function account(name, topics, key = "simulated-key") {
  return `[accounts.${name}]\ngeneration = "classic"\nendpoint = "${central.found}"\nkey = "${key}"\ntopics = ${JSON.stringify(topics)}\n`;
}

const TOPICS = ["apprf", "audit", "location", "monitoring", "presence", "security"];

function brokers(verb) {
  return execFileSync("scripts/brokers", [verb, "--instance", INSTANCE, "mosquitto"], { encoding: "utf8" });
}

// A page that asks nobody but the forwarder, and complains about nothing.
async function open(url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("ERR_")) page.complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) page.complaints.push(`it asked for ${request.url()}`);
  });
  page.setDefaultTimeout(PATIENCE);
  await page.goto(url);
  return page;
}

async function picture(page, name) {
  if (!PICTURES) return;
  fs.mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
}

const says = (page, selector, text) =>
  page.waitForFunction(([selector, text]) =>
    document.querySelector(selector)?.textContent.replace(/\s+/g, " ").includes(text), [selector, text]);

test("it shows a broker going away and coming back", async () => {
  brokers("up");
  const env = fs.readFileSync(`target/brokers/instances/${INSTANCE}/env`, "utf8");
  const [, address] = /CF_TEST_MOSQUITTO='([^']+)'/.exec(env);
  const daemon = await forwarder("outage", `${account("acme", TOPICS)}${account("globex", ["monitoring", "security"])}
[sinks.iot]
type = "mqtt"
url = "mqtt://${address}"
[sinks.archive]
type = "file"
path = "${folder}/out.ndjson"
[[routes]]
topics = "*"
sink = "iot"
destination = "central/{topic}"
[[routes]]
topics = "*"
sink = "archive"
`);
  const page = await open(daemon.url);
  const iot = '#sinks [data-name="iot"]';
  await says(page, `${iot} .state`, "● connected");
  await says(page, "#subscriptions-title", "8 of 8 connected");
  await says(page, "#verdict", "● All is well");
  await page.waitForFunction(() => parseFloat(document.querySelector("#tile-in .value").textContent) > 20);
  assert.equal(await page.locator("#attention").isVisible(), false);
  assert.equal(await page.locator(`${iot} [data-key=lag]`).count(), 1);
  if (PICTURES) {
    await page.waitForFunction(() => document.querySelector("#tile-in .line").getAttribute("d").split("L").length > 110, null, { timeout: 150_000 });
    await picture(page, "well");
  }

  brokers("kill");
  await says(page, `${iot} .state`, "▲ waiting to retry");
  await says(page, "#verdict", "▲ 1 needs attention");
  await says(page, "#attention", "sink iot");
  await says(page, `${iot} [data-key=lag]`, "frames");
  assert.equal(await page.locator(`${iot} .error`).isVisible(), true);
  await says(page, '#sinks [data-name="archive"] .state', "● connected");
  await picture(page, "outage");
  const night = await open(daemon.url, { viewport: { width: 390, height: 844 }, colorScheme: "dark", deviceScaleFactor: 2 });
  await says(night, "#attention", "sink iot");
  await picture(night, "phone-dark");
  await night.close();

  brokers("start");
  await says(page, `${iot} .state`, "● connected");
  await says(page, "#verdict", "● All is well");
  await says(page, `${iot} [data-key=last]`, "now");
  assert.deepEqual(page.complaints, []);

  daemon.removeAllListeners("exit");
  daemon.kill("SIGKILL");
  await says(page, "#offline", "No data from the forwarder");
  assert.equal(await page.locator("#offline").isVisible(), true);
  await page.close();
});

test("a thousand subscriptions are grouped, filtered, and no burden", async () => {
  const accounts = Array.from({ length: 167 }, (_, index) => account(`customer-${String(index).padStart(3, "0")}`, TOPICS));
  const daemon = await forwarder("many", `${accounts.join("")}
[sinks.archive]
type = "file"
path = "/dev/null"
[[routes]]
topics = "*"
sink = "archive"
`);
  const page = await open(daemon.url);
  page.setDefaultTimeout(180_000);
  await says(page, "#subscriptions-title", "1,002 of 1,002 connected");
  assert.equal(await page.locator(".account").count(), 167);
  assert.equal(await page.locator(".account tbody tr").count(), 0, "closed accounts have no rows");
  await picture(page, "thousand");

  await page.keyboard.press("/");
  await page.keyboard.type("customer-042/mon");
  await page.waitForFunction(() => [...document.querySelectorAll(".account")].filter((it) => !it.hidden).length === 1);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => [...document.querySelectorAll(".account")].every((it) => !it.hidden));
  await page.locator("#troubled").check();
  await says(page, "#nothing", "No subscription matches");
  assert.equal(await page.locator("#nothing").isVisible(), true);
  await page.locator("#troubled").uncheck();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("it is for keyboards, phones and the dark", async () => {
  const daemon = await forwarder("small", `${account("acme", TOPICS)}${account("globex", ["audit", "security"], "wrong")}
[sinks.archive]
type = "file"
path = "/dev/null"
[[routes]]
topics = "*"
sink = "archive"
`);
  const phone = await open(daemon.url, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  await says(phone, '.account[data-name="globex"] summary .state', "✕ 0 of 2 connected");
  await says(phone, "#attention", "subscriptions globex/audit, globex/security");
  const wide = await phone.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `it is ${wide} pixels wider than the phone`);
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await open(daemon.url, { colorScheme: "light" });
  assert.notEqual(await ground(phone), await ground(light));

  const summary = light.locator('.account[data-name="acme"] summary');
  await summary.focus();
  const isOpen = () => light.evaluate(() => document.querySelector('.account[data-name="acme"]').open);
  const before = await isOpen();
  await light.keyboard.press("Enter");
  assert.notEqual(await isOpen(), before);
  await light.keyboard.press("/");
  assert.equal(await light.evaluate(() => document.activeElement.id), "filter");
  await light.keyboard.press("Tab");
  assert.equal(await light.evaluate(() => document.activeElement.id), "troubled");
  for (const page of [phone, light]) {
    assert.deepEqual(page.complaints, []);
    await page.close();
  }
});
