// What the page shows is what the API tells, and follows it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { between, browser, corpus, drawn, json, open, replay, stopAll, stuck } from "./world.mjs";

const RECORDING = "6.12-netns-livelock.tmrec";

let running;
let still;

before(async () => {
  running = await browser();
  still = await stuck();
});

after(stopAll);

const texts = (page, selector) => page.locator(selector).allInnerTexts();

test("a livelock is named, with its loop, its begin and its reason", async () => {
  const node = await json(still.url, "/api/v1/node");
  const [loop] = node.loops;
  assert.equal(node.state, "livelock");
  const { page, context, complaints } = await open(running, still.url);
  await drawn(page);
  assert.equal(await page.locator("#state").innerText(), "Livelock");
  assert.equal(await page.locator(".sentence").innerText(), loop.verdict.reason);
  const since = await page.locator(".since time").getAttribute("datetime");
  assert.equal(Date.parse(since), loop.since_unix_ms);
  assert.match(await page.locator(".since").innerText(), /^\/mnt \(0:28-nfsd\), dirty-throttle, livelock confirmed at \d\d:\d\d:\d\d \(\d+ s ago\)$/);
  const [server] = node.servers;
  assert.equal(await page.locator(".hero .impact").innerText(),
    `${loop.client_waiting} tasks cannot write to /mnt. ${server.throttled + server.blocked} of 8 nfsd threads throttled or blocked: clients of this server wait.`);
  assert.deepEqual([server.idle, server.running], [0, 0]);
  assert.match(await page.title(), /^Livelock/);
  assert.match(await page.locator(".banner").innerText(), /This is a recording, 6\.12-netns-livelock\.tmrec/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the four conditions stand with value and sentence, and the picture tells them too", async () => {
  const [loop] = (await json(still.url, "/api/v1/node")).loops;
  const all = loop.verdict.conditions;
  const { page, context, complaints } = await open(running, still.url);
  await drawn(page);
  const told = await texts(page, ".condition[data-key] .why");
  assert.deepEqual(told, [all.demand, all.no_progress, all.blockage, all.closing_edge].map((one) => one.why));
  assert.equal(await page.locator(".condition[data-holds=holds]").count(), 4);
  assert.equal(await page.locator(".cycle .edge[data-holds=holds]").count(), 4);
  const { stations, arrows, closing } = loop.picture;
  assert.deepEqual(await texts(page, ".station .title"), stations.map((one) => one.name + (one.bdi ? ` (${one.bdi})` : "")));
  assert.deepEqual(await texts(page, ".station .big"), stations.map((one) => one.lines[0]));
  assert.deepEqual(await texts(page, ".edge .label strong"), arrows.map((one) => one.value));
  assert.match(await page.locator(".edge.waits").textContent(), /Closing edge holds: 100 % is the client's/);
  assert.equal(await page.locator("figcaption").innerText(), closing);
  assert.equal(closing, "Closed: nfsd waits for pages of /mnt (0:28); only nfsd can clean them");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what to do is the best measure first with its undo beside it, and Copy gives the very commands", async () => {
  const [loop] = (await json(still.url, "/api/v1/node")).loops;
  const { page, context, complaints } = await open(running, still.url, { permissions: ["clipboard-read", "clipboard-write"] });
  await drawn(page);
  const first = page.locator(".todo > ol > li");
  assert.equal(await first.count(), 1);
  assert.equal(await first.locator(".what").innerText(), loop.measures[0].what);
  assert.equal(await page.locator(".todo .what").count(), loop.measures.length);
  await page.getByRole("link", { name: "What to do" }).click();
  assert.ok(await first.evaluate((one) => one.getBoundingClientRect().top < innerHeight / 2));
  assert.deepEqual(await first.locator(".commands code").allTextContents(),
    [loop.measures[0].commands, loop.measures[0].undo].map((lines) => lines.join("\n")));
  assert.ok(await first.locator(".commands").last().isVisible());
  // No button covers what it copies.
  for (const block of await first.locator(".commands").all()) {
    const [code, button] = [await block.locator("code").boundingBox(), await block.locator("button").boundingBox()];
    assert.ok(code.x + code.width <= button.x, JSON.stringify([code, button]));
  }
  await first.locator(".commands button").first().click();
  await page.waitForFunction(() => document.getElementById("said").textContent === "Copied.");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, loop.measures[0].commands.join("\n"));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("tasks, devices, servers and what happened are those of the node", async () => {
  const node = await json(still.url, "/api/v1/node");
  const { page, context, complaints } = await open(running, still.url);
  await drawn(page);
  const tasks = await texts(page, "[aria-labelledby=tasks] > table tbody th");
  assert.deepEqual(tasks.map((text) => Number(/\[(\d+)\]/.exec(text)[1])).sort(), node.tasks.tasks.map((one) => one.tid).sort());
  const devices = await texts(page, "[aria-labelledby=devices] tbody th strong");
  assert.deepEqual(devices, ["/mnt (0:28)", "/dev/vda (254:0)"]);
  assert.deepEqual(node.bdis.map((one) => one.bdi), ["0:28", "254:0"]);
  const [server] = node.servers;
  assert.deepEqual(await texts(page, "[aria-labelledby=servers] tbody td"),
    [server.idle, server.running, server.throttled, server.blocked].map(String));
  assert.equal(await page.locator(".lines > li").count(), node.lines.length);
  assert.equal(await page.locator(".lines > li p").first().innerText(), node.lines[0].why);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("ticks arrive without a reload: a loop appears, is suspected, becomes a livelock, and that is read out once", async () => {
  // Sixteen seconds of it are quiet: time for the browser to come.
  const playing = await replay("6.12-failover-livelock.tmrec", "--speed", "1.5");
  const { page, context, complaints } = await open(running, playing.url);
  await page.evaluate(() => {
    window.mark = "not reloaded";
    window.spoken = [];
    window.words = [];
    const note = () => {
      const word = document.getElementById("state")?.textContent;
      if (word && word !== window.words.at(-1)) window.words.push(word);
    };
    new MutationObserver(note).observe(document.getElementById("main"), { childList: true, subtree: true, characterData: true });
    new MutationObserver(() => window.spoken.push(document.getElementById("said").textContent))
      .observe(document.getElementById("said"), { childList: true });
  });
  await page.waitForFunction(() => document.getElementById("state")?.textContent === "Livelock");
  const from = await page.locator(".banner time").getAttribute("datetime");
  await page.waitForFunction((from) => document.querySelector(".banner time").dateTime > from, from);
  const [mark, words, spoken] = await page.evaluate(() => [window.mark, window.words, window.spoken]);
  assert.equal(mark, "not reloaded");
  assert.deepEqual(words.slice(-3), ["No livelock", "Suspected", "Livelock"]);
  assert.deepEqual(spoken.map((text) => text.split(".")[0]), ["Suspected", "Livelock"]);
  // The bands have grown with it: all four conditions have a time at which they hold.
  assert.equal(await page.locator(".condition[data-key] .band [data-is=true]").count(), 4);
  // Each has its axis, and so have the line and the state.
  assert.equal(await page.locator(".conditions .axis time").count(), 6 * 3);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what the reader opened, marked and stands on is left alone by the ticks", async () => {
  const playing = await replay("6.12-netns-recovery.tmrec", "--speed", "1", "--skip", "12s");
  const { page, context, complaints } = await open(running, playing.url);
  await drawn(page);
  await page.locator("details[data-key=ineffective] summary").click();
  await page.locator(".todo .commands button").first().focus();
  await page.evaluate(() => getSelection().selectAllChildren(document.querySelector(".todo .what")));
  const marked = await page.evaluate(() => getSelection().toString());
  for (let ticks = 0; ticks < 4; ticks += 1) {
    const from = await page.locator(".banner time").getAttribute("datetime");
    await page.waitForFunction((from) => document.querySelector(".banner time").dateTime > from, from);
  }
  assert.ok(await page.evaluate(() => document.querySelector("details[data-key=ineffective]").open));
  assert.equal(await page.evaluate(() => document.activeElement.dataset.does), "copy");
  assert.ok(marked.length > 10);
  assert.equal(await page.evaluate(() => getSelection().toString()), marked);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the bands begin with the history and leave out what was not seen", async () => {
  const { tracks: [track] } = await json(still.url, "/api/v1/history");
  const gap = [6, 12];
  const holed = await between(still.url, undefined, (told) => {
    told.tracks[0].points.splice(gap[0], gap[1] - gap[0]);
    return told;
  });
  const widths = async (url) => {
    const { page, context } = await open(running, url);
    await drawn(page);
    await page.waitForFunction(() => document.querySelectorAll(".condition[data-key] .band .seen").length === 4);
    const d = await page.locator(".condition[data-key] .band .seen").first().getAttribute("d");
    await context.close();
    return [...d.matchAll(/M([\d.]+) 0H([\d.]+)/g)].map(([, from, to]) => [Number(from), Number(to)]);
  };
  const sum = (runs) => runs.reduce((total, [from, to]) => total + to - from, 0);
  const [whole, left] = [await widths(still.url), await widths(holed.url)];
  const seconds = (track.points.at(-1).unix_ms - track.points[0].unix_ms) / 1000;
  // Thirty seconds are 600 units wide.
  assert.ok(Math.abs(sum(whole) - seconds * 20) < 12, `${sum(whole)} of ${seconds * 20}`);
  const lost = (track.points[gap[1]].unix_ms - track.points[gap[0] - 1].unix_ms) / 1000 - 1;
  assert.ok(Math.abs(sum(whole) - sum(left) - lost * 20) < 12, `${sum(left)} of ${sum(whole)}`);
});

test("a verdict has a permanent link with threads, stacks and ways out, and its files can be downloaded", async () => {
  const { page, context, complaints } = await open(running, still.url, { acceptDownloads: true });
  await drawn(page);
  await page.getByRole("link", { name: "Evidence of this verdict" }).click();
  await page.waitForSelector("[aria-labelledby=threads]");
  const id = decodeURIComponent(new URL(page.url()).pathname.split("/")[2]);
  const path = `/api/v1/evidence/${id}`;
  const evidence = await json(still.url, path);
  assert.equal(await page.locator("#state").innerText(), "The livelock is confirmed");
  assert.equal(await page.locator(".scroll pre").textContent(), evidence.cycle.map((line) => `${line}\n`).join(""));
  assert.equal(await page.locator("[aria-labelledby=threads] tbody tr").count(), evidence.threads.length);
  assert.equal(await page.locator("[aria-labelledby=writers] tbody tr").count(), evidence.writers.length);
  const stacks = await page.locator("[aria-labelledby=threads] .stack").allTextContents();
  assert.deepEqual(stacks, evidence.threads.filter((one) => one.stack.length > 0).map((one) => one.stack.join("\n")));
  assert.deepEqual(await page.locator(".todo .what").allTextContents(), [...evidence.mitigations, ...evidence.preventions].map((one) => one.what));
  const fetched = async (name) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name }).click()]);
    return [download.suggestedFilename(), await readFile(await download.path())];
  };
  const [file, bytes] = await fetched("Download the evidence (JSON)");
  assert.equal(file, `${id}.json`);
  assert.deepEqual(JSON.parse(bytes), evidence);
  const [recording, recorded] = await fetched(RECORDING);
  assert.equal(recording, RECORDING);
  assert.deepEqual(recorded, await readFile(corpus(RECORDING)));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a link to evidence that is not kept is told so, with what is", async () => {
  const { page, context } = await open(running, `${still.url}/verdicts/20200101T000000.000Z-0.1-nfsd-dirty-throttle-confirmed`);
  assert.match(await page.locator("main").innerText(), /--evidence.dir DIR/);
  await page.locator("main a").first().click();
  await page.waitForSelector("[aria-labelledby=threads]");
  await context.close();
});

test("without the script the state, the loops and the paths can be read", async () => {
  const node = await json(still.url, "/api/v1/node");
  const { page, context } = await open(running, still.url, { javaScriptEnabled: false });
  const text = await page.locator("main").innerText();
  assert.ok(text.includes("Livelock") && text.includes(node.headline), text);
  assert.match(text, /10\.9\.0\.2:\/ at \/mnt/);
  assert.ok(await page.getByRole("link", { name: "/api/v1/verdicts" }).isVisible());
  await context.close();
});
