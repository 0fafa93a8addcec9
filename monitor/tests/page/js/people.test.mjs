// Who looks at it: by keyboard, on a phone, in the dark, with a screen reader.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { breaches, browser, drawn, json, open, openAll, stopAll, stuck, tooWide } from "./world.mjs";

let running;
let still;
let evidence;

before(async () => {
  running = await browser();
  still = await stuck();
  evidence = (await json(still.url, "/api/v1/verdicts")).evidence.at(-1).id;
});

after(stopAll);

const places = () => [["/", drawn], [`/verdicts/${evidence}`, drawn], ["/verdicts/none", async () => {}]];
const looks = [
  ["in light", { colorScheme: "light" }],
  ["in the dark", { colorScheme: "dark" }],
  ["on a phone", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
];

for (const [look, options] of looks) {
  test(`axe finds nothing ${look}, with everything opened`, async () => {
    for (const [path, ready] of places()) {
      const { page, context } = await open(running, still.url + path, options);
      await ready(page);
      await openAll(page);
      assert.deepEqual(await breaches(page), [], path);
      await context.close();
    }
  });
}

test("axe does find what is wrong", async () => {
  const { page, context } = await open(running, still.url);
  await drawn(page);
  let found = "";
  // The page may be drawn anew in between, and is right again then.
  for (let tries = 0; tries < 5 && found === ""; tries += 1) {
    await page.evaluate(() => {
      document.querySelector(".sentence").style.color = "#ccc";
      const button = document.querySelector("button[data-does=copy]");
      button.removeAttribute("aria-label");
      button.textContent = "";
    });
    found = (await breaches(page)).join();
  }
  assert.match(found, /color-contrast/);
  assert.match(found, /button-name/);
  await context.close();
});

test("nothing is wider than a phone, with everything opened", async () => {
  for (const width of [360, 320]) {
    for (const [path, ready] of places()) {
      const { page, context } = await open(running, still.url + path, { viewport: { width, height: 740 } });
      await ready(page);
      await openAll(page);
      await page.waitForTimeout(500);
      assert.deepEqual(await tooWide(page), { surplus: 0, by: [] }, `${path} at ${width}`);
      await context.close();
    }
  }
});

test("what is pressed on a phone is large enough for a finger", async () => {
  const { page, context } = await open(running, still.url, { viewport: { width: 360, height: 740 }, hasTouch: true });
  await drawn(page);
  const small = await page.evaluate(() => [...document.querySelectorAll("button, summary")]
    .filter((one) => one.checkVisibility())
    .map((one) => [one.textContent, one.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 24 || height < 24).map(([text]) => text));
  assert.deepEqual(small, []);
  await context.close();
});

test("the dark page is dark and the light one light", async () => {
  const ground = async (colorScheme) => {
    const { page, context } = await open(running, still.url, { colorScheme });
    const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await context.close();
    return Number(/\d+/.exec(colour)[0]);
  };
  assert.ok(await ground("light") > 200);
  assert.ok(await ground("dark") < 50);
});

test("in forced colours edges that hold still differ from those that do not", async () => {
  const { page, context, complaints } = await open(running, still.url, { forcedColors: "active" });
  await drawn(page);
  const styles = await page.evaluate(() => {
    const edge = document.querySelector(".edge");
    const look = () => {
      const line = getComputedStyle(edge, "::before");
      return [line.borderTopWidth, line.borderTopStyle].join();
    };
    const holds = look();
    edge.dataset.holds = "not";
    return [holds, look()];
  });
  assert.notEqual(styles[0], styles[1]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("all that can be pressed is reached by Tab, in the order of the document, and seen when it is", async () => {
  const { page, context, complaints } = await open(running, still.url);
  await drawn(page);
  const expected = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")].filter((one) => one.checkVisibility());
    // Not marked in the document: the next tick would take the marks away again.
    window.reachable = all;
    return all.length;
  });
  const seen = [];
  for (let at = 0; at < expected; at += 1) {
    await page.keyboard.press("Tab");
    seen.push(await page.evaluate(() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      const { width, height, left, top, bottom } = one.getBoundingClientRect();
      const visible = width > 0 && height > 0 && left >= 0 && bottom > 0 && top < innerHeight;
      return [window.reachable.indexOf(one), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, visible];
    }));
  }
  assert.deepEqual(seen, Array.from({ length: expected }, (_, at) => [at, true, true]));
  assert.ok(expected > 20);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("by keyboard: skip to the state, open what is closed, copy, read a stack", async () => {
  const { page, context, complaints } = await open(running, still.url, { permissions: ["clipboard-read", "clipboard-write"] });
  await drawn(page);
  await page.keyboard.press("Tab");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^Skip/);
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.locator("details[data-key=ineffective] > summary").focus();
  await page.keyboard.press("Space");
  assert.ok(await page.locator("details[data-key=ineffective] li").first().isVisible());
  await page.locator("button[data-does=copy]").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said").textContent === "Copied.");
  const [loop] = (await json(still.url, "/api/v1/node")).loops;
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), loop.measures[0].commands.join("\n"));
  const button = page.locator("button[data-does=stack]").first();
  const tid = await button.getAttribute("data-tid");
  await button.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /./.test(document.querySelector("#main .stack")?.textContent ?? "") && !/^Reading/.test(document.querySelector("#main .stack").textContent));
  const { stack } = await json(still.url, `/api/v1/tasks/${tid}`);
  assert.equal(await page.locator("#main .stack").textContent(), stack?.length > 0 ? stack.join("\n") : "No stack was read: that happens while a loop is suspected, or worse.");
  assert.equal(await button.getAttribute("aria-expanded"), "true");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("landmarks, headings without a gap, and one region that speaks", async () => {
  for (const [path, ready] of places()) {
    const { page, context } = await open(running, still.url + path);
    await ready(page);
    const [levels, live, names] = await page.evaluate(() => [
      [...document.querySelectorAll("h1, h2, h3, h4, h5")].map((one) => Number(one.tagName[1])),
      [...document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]")].map((one) => one.id),
      ["header", "main", "footer"].map((name) => document.querySelectorAll(`body > ${name}`).length),
    ]);
    assert.equal(levels.filter((level) => level === 1).length, 1, path);
    levels.forEach((level, at) => assert.ok(at === 0 ? level === 1 : level <= levels[at - 1] + 1, `${path}: ${levels}`));
    assert.deepEqual(live, ["said"]);
    assert.deepEqual(names, [1, 1, 1]);
    await context.close();
  }
});
