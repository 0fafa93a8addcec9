// When things are not as they should be: hostile names, lost connections, no tick yet,
// too many who listen, a daemon that is up a week, sixteen loops.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { between, breaches, browser, drawn, json, open, openAll, PATIENCE, replay, stopAll, stuck, tooWide } from "./world.mjs";

let running;
let still;

before(async () => {
  running = await browser();
  still = await stuck();
});

after(stopAll);

const SCRIPT = "<script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 1\">";
const TURNED = "\u202Edrowssap\u2066\u0000\u001b[31m";
const RTL = "שלום עולם";

// Every text of a node becomes something that nobody wants to see, save those that are
// words of the program: their values are of a few kinds.
function hostile(text) {
  const words = new Set(["state", "loop", "cause", "class", "kind", "scope", "proof", "signature", "role", "evidence", "client_bdi", "server_bdi", "bdi", "server", "occasion", "what_is"]);
  const change = (value, key) => {
    if (typeof value === "string") return words.has(key) ? value : text;
    if (Array.isArray(value)) return value.map((one) => change(one, key));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, change(one, name)]));
    return value;
  };
  return (node) => change(node, "");
}

for (const [what, text] of [["markup", SCRIPT], ["turned text and control characters", TURNED], ["right-to-left text", RTL], ["ten kilobytes", "x".repeat(10_000)], ["ten kilobytes of markup", SCRIPT.repeat(150)]]) {
  test(`names of ${what} are shown as text, and break nothing`, async () => {
    const proxy = await between(still.url, hostile(text));
    const { page, context, complaints } = await open(running, proxy.url, { viewport: { width: 360, height: 740 } });
    await drawn(page);
    await openAll(page);
    await page.waitForTimeout(500);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.equal(await page.locator("main script, main img").count(), 0);
    const shown = await page.locator("main").innerText();
    assert.ok(!/[\u202a-\u202e\u2066-\u2069\u0000\u001b]/.test(shown));
    const begin = text === TURNED ? "?drowssap??" : text.slice(0, 8);
    assert.ok(shown.includes(begin), shown.slice(0, 1000));
    // Commands alone are shown whole, whatever they hold.
    const cut = await page.evaluate(() => document.querySelector("main").textContent.length
      - [...document.querySelectorAll("main code")].reduce((sum, one) => sum + one.textContent.length, 0));
    assert.ok(cut < 120_000, `${cut} characters`);
    assert.deepEqual(await tooWide(page), { surplus: 0, by: [] });
    assert.deepEqual(await breaches(page), []);
    assert.deepEqual(complaints, []);
    await context.close();
    });
}

test("hostile evidence is shown as text, too", async () => {
  const { evidence: [{ id }] } = await json(still.url, "/api/v1/verdicts");
  const { page, context, complaints } = await open(running, still.url);
  await page.route("**/api/v1/evidence/*", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: hostile(SCRIPT)(await answer.json()) });
  });
  await page.goto(`${still.url}/verdicts/${id}`);
  await page.waitForSelector("[aria-labelledby=threads]");
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator("main script, main img").count(), 0);
  assert.ok((await page.locator("main").innerText()).includes("<script>"));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the policy refuses what somebody got into the page", async () => {
  const { page, context, complaints } = await open(running, still.url);
  await drawn(page);
  const refused = await page.evaluate(async (url) => {
    const tried = [];
    const attempt = (name, act) => { try { act(); } catch (error) { tried.push(`${name}: ${error.name}`); } };
    attempt("innerHTML", () => { document.body.innerHTML += "<b>x</b>"; });
    const script = document.createElement("script");
    attempt("text", () => { script.text = "window.hacked = 1"; });
    document.body.append(Object.assign(document.createElement("p"), { id: "styled" }));
    document.getElementById("styled").setAttribute("style", "color: red");
    tried.push(`style: ${getComputedStyle(document.getElementById("styled")).color}`);
    await fetch(url).catch((error) => tried.push(`fetch: ${error.name}`));
    return tried;
  }, "http://127.0.0.1:9/");
  assert.deepEqual(refused.map((one) => one.split(":")[0]), ["innerHTML", "text", "style", "fetch"]);
  assert.ok(!refused.includes("style: rgb(255, 0, 0)"), refused.join());
  await page.waitForFunction(() => window.refusals > 0);
  assert.ok(complaints.length > 0, "what the other tests look for does come");
  await context.close();
});

test("a lost connection is shown and said, and the page goes on by itself when it is back", async () => {
  const playing = await replay("6.12-netns-recovery.tmrec", "--speed", "1", "--skip", "12s");
  const proxy = await between(playing.url);
  const { page, context } = await open(running, proxy.url);
  await drawn(page);
  await page.waitForFunction(() => document.body.dataset.link === "open");
  proxy.cut();
  await page.waitForFunction(() => document.body.dataset.link === "lost", null, { timeout: PATIENCE });
  assert.match(await page.locator("#link").innerText(), /Connection lost; last tick \d+ s ago/);
  assert.equal(await page.locator("#said").textContent(), "Connection lost.");
  const from = await page.locator(".banner time").getAttribute("datetime");
  const age = await page.locator("#link").innerText();
  await page.waitForFunction((age) => document.getElementById("link").innerText !== age, age);
  proxy.mend();
  await page.waitForFunction(() => document.body.dataset.link === "open", null, { timeout: PATIENCE });
  await page.waitForFunction((from) => document.querySelector(".banner time").dateTime > from, from);
  // What was missed came from the history: nothing is left out of the bands.
  await page.waitForFunction(() => {
    const d = document.querySelector(".band .seen")?.getAttribute("d") ?? "";
    const runs = [...d.matchAll(/M([\d.]+) 0H([\d.]+)/g)].map(([, from, to]) => [Number(from), Number(to)]);
    return runs.length > 0 && runs.every(([from], at) => at === 0 || from - runs[at - 1][1] < 1);
  });
  await context.close();
});

test("a page that nobody sees lets go of its stream after a minute, and takes it again", async () => {
  const context = await running.newContext();
  await context.clock.install();
  const page = await context.newPage();
  await page.goto(still.url);
  await drawn(page);
  await page.waitForFunction(() => document.body.dataset.link === "open");
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  const chip = () => page.locator("#link").innerText();
  await hide(true);
  await page.clock.fastForward(30_000);
  assert.notEqual(await chip(), "Paused while hidden");
  await page.clock.fastForward(40_000);
  // On a busy machine the page draws it a turn of its own clock later.
  for (let turn = 0; turn < 20 && await chip() !== "Paused while hidden"; turn += 1) {
    await page.clock.runFor(1000);
  }
  assert.equal(await chip(), "Paused while hidden");
  await hide(false);
  await page.waitForFunction(() => document.body.dataset.link === "open");
  await context.close();
});

test("before the first tick nothing is claimed, and the page is whole", async () => {
  const nothing = (node) => ({
    ...node, unix_ms: 0, state: "none", ready: false, not_ready: ["the first tick is not done yet"],
    headline: "not ready: the first tick is not done yet.", loops: [], loops_total: 0, related: [], servers: [], waits: [],
    tasks: { total: 0, matching: 0, tasks: [] }, bdis: [], bdis_total: 0, signals: [], lines: [],
    memory: { page_size: 0, dirty_bytes: null, writeback_bytes: null, dirty_limit_bytes: null },
    daemon: { ...node.daemon, recording: null },
  });
  const proxy = await between(still.url, nothing, () => ({ tracks: [] }));
  const { page, context, complaints } = await open(running, proxy.url);
  await drawn(page);
  assert.equal(await page.locator("#state").innerText(), "Not known yet");
  const text = await page.locator("main").innerText();
  assert.ok(!/No livelock|NaN|undefined|null|Invalid/.test(text), text);
  assert.match(await page.locator("#link").innerText(), /no tick yet/);
  assert.deepEqual(await breaches(page), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("after a week times have their day and bands are ten minutes", async () => {
  const week = 7 * 86_400_000;
  const old = (node) => ({
    ...node, daemon: { ...node.daemon, recording: null },
    loops: node.loops.map((loop) => ({ ...loop, since_unix_ms: node.unix_ms - week - 3_600_000 })),
  });
  const long = (told) => {
    const [point] = told.tracks[0].points.slice(-1);
    const points = Array.from({ length: 600 }, (_, at) => ({ ...point, unix_ms: point.unix_ms - (599 - at) * 1000 }));
    return { ...told, tracks: [{ ...told.tracks[0], points }] };
  };
  const proxy = await between(still.url, old, long);
  const { page, context, complaints } = await open(running, proxy.url);
  await drawn(page);
  assert.match(await page.locator(".since").innerText(), /confirmed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(7 d 1 h ago\)/);
  await page.waitForFunction(() => /10 minutes/.test(document.querySelector(".band").getAttribute("aria-label")));
  const bands = await page.locator(".condition[data-key] .band [data-is=true]").evaluateAll((all) => all.map((one) => one.getAttribute("d")));
  assert.equal(bands.length, 4);
  bands.forEach((d) => assert.match(d, /^M[01]\.\d 0H600\.0v20H[01]\.\dZ$/));
  // A live daemon whose tick is that old hangs.
  await page.waitForFunction(() => document.body.dataset.link === "late");
  assert.match(await page.locator("#link").innerText(), /The daemon does not tick; last tick \d+ (d|h|min)/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("of sixteen loops those that are stuck are open, and one that becomes stuck opens", async () => {
  let worse = false;
  const many = (node) => ({
    ...node, loops_total: 40,
    loops: Array.from({ length: 16 }, (_, at) => {
      const state = at === 0 || (worse && at === 9) ? "livelock" : at === 1 ? "suspected" : at === 2 ? "recovered" : "none";
      return { ...node.loops[0], loop: `0:${at}-nfsd`, state, verdict: { ...node.loops[0].verdict, loop: `0:${at}-nfsd`, state } };
    }),
    unix_ms: node.unix_ms + (worse ? 1000 : 0),
  });
  const proxy = await between(still.url, many);
  const { page, context, complaints } = await open(running, proxy.url);
  await drawn(page);
  const open_ = () => page.locator("details.loop[open]").evaluateAll((all) => all.map((one) => one.dataset.loop));
  assert.equal(await page.locator("details.loop").count(), 16);
  assert.deepEqual(await open_(), ["0:0-nfsd", "0:1-nfsd"]);
  assert.match(await page.locator(".hero").innerText(), /40 loops: 1 livelock, 1 suspected, 1 recovered, 13 no livelock/);
  assert.match(await page.locator("main").innerText(), /24 more are in \/api\/v1\/loops/);
  const ids = await page.evaluate(() => [...document.querySelectorAll("[id]")].map((one) => one.id));
  assert.equal(new Set(ids).size, ids.length);
  await page.locator("details.loop summary").first().click();
  worse = true;
  // The stream is cut, so that the browser asks again.
  proxy.cut();
  proxy.mend();
  await page.waitForFunction(() => document.querySelector("details.loop[data-loop='0:9-nfsd']").open);
  assert.deepEqual(await open_(), ["0:1-nfsd", "0:9-nfsd"]);
  const took = await page.evaluate(() => new Promise((resolve) => {
    const from = performance.now();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - from)));
  }));
  assert.ok(took < 1000, `${took} ms for a frame`);
  assert.deepEqual(complaints.filter((one) => !/ERR_|Failed to load/.test(one)), []);
  await context.close();
});

test("where sixteen listen already the page asks instead, and shows the same", async () => {
  // Pages of tests that failed would listen to the other one.
  const own = await stuck();
  const aborts = [];
  for (let at = 0; at < 16; at += 1) {
    const abort = new AbortController();
    aborts.push(abort);
    const answer = await fetch(`${own.url}/api/v1/events`, { signal: abort.signal });
    assert.equal(answer.status, 200);
  }
  const { page, context } = await open(running, own.url);
  await drawn(page);
  assert.equal(await page.locator("#state").innerText(), "Livelock");
  await page.waitForFunction(() => document.body.dataset.link === "open");
  // It is not said to be lost at each try for a stream.
  await page.evaluate(() => {
    window.links = [];
    new MutationObserver(() => window.links.push(document.body.dataset.link)).observe(document.body, { attributeFilter: ["data-link"] });
  });
  await page.waitForTimeout(7000);
  assert.deepEqual(await page.evaluate(() => window.links.filter((link) => link !== "open")), []);
  for (const abort of aborts) abort.abort();
  await context.close();
});

test("signals that are missing say what is lost and what to do, once for each remedy", async () => {
  const reports = ["a", "b"].map((signal) => ({ signal, strategy: "kprobe", state: "degraded", reason: "fentry: EPERM", limitation: `ends of ${signal}`, remedy: "add CAP_BPF", applies: true, needed: signal === "a" }));
  const proxy = await between(still.url, (node) => ({ ...node, signals: [...reports, { ...reports[0], signal: "c", applies: false }] }));
  const { page, context } = await open(running, proxy.url);
  await drawn(page);
  const text = await page.locator("[aria-labelledby=signals]").innerText();
  assert.match(text, /a is degraded and needed\. Lost: ends of a\./);
  assert.match(text, /b is degraded\. Lost: ends of b\./);
  assert.equal(text.match(/To do: add CAP_BPF\./g).length, 1);
  assert.ok(!/c is degraded/.test(text));
  await context.close();
});
