// What the tests share: the program that serves, the browser that looks, and what stands
// between the two when something is to go wrong.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer, request } from "node:http";
import { once } from "node:events";
import { createInterface } from "node:readline";
import path from "node:path";

// Out of NODE_PATH, which modules do not look at.
const require = createRequire(import.meta.url);
export const { chromium } = require("playwright-core");
export const axePath = require.resolve("axe-core/axe.min.js");

const here = path.dirname(new URL(import.meta.url).pathname);
export const corpus = (name) => path.join(here, "../../corpus", name);

// Longer than any of this takes, even on a busy machine.
export const PATIENCE = 60_000;

// What was started, the last first: a test that fails leaves nothing behind.
const started = [];

export async function stopAll() {
  for (const one of started.reverse().splice(0)) await one.stop();
}

// A program that says where it serves.
async function serve(args) {
  const child = spawn(process.env.THROTTLE_MONITOR, args, { stdio: ["ignore", "ignore", "pipe"] });
  const running = {
    async stop() {
      if (child.exitCode == null && child.signalCode == null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
    },
  };
  started.push(running);
  const said = [];
  const lines = createInterface({ input: child.stderr });
  const address = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      said.push(line);
      const found = /serving http:\/\/([\d.:]+)\//.exec(line) ?? /listening address=([\d.:]+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.on("exit", () => reject(new Error(`it ended: ${said.join("\n")}`)));
    child.on("error", reject);
  });
  return Object.assign(running, { url: `http://${address}` });
}

export const replay = (recording, ...args) =>
  serve(["replay", "--serve", "--web.listen-address", "127.0.0.1:0", ...args, corpus(recording)]);

// A livelock that stands: a recording of which the last tick is shown.
export async function stuck() {
  const served = await replay("6.12-netns-livelock.tmrec", "--skip", "1h");
  const end = Date.parse("2026-11-22T18:54:34Z");
  while ((await json(served.url, "/api/v1/node")).unix_ms < end) await new Promise((done) => setTimeout(done, 200));
  return served;
}

export const daemon = (...args) => serve(["run", "--web.listen-address", "127.0.0.1:0", ...args]);

export async function json(url, path) {
  const answer = await fetch(url + path);
  return answer.json();
}

// Stands between a browser and a server. `change` may alter the node that is told, and
// the history; `cut` breaks all connections and takes no more until `mend`.
export async function between(url, change = (node) => node, tracks = (told) => told) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  let broken = false;
  const server = createServer((asked, answer) => {
    const headers = { ...asked.headers, connection: "close" };
    request({ hostname, port, path: asked.url, method: asked.method, headers }, (told) => {
      const stream = asked.url.startsWith("/api/v1/events");
      const node = asked.url === "/api/v1/node";
      const history = asked.url === "/api/v1/history";
      if (!stream && !node && !history) {
        answer.writeHead(told.statusCode, told.headers);
        return void told.pipe(answer);
      }
      const { "content-length": _, ...others } = told.headers;
      answer.writeHead(told.statusCode, others);
      let text = "";
      told.setEncoding("utf8");
      told.on("data", (part) => {
        text += part;
        if (!stream) return;
        const messages = text.split("\n\n");
        text = messages.pop();
        for (const message of messages) answer.write(`${altered(message, change)}\n\n`);
      });
      told.on("end", () => {
        const whole = () => JSON.stringify(node ? change(JSON.parse(text)) : tracks(JSON.parse(text)));
        answer.end(stream ? text : whole());
      });
    }).on("error", () => answer.destroy()).end();
  });
  server.on("connection", (socket) => {
    if (broken) return void socket.destroy();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      broken = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      broken = false;
    },
    async stop() {
      broken = true;
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise((done) => server.close(done));
    },
  };
  started.push(proxy);
  return proxy;
}

function altered(message, change) {
  if (!message.startsWith("event: node\n")) return message;
  const [head, data] = message.split(/\ndata: /);
  return `${head}\ndata: ${JSON.stringify(change(JSON.parse(data)))}`;
}

export async function browser() {
  const args = ["--disable-gpu"];
  // The sandbox, which root cannot have; the pages are our own.
  if (process.getuid() === 0) args.push("--no-sandbox");
  const running = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
  started.push({ stop: () => running.close() });
  return running;
}

// A page that is looked at, and everything that the browser complained about.
export async function open(running, url, options = {}) {
  const context = await running.newContext({
    viewport: { width: 1280, height: 900 }, timezoneId: "UTC", colorScheme: "light", ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`${error.stack ?? error}`));
  await page.addInitScript(() => {
    window.refusals = 0;
    document.addEventListener("securitypolicyviolation", (event) => {
      window.refusals += 1;
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  await page.goto(url);
  return { page, context, complaints };
}

// Once the script has drawn a node.
export const drawn = (page) => page.waitForSelector("#main .columns, #main .threads, #main section#threads, [aria-labelledby=threads]");

export const openAll = (page) => page.evaluate(() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
});

// How far a page is wider than its window, pixels, and by what.
export const tooWide = (page) => page.evaluate(() => {
  const most = document.documentElement.clientWidth;
  const by = [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest(".scroll, .unseen, .skip") && one.getBoundingClientRect().right > most + 1)
    .map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`);
  return { surplus: document.documentElement.scrollWidth - most, by: by.slice(0, 5) };
});

// Rules of WCAG 2.2 A and AA and axe's best practices that the page breaks.
export async function breaches(page) {
  const { readFile } = await import("node:fs/promises");
  await page.evaluate(await readFile(axePath, "utf8"));
  const found = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("; ")}`);
}
