// Takes the pictures of the page: DIRECTORY

import path from "node:path";
import { browser, drawn, json, open, replay, stopAll } from "./world.mjs";

const [, , directory] = process.argv;
const still = await replay("6.12-netns-recovery.tmrec", "--speed", "0.01", "--skip", "40s");
const begin = Date.parse("2026-11-22T18:40:49Z");
while ((await json(still.url, "/api/v1/node")).unix_ms < begin + 38_000) await new Promise((done) => setTimeout(done, 200));
const running = await browser();

async function take(file, options) {
  const { page } = await open(running, still.url, options);
  await drawn(page);
  await page.waitForTimeout(1500);
  await page.screenshot({ path: path.join(directory, file) });
}

await take("page.png", { viewport: { width: 1200, height: 1400 } });
await take("page-phone.png", { viewport: { width: 390, height: 1240 }, deviceScaleFactor: 1.5 });
await stopAll();
