// Shows what /api/events sends: first the whole status, then each second what has changed.
"use strict";

const SIGNS = { connected: "●", connecting: "◌", backing_off: "▲", refused: "✕", stopped: "■" };
const WORDS = {
  connected: "connected", connecting: "connecting", backing_off: "waiting to retry",
  refused: "refused", stopped: "stopped",
};
// From good to bad: an account is as bad as the worst of its subscriptions.
const ORDER = ["connected", "connecting", "stopped", "backing_off", "refused"];

const SAMPLES = 120; // seconds that a curve shows
const STEADY = 5; // seconds over which a rate is averaged
const SILENCE = 5000; // milliseconds without data, after which the page says so
const TRY_AGAIN = 10000; // milliseconds until a stream that was refused is asked for again
const OPEN_ACCOUNTS = 4; // so many are shown with all their topics
const LISTED = 30; // lines in the list of what needs attention
const NAMED = 6; // names in one of them

const $ = (selector, root = document) => root.querySelector(selector);
const make = (template) => $(template).content.firstElementChild.cloneNode(true);

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function putState(element, state, words) {
  if (element.dataset.state !== state) element.dataset.state = state;
  put($(".sign", element), SIGNS[state]);
  put($(".text", element), words ?? WORDS[state]);
}

// Numbers for people.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });

const count = (number) => (number < 10000 ? plain.format(number) : short.format(number));
const rate = (number) => (number > 0 && number < 10 ? number.toFixed(1) : count(number));
const many = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit === 0 || bytes >= 100 ? bytes.toFixed(0) : bytes.toFixed(1)} ${units[unit]}`;
}

function span(seconds) {
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  if (seconds < 100 * 60) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 48 * 3600) return `${(seconds / 3600).toFixed(0)} h`;
  return `${(seconds / 86400).toFixed(0)} d`;
}

const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

function ago(time, now) {
  if (!time) return "never";
  const seconds = between(time, now);
  return seconds < 1.5 ? "now" : `${span(seconds)} ago`;
}

// A counter, and how fast it increases.
class Speed {
  samples = [];
  last = null;

  add(value, seconds) {
    if (this.last !== null) this.samples.push(Math.max(0, (value - this.last) / seconds));
    if (this.samples.length > SAMPLES) this.samples.shift();
    this.last = value;
  }

  get now() {
    const recent = this.samples.slice(-STEADY);
    return recent.length ? recent.reduce((sum, sample) => sum + sample, 0) / recent.length : 0;
  }
}

// A curve that fills its SVG; the newest sample is at the right.
function draw(svg, samples) {
  if (!svg.firstChild) {
    for (const kind of ["area", "line"]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      svg.append(path);
    }
    svg.setAttribute("viewBox", `0 0 ${SAMPLES - 1} 20`);
    svg.setAttribute("preserveAspectRatio", "none");
  }
  const highest = Math.max(1, ...samples);
  const x = (index) => SAMPLES - samples.length + index;
  const y = (sample) => (19 - (18 * sample) / highest).toFixed(2);
  const points = samples.map((sample, index) => `${x(index)} ${y(sample)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  const [area, curve] = svg.children;
  curve.setAttribute("d", line);
  area.setAttribute("d", line && `${line}L${SAMPLES - 1} 20L${x(0)} 20Z`);
}

// The state.

let status = null;
let updatedAt = 0;
const subscriptions = new Map(); // by account/topic
const sinks = new Map();
const total = { in: new Speed(), out: new Speed() };
let measured = null; // the status's time when rates were taken last

const nameOf = (it) => `${it.account}/${it.topic}`;

function update(news, whole) {
  if (whole) {
    const named = new Set(news.subscriptions.map(nameOf));
    for (const name of subscriptions.keys()) if (!named.has(name)) subscriptions.delete(name);
  }
  for (const name of news.gone ?? []) subscriptions.delete(name);
  for (const it of news.subscriptions) {
    const known = subscriptions.get(nameOf(it));
    if (known) known.is = it;
    else subscriptions.set(nameOf(it), { is: it, speed: new Speed() });
  }
  for (const name of sinks.keys()) {
    if (!news.sinks.some((sink) => sink.name === name)) sinks.delete(name);
  }
  for (const it of news.sinks) {
    const known = sinks.get(it.name);
    if (known) known.is = it;
    else sinks.set(it.name, { is: it, speed: new Speed() });
  }
  status = news;
  updatedAt = Date.now();
  measure();
  show();
}

function measure() {
  const seconds = measured ? between(measured, status.now) : 1;
  if (seconds < 0.5) return;
  measured = status.now;
  let frames = 0;
  let records = 0;
  for (const { is, speed } of subscriptions.values()) {
    speed.add(is.frames, seconds);
    frames += is.frames;
  }
  for (const { is, speed } of sinks.values()) {
    speed.add(is.confirmed, seconds);
    records += is.confirmed;
  }
  total.in.add(frames, seconds);
  total.out.add(records, seconds);
}

// The views.

function show() {
  showHeader();
  showTiles();
  showSinks();
  showAccounts();
  showGaps();
}

function showHeader() {
  const found = troubles();
  const verdict = $("#verdict");
  if (status.draining) putState(verdict, "stopped", "Ending: delivering what is left");
  else if (found.length === 0) putState(verdict, "connected", "All is well");
  else putState(verdict, "backing_off", found.length === 1 ? "1 needs attention" : `${count(found.length)} need attention`);
  document.title = found.length ? `(${found.length}) central-forwarder` : "central-forwarder";

  const reload = status.config.last_reload;
  const reloaded = reload ? `, reload ${reload.succeeded ? "took effect" : "failed"} ${ago(reload.at, status.now)}` : "";
  put($("#facts"), `version ${status.version} · up ${span(between(status.started_at, status.now))} · config ${status.config.generation}${reloaded}`);
  put($("#updated"), `As of ${new Date(status.now).toLocaleTimeString()}`);

  const section = $("#attention");
  section.hidden = found.length === 0;
  const lines = found.slice(0, LISTED).map(([who, why]) => {
    const item = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = who;
    item.append(name, ` ${why}`);
    return item;
  });
  if (found.length > LISTED) {
    const rest = document.createElement("li");
    rest.textContent = `and ${count(found.length - LISTED)} more`;
    lines.push(rest);
  }
  const list = $("ul", section);
  const text = lines.map((line) => line.textContent).join("\n");
  if (list.dataset.text !== text) {
    list.dataset.text = text;
    list.replaceChildren(...lines);
  }
}

// Who needs attention, and why. A cause that many subscriptions share is listed once.
function troubles() {
  const byCause = new Map();
  for (const it of status.not_ready) {
    const cause = `${it.what} ${it.why}`;
    if (byCause.has(cause)) byCause.get(cause).names.push(it.name);
    else byCause.set(cause, { ...it, names: [it.name] });
  }
  const found = [...byCause.values()].map(({ what, names, why }) => {
    const rest = names.length > NAMED ? ` and ${count(names.length - NAMED)} more` : "";
    return [`${what}${names.length > 1 ? "s" : ""} ${names.slice(0, NAMED).join(", ")}${rest}`, why];
  });
  for (const { is } of sinks.values()) {
    if (is.reached && is.state !== "connected") {
      found.push([`sink ${is.name}`, `${WORDS[is.state]}${is.reason ? `: ${is.reason}` : ""}`]);
    }
  }
  const reload = status.config.last_reload;
  if (reload && !reload.succeeded) {
    found.push(["config", `the reload failed, the old config is in effect: ${reload.remarks.join("; ")}`]);
  }
  return found;
}

function showTiles() {
  for (const [tile, speed] of [["#tile-in", total.in], ["#tile-out", total.out]]) {
    put($(".value", $(tile)), rate(speed.now));
    draw($("svg", $(tile)), speed.samples);
  }
  const journal = status.journal;
  const tile = $("#tile-journal");
  const cap = journal.max_bytes;
  const [number, unit] = size(journal.bytes).split(" ");
  put($(".value", tile), number);
  put($(".unit", tile), `${unit}${cap ? ` of ${size(cap)}` : ""}${journal.in_memory ? ", in memory" : ""}`);
  const bar = $(".bar", tile);
  bar.hidden = !cap;
  if (cap) {
    const share = Math.min(1, journal.bytes / cap);
    bar.dataset.state = share > 0.9 ? "refused" : "connected";
    bar.firstElementChild.style.width = `${100 * share}%`;
  }
  const oldest = journal.oldest ? `oldest ${ago(journal.oldest, status.now)}` : "empty";
  put($(".note", tile), journal.trouble ?? `${oldest}, last sync took ${span(journal.last_sync_seconds)}`);

  const day = $("#tile-day");
  const pair = (key, text) => put($(`[data-key=${key}]`, day), text);
  pair("gaps", count(status.last_day.gaps));
  pair("letters", count(status.last_day.dead_letters));
  pair("skipped", count(status.last_day.skipped_frames));
}

function showSinks() {
  const box = $("#sinks");
  put($("#sinks-title .count"), count(sinks.size));
  const cards = new Map([...box.children].map((card) => [card.dataset.name, card]));
  for (const [name, { is, speed }] of sinks) {
    let card = cards.get(name);
    cards.delete(name);
    if (!card) {
      card = make("#sink");
      card.dataset.name = name;
      put($("h3", card), name);
      box.append(card);
    }
    putState($(".state", card), is.state);
    draw($("svg", card), speed.samples);
    const pair = (key, text) => put($(`[data-key=${key}]`, card), text);
    pair("rate", `${rate(speed.now)} a second`);
    pair("lag", is.lag_frames ? `${many(is.lag_frames, "frame")}, ${span(is.lag_seconds)}` : "none");
    pair("flight", many(is.in_flight_records, "record"));
    pair("last", ago(is.last_confirmed, status.now));
    pair("retries", count(Object.values(is.retried).reduce((sum, times) => sum + times, 0)));
    pair("letters", count(Object.values(is.refused).reduce((sum, times) => sum + times, 0)));
    const error = $(".error", card);
    const why = is.reason ?? is.last_error;
    error.hidden = !why;
    if (why) put(error, is.state === "connected" ? `Last error: ${why}` : why);
  }
  for (const card of cards.values()) card.remove();
}

const filter = $("#filter");
const troubled = $("#troubled");

function matches(is) {
  if (troubled.checked && is.state === "connected") return false;
  return nameOf(is).toLowerCase().includes(filter.value.trim().toLowerCase());
}

function showAccounts() {
  const accounts = new Map();
  for (const it of subscriptions.values()) {
    if (!accounts.has(it.is.account)) accounts.set(it.is.account, []);
    accounts.get(it.is.account).push(it);
  }
  const up = [...subscriptions.values()].filter(({ is }) => is.state === "connected").length;
  put($("#subscriptions-title .count"), `${count(up)} of ${count(subscriptions.size)} connected`);
  const box = $("#accounts");
  const known = new Map([...box.children].map((element) => [element.dataset.name, element]));
  let shown = 0;
  for (const [name, members] of accounts) {
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = make("#account");
      element.dataset.name = name;
      put($(".name", element), name);
      element.open = accounts.size <= OPEN_ACCOUNTS;
      element.addEventListener("toggle", () => showRows(element));
      box.append(element);
    }
    element.members = members;
    element.hidden = !members.some(({ is }) => matches(is));
    if (element.hidden) continue;
    shown += 1;
    showAccount(element, members);
    showRows(element);
  }
  for (const element of known.values()) element.remove();
  $("#nothing").hidden = shown > 0 || subscriptions.size === 0;
}

function showAccount(element, members) {
  const worst = members.reduce((bad, { is }) => Math.max(bad, ORDER.indexOf(is.state)), 0);
  const up = members.filter(({ is }) => is.state === "connected").length;
  putState($("summary .state", element), ORDER[worst], `${up} of ${members.length} connected`);
  const samples = members.map(({ speed }) => speed.samples);
  const longest = Math.max(...samples.map((one) => one.length));
  const sum = Array.from({ length: longest }, (_, index) =>
    samples.reduce((all, one) => all + (one[one.length - longest + index] ?? 0), 0));
  draw($("summary svg", element), sum);
  put($("summary .rate", element), `${rate(members.reduce((all, { speed }) => all + speed.now, 0))} /s`);
  put($("summary .key", element), keyText(status.accounts.find((account) => account.name === members[0].is.account)));
}

function keyText(key) {
  const words = [];
  if (key?.issued_at) words.push(`key ${span(between(key.issued_at, status.now))} old`);
  if (key?.expires_at) {
    const left = between(status.now, key.expires_at);
    words.push(left > 0 ? `${span(left)} left` : "expired");
  }
  return words.join(", ");
}

// The rows of an account that is open; the others have none, so that thousands cost nothing.
function showRows(element) {
  const body = $("tbody", element);
  if (!element.open || element.hidden) return;
  const rows = new Map([...body.children].map((row) => [row.dataset.name, row]));
  for (const { is, speed } of element.members) {
    let row = rows.get(is.topic);
    rows.delete(is.topic);
    if (!row) {
      row = make("#subscription");
      row.dataset.name = is.topic;
      put($("th", row), is.topic);
      body.append(row);
    }
    row.hidden = !matches(is);
    if (row.hidden) continue;
    const state = $(".state", row);
    putState(state, is.state);
    put($(".reason", state), is.state === "connected" ? "" : is.reason ?? "");
    draw($("svg", row), speed.samples);
    const cell = (key, text) => put($(`[data-key=${key}]`, row), text);
    cell("rate", rate(speed.now));
    cell("last", ago(is.last_frame, status.now));
    cell("reconnects", count(Object.values(is.failures).reduce((sum, times) => sum + times, 0)));
  }
  for (const row of rows.values()) row.remove();
}

function showGaps() {
  const gaps = status.gaps ?? [];
  $("#events").hidden = gaps.length === 0;
  const text = JSON.stringify(gaps);
  const body = $("#events tbody");
  if (body.dataset.text === text) return;
  body.dataset.text = text;
  body.replaceChildren(...gaps.map((gap) => {
    const row = document.createElement("tr");
    const lasted = gap.until ? span(between(gap.from, gap.until)) : "";
    for (const value of [new Date(gap.from).toLocaleString(), lasted, gap.what, gap.why]) {
      row.insertCell().textContent = value;
    }
    return row;
  }));
}

// The stream.

function listen() {
  const events = new EventSource("/api/events");
  events.addEventListener("status", (event) => update(JSON.parse(event.data), true));
  events.addEventListener("changes", (event) => update(JSON.parse(event.data), false));
  events.addEventListener("error", () => {
    // A browser tries again by itself, but for an answer that is not a stream.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, TRY_AGAIN);
  });
}

setInterval(() => {
  const silent = Date.now() - updatedAt;
  const offline = $("#offline");
  offline.hidden = updatedAt === 0 || silent < SILENCE;
  if (!offline.hidden) put(offline, `No data from the forwarder for ${span(silent / 1000)}: what is shown below is out of date.`);
}, 1000);

filter.addEventListener("input", () => status && showAccounts());
troubled.addEventListener("change", () => {
  if (!status) return;
  showAccounts();
  if (!troubled.checked) return;
  for (const element of $("#accounts").children) if (!element.hidden) element.open = true;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    showAccounts();
  }
});

listen();
