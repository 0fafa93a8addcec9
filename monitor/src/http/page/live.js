// The node as it is now: the server sends each tick, and it is shown at once.

const LATE_MS = 5000;
const HIDDEN_MS = 60_000;

const app = {
  node: null,
  tracks: new Map(),
  documents: [],
  stalls: null,
  recordings: null,
  stacks: new Map(),
  allTasks: false,
  link: "connecting",
  // The server's clock less this one's, milliseconds.
  ahead: 0,
  heard: 0,
  received: 0,
  said: "",
};

const at = (id) => document.getElementById(id);

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (date) app.ahead = date + 500 - Date.now();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

const tick = () => (app.node?.daemon.interval_seconds || 1) * 1000;

// A tick, from whichever way it came.
function take(node) {
  app.heard = Date.now();
  if (node.unix_ms !== app.node?.unix_ms) app.received = app.heard;
  const before = app.node;
  app.node = node;
  if (node.unix_ms > 0) keepPoints(node);
  render();
  announce(before, node);
  if (before?.lines[0]?.unix_ms !== node.lines[0]?.unix_ms) documents();
}

function keepPoints(node) {
  const tracks = new Map();
  for (const loop of node.loops) {
    const kept = app.tracks.get(loop.loop) ?? [];
    const old = kept.filter((point) => point.unix_ms < node.unix_ms);
    tracks.set(loop.loop, merge(old, [pointOf(loop, node.unix_ms)], node.unix_ms));
  }
  app.tracks = tracks;
}

async function history() {
  try {
    const { tracks } = await ask("/api/v1/history");
    const newest = app.node?.unix_ms ?? Infinity;
    for (const { loop, points } of tracks) {
      const until = Math.max(Number.isFinite(newest) ? newest : 0, points.at(-1)?.unix_ms ?? 0);
      app.tracks.set(loop, merge(app.tracks.get(loop) ?? [], points, until));
    }
    if (app.node) render();
  } catch { /* The bands begin with this tick then. */ }
}

async function documents() {
  try {
    app.documents = (await ask("/api/v1/verdicts")).evidence;
    if (app.node) render();
  } catch { /* The list is as old as it was; the next change asks again. */ }
}

async function stalls() {
  if (!at("ended")?.open) return;
  try {
    app.stalls = (await ask("/api/v1/stalls")).recent;
    render();
  } catch { /* As above. */ }
}

async function recordings() {
  if (!at("recordings")?.open) return;
  try {
    app.recordings = await ask("/api/v1/recordings");
    render();
  } catch { /* Two read already: it can be opened again. */ }
}

// Only a change of state is read out, not each tick.
function announce(before, node) {
  const words = (one) => one && [one.state, one.ready, ...one.loops.filter((loop) => stuck(loop.state)).map((loop) => loop.loop + loop.state)].join();
  if (before && words(before) !== words(node)) say(`${bigWord(node)[1]}. ${clip(sentence(node), 400)}`);
}

function say(text) {
  if (app.said === text) return;
  app.said = text;
  at("said").textContent = clean(text);
}

function bigWord(node) {
  if (node.unix_ms === 0) return ["unknown", "Not known yet"];
  if (!node.ready && node.state === "none") return ["unknown", "Not known"];
  if (node.state === "none" && node.loops.some((one) => one.state === "recovered")) return ["recovered", "Recovered"];
  return [node.state, STATES[node.state]];
}

function sentence(node) {
  const worst = node.loops.find((one) => one.state === node.state);
  if (node.unix_ms > 0 && stuck(node.state) && worst) return worst.verdict.reason;
  const rest = node.headline.replace(/^No livelock[.:] ?/, "");
  if (rest === "") return `${count(node.loops_total, "loop is", "loops are")} watched; none is stalled.`;
  return rest[0].toUpperCase() + rest.slice(1);
}

function hero(node) {
  const [state, word] = bigWord(node);
  const worst = stuck(state) && node.loops.find((one) => one.state === state);
  const states = ["deadlock", "livelock", "suspected", "recovered", "none"];
  const counts = states.map((one) => [node.loops.filter((loop) => loop.state === one).length, one]).filter(([many]) => many > 0);
  return h("section", { class: "hero", "data-state": state, "aria-labelledby": "state" },
    h("h1", { id: "state" }, icon(state), word),
    worst && h("p", { class: "impact" }, impact(worst, node)),
    worst && h("p", { class: "since" }, loopName(worst), `, ${worst.verdict.signature}, `, entered(worst, node.unix_ms)),
    worst?.measures?.length > 0 && h("p", { class: "links" }, h("a", { class: "button primary", href: `#loop-${node.loops.indexOf(worst)}-todo` }, "What to do")),
    h("p", { class: "sentence" }, clip(sentence(node), 1500)),
    worst && !node.ready && h("ul", { class: "notes" }, node.not_ready.map((one) => h("li", {}, clip(one, 400)))),
    node.loops_total > 1 && h("p", { class: "soft" }, `${node.loops_total} loops: ${counts.map(([many, one]) => `${many} ${one === "none" ? "no livelock" : one}`).join(", ")}.`));
}

const section = (id, title, content, attributes) => h("section", { "aria-labelledby": id, "data-key": id, ...attributes },
  h("h2", { id }, title), content);

function render() {
  const { node } = app;
  const beside = related(node);
  const worst = stuck(node.state) ? node.loops.find((one) => one.state === node.state) : null;
  const cards = node.loops.map((loop, at) => loopCard(loop, node, at,
    view(app.tracks.get(loop.loop) ?? [], node.unix_ms, tick()), loop === worst));
  const none = node.unix_ms === 0 ? "No data yet." : "This node serves no backing device to itself, as far as is known, so it has no loop that could livelock.";
  const shown = new Set([...document.querySelectorAll("details.loop[data-state]")].filter((one) => !stuck(one.dataset.state)).map((one) => one.dataset.loop));
  show(at("main"),
    node.daemon.recording && h("p", { class: "banner", "data-key": "recording" }, h("strong", {}, "This is a recording"), ", ", name(node.daemon.recording),
      node.unix_ms > 0 && [", as of ", time(node.unix_ms)], ". Times are the recording’s."),
    hero(node),
    beside.length > 0 && section("related", "Similar to a livelock, but not one", h("ul", { class: "card plain" }, beside)),
    section("loops", node.loops_total === 1 ? "The loop" : "Loops", [cards.length > 0 ? cards : h("p", { class: "card soft" }, none),
      node.loops_total > cards.length && h("p", { class: "soft" }, `${node.loops_total - cards.length} more are in `, h("a", { href: "/api/v1/loops" }, "/api/v1/loops"), ".")]),
    h("div", { class: "columns", "data-key": "columns" },
      h("div", {},
        section("tasks", "Throttled tasks", tasks(node, app), { class: "card" }),
        section("happened", "What happened", [lines(node, app.documents), keepsakes(app, node.unix_ms)], { class: "card" })),
      h("div", {},
        section("devices", "Devices", devices(node), { class: "card" }),
        section("servers", "NFS server threads", servers(node.servers), { class: "card" }),
        section("signals", "Signals", signals(node), { class: "card" }))));
  // What was quiet and is stuck now opens, whatever was done to it before.
  for (const one of document.querySelectorAll("details.loop")) {
    if (shown.has(one.dataset.loop) && stuck(one.dataset.state)) one.open = true;
  }
  showNode(node);
  const [state, word] = bigWord(node);
  document.title = [word, node.daemon.node && clip(node.daemon.node, 40), "throttle-monitor"].filter(Boolean).join(" – ");
  document.body.dataset.state = state;
  age();
}

// Whose state it is. Recordings have no host name.
function showNode({ daemon }) {
  const host = daemon.node ? h("strong", {}, name(daemon.node, 80)) : daemon.recording && "host not recorded";
  show(at("who"), host, host && ", ", name(`Linux ${daemon.kernel}`, 80));
}

// How old all this is.
function age() {
  const { node, link } = app;
  const chip = at("link");
  if (!node) return show(chip, "Connecting");
  const recording = node.daemon.recording != null;
  const old = Math.max(0, recording ? Date.now() - app.received : Date.now() + app.ahead - node.unix_ms);
  const seconds = old < 10_000 ? `${Math.floor(old / 1000)} s` : lasting(old / 1000);
  const late = old > Math.max(LATE_MS, 3 * tick());
  const ticked = node.unix_ms === 0 ? "no tick yet" : `last tick ${seconds} ago`;
  const is = link === "lost" ? "lost" : late && !recording && node.unix_ms > 0 ? "late" : link;
  document.body.dataset.link = is;
  const words = {
    lost: `Connection lost; ${ticked}`,
    late: `The daemon does not tick; ${ticked}`,
    open: recording && late ? "Recording paused" : recording ? "Playing" : `Live, ${ticked}`,
    connecting: `Connecting; ${ticked}`,
    paused: "Paused while hidden",
  };
  show(chip, h("span", { class: "dot", "aria-hidden": "true" }), words[is]);
}

let source = null;
let again = null;

function connect() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("/api/v1/events?node");
  source.addEventListener("open", () => {
    whole();
    history();
    documents();
    ask("/api/v1/node").then((node) => { if (!app.node) take(node); }).catch(() => {});
  });
  source.addEventListener("node", (event) => {
    whole();
    take(JSON.parse(event.data));
  });
  source.addEventListener("error", failed);
}

function whole() {
  // An answer that was on its way when the tab was hidden.
  if (app.link === "paused") return;
  if (app.link === "lost") say("Connected again.");
  app.link = "open";
  app.heard = Date.now();
}

function broken() {
  if (app.link === "paused") return;
  if (app.link !== "lost") say("Connection lost.");
  app.link = "lost";
  age();
}

// The browser tries again by itself after a broken connection, but not after a refusal:
// others may have all the streams that there are.
function failed() {
  // Closed meanwhile: the tab is hidden.
  if (app.link === "paused") return;
  if (source.readyState !== EventSource.CLOSED) return broken();
  clearTimeout(again);
  again = setTimeout(connect, 5000);
  poll();
}

// Where no stream is available, or one says nothing: the same by asking.
async function poll() {
  try {
    const node = await ask("/api/v1/node");
    const newer = node.unix_ms !== app.node?.unix_ms;
    if (document.hidden && app.link === "paused") return;
    whole();
    take(node);
    if (newer && source.readyState === EventSource.OPEN) connect();
  } catch {
    broken();
  }
}

let left = null;

function visible() {
  clearTimeout(left);
  if (document.hidden) {
    left = setTimeout(() => {
      source?.close();
      clearTimeout(again);
      app.link = "paused";
    }, HIDDEN_MS);
  } else if (app.link === "paused") {
    app.link = "connecting";
    connect();
  }
}

function live() {
  document.addEventListener("visibilitychange", visible);
  document.addEventListener("toggle", (event) => { if (event.target.id === "ended") stalls(); else if (event.target.id === "recordings") recordings(); }, true);
  connect();
  setInterval(age, 1000);
  setInterval(stalls, 5000);
  setInterval(() => {
    const silent = Date.now() - app.heard > Math.max(10_000, 5 * tick());
    if (silent && source.readyState === EventSource.OPEN) poll();
  }, 5000);
}
