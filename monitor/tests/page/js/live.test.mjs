// A daemon that runs here, with real eBPF: it wants root.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { browser, breaches, daemon, drawn, json, open, stopAll } from "./world.mjs";

const skip = process.getuid() !== 0 && "it wants root";

let running;
let live;
let records;

before(async () => {
  if (skip) return;
  running = await browser();
  records = await mkdtemp(path.join(tmpdir(), "page-"));
  live = await daemon("--record.dir", path.join(records, "record"));
});

after(async () => {
  await stopAll();
  if (records) await rm(records, { recursive: true });
});

test("a page that is open as the daemon begins shows its first ticks, and no livelock", { skip }, async () => {
  const { page, context, complaints } = await open(running, live.url);
  await drawn(page);
  await page.waitForFunction(() => document.getElementById("state").textContent === "No livelock");
  await page.waitForFunction(() => /^Live, last tick \d s ago$/.test(document.getElementById("link").innerText));
  const node = await json(live.url, "/api/v1/node");
  assert.ok((await page.locator("#who").innerText()).includes(node.daemon.kernel));
  assert.equal(await page.locator(".banner").count(), 0);
  const attached = node.signals.filter((one) => one.state === "attached").length;
  assert.ok((await page.locator("[aria-labelledby=signals]").innerText()).startsWith(`Signals\n\n${attached} of ${node.signals.length} signals are attached`));
  assert.deepEqual(await page.locator("[aria-labelledby=devices] tbody th strong").allInnerTexts(),
    node.bdis.map((one) => (one.device ? `${one.device} (${one.bdi})` : one.bdi)));
  assert.deepEqual(await breaches(page), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("its recording can be downloaded while it is written", { skip }, async () => {
  const { page, context, complaints } = await open(running, live.url, { acceptDownloads: true });
  await drawn(page);
  await page.locator("#recordings summary").click();
  const link = page.locator("#recordings a").first();
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  assert.match(download.suggestedFilename(), /^segment-\d+\.tmrec$/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a daemon that ends is told, and one that begins again is shown", { skip }, async () => {
  const own = await daemon();
  const { port } = new URL(own.url);
  const { page, context } = await open(running, own.url);
  await drawn(page);
  await page.waitForFunction(() => document.body.dataset.link === "open");
  await own.stop();
  await page.waitForFunction(() => document.body.dataset.link === "lost");
  const again = await daemon("--web.listen-address", `127.0.0.1:${port}`);
  await page.waitForFunction(() => document.body.dataset.link === "open");
  await page.waitForFunction(() => /^Live, last tick \d s ago$/.test(document.getElementById("link").innerText));
  await context.close();
});
