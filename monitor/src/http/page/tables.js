// What else there is on the node: who waits, servers, devices, signals, what happened.

function table(caption, heads, rows, none) {
  if (rows.length === 0) return h("p", { class: "soft" }, none);
  return h("table", {}, h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows));
}

const row = (key, ...cells) => h("tr", { "data-key": key },
  cells.map((cell, at) => (at === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell))));

const who = (one) => [
  h("strong", {}, name(one.comm, 40)), ` [${one.tid}]`,
  h("span", { class: "soft" }, [one.class !== "user" && one.class, container(one.container)].filter(Boolean).map((word, at) => [at > 0 ? ", " : " ", name(word, 80)])),
];
// A long name of a function may be broken at its underscores.
const code = (text) => h("span", { class: "code" }, clip(text, 120).split(/(?<=_)/).map((part, at) => [at > 0 && h("wbr"), part]));
const where = (one, node) => [code(one.cause), one.bdi && [" on ", bdiName(one.bdi, node)]];

function waitsNow(waits) {
  if (waits.length === 0) return "No task is throttled now.";
  const all = waits.reduce((sum, one) => sum + one.tasks, 0);
  const parts = waits.slice(0, 6).map((one) => `${one.tasks} ${one.class} in ${one.cause} (longest ${lasting(one.oldest_seconds)})`);
  return `${count(all, "task is", "tasks are")} throttled now: ${parts.join("; ")}${waits.length > 6 ? " and others" : ""}.`;
}

const FEW = 6;

function tasks(node, app) {
  const order = (one) => -(one.waiting_seconds ?? 0);
  const some = node.tasks.tasks.filter((one) => one.waiting_seconds != null || one.throttled_seconds >= 0.0005);
  const all = some.sort((a, b) => order(a) - order(b));
  const shown = app.allTasks ? all : all.slice(0, FEW);
  const rows = shown.flatMap((one) => {
    const key = `${one.tid}-${one.cause}`;
    const stack = app.stacks.get(one.tid);
    const long = one.waiting_seconds != null
      ? h("strong", {}, lasting(one.waiting_seconds)) : [lasting(one.throttled_seconds), h("span", { class: "soft" }, " of the last tick")];
    const ask = h("button", { type: "button", class: "quiet", "data-does": "stack", "data-tid": one.tid, "aria-expanded": String(stack != null), "aria-label": `Kernel stack of ${clip(one.comm, 40)} ${one.tid}` }, "Stack");
    return [row(key, who(one), where(one, node), h("span", { class: "short" }, long, " ", ask)),
      stack && h("tr", { "data-key": `${key}-stack` }, h("td", { colspan: 3 }, h("p", { class: "stack" }, stack)))];
  });
  return [
    h("p", {}, waitsNow(node.waits)),
    table("Throttled tasks, the longest first", ["Task", "Throttled in", "For"], rows, "No task was throttled within the last tick."),
    all.length > FEW && h("button", { type: "button", class: "quiet", "data-does": "more", "aria-expanded": String(app.allTasks) },
      app.allTasks ? "Show fewer" : `Show all ${all.length}`),
    node.tasks.matching > all.length && h("p", { class: "soft" }, "Throttled at some time lately: ",
      h("a", { href: "/api/v1/tasks?limit=1000&sort=delay" }, count(node.tasks.matching, "task")), " (JSON)."),
    h("details", { id: "ended", "data-key": "ended" },
      h("summary", {}, "Long waits that ended"), ended(app)),
  ];
}

function ended(app) {
  if (!app.stalls) return h("p", { class: "soft" }, "Loading.");
  const rows = app.stalls.slice(0, 30).map((one, at) =>
    row(`e${at}`, who(one), where(one, app.node), [lasting(one.delay_seconds), h("span", { class: "soft" }, " from ", time(Date.parse(one.at), app.node?.unix_ms))]));
  return table("Long waits that ended, the newest first", ["Task", "Throttled in", "For"], rows, "None was longer than the threshold.");
}

function servers(all) {
  const rows = all.map((one) => row(`${one.name}-${one.tgid}`, [name(one.name, 40), one.tgid != null && ` [${one.tgid}]`],
    one.idle ?? "–", one.running, one.throttled, one.blocked));
  return table("NFS servers’ threads by what they do", ["Server", "Idle", "Running", "Throttled", "Blocked"], rows, "No NFS server runs on this node.");
}

// Pages, and what they are held against as a mark.
function bar(dirty, writeback, limit, label) {
  const all = (dirty ?? 0) + (writeback ?? 0);
  const most = Math.max(all, limit ?? 0, 1);
  const x = (value) => Number(((value / most) * 200).toFixed(1));
  return s("svg", { class: "bar", viewBox: "0 0 200 10", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("rect", { class: "room", width: 200, height: 10 }),
    s("rect", { class: "dirty", width: x(dirty ?? 0), height: 10 }),
    s("rect", { class: "writeback", x: x(dirty ?? 0), width: x(writeback ?? 0), height: 10 }),
    limit != null && ["limit", "limit"].map((is) => s("path", { class: is, d: `M${Math.min(x(limit), 199)} 0V10` })));
}

const swatch = (of) => h("span", { class: `swatch ${of}`, "aria-hidden": "true" });

function pages(dirty, writeback, limit, of) {
  const words = [`${bytes(dirty)} dirty`, `${bytes(writeback)} in writeback`, limit != null && `${of} ${bytes(limit)}`];
  return [bar(dirty, writeback, limit, words.filter(Boolean).join(", ")),
    h("span", { class: "soft" }, ["dirty", "writeback", "limit"].map((is, at) =>
      words[at] && [at > 0 && " ", h("span", { class: "short" }, swatch(is), words[at])]))];
}

const ROLES = { client: "the loop’s client", server: "the loop’s server" };

function devices(node) {
  const rows = node.bdis.map((one) => row(one.bdi,
    [h("strong", {}, bdiName(one.bdi, node)), " ", ROLES[one.role] && h("span", { class: "tag" }, ROLES[one.role]),
      h("span", { class: "soft block" }, name(one.role === "client" ? `${one.fstype} ${one.device}`.trim() : one.fstype, 80))],
    pages(one.dirty_bytes, one.writeback_bytes, one.threshold_bytes, "share of the dirty limit"),
    [one.waiting_tasks > 0 ? h("span", { class: "short" }, count(one.waiting_tasks, "task")) : h("span", { class: "soft" }, "none"),
      one.congestion?.congested && h("span", { class: "tag warn block" }, "congested",
        one.congested_since_unix_ms && [" since ", time(one.congested_since_unix_ms, node.unix_ms)])]));
  const { dirty_bytes, writeback_bytes, dirty_limit_bytes } = node.memory;
  return [
    h("div", { class: "whole" }, h("h3", {}, "The node’s dirty pages"),
      pages(dirty_bytes, writeback_bytes, dirty_limit_bytes, "vmstat threshold")),
    table("Backing devices: those of loops first, then the dirtiest", ["Device", "Pages", "Throttled"], rows, "None is known yet."),
    node.bdis_total > node.bdis.length && h("p", { class: "soft" }, `${node.bdis_total - node.bdis.length} more are in `, h("a", { href: "/api/v1/bdis" }, "/api/v1/bdis"), "."),
  ];
}

const related = (node) => node.related.map((one) => h("li", { "data-key": `${one.kind}-${one.bdi}` },
  h("strong", {}, one.kind.replaceAll("-", " ")), one.bdi && [" of ", bdiName(one.bdi, node)],
  ", since ", time(one.since_unix_ms, node.unix_ms), ": ", clip(one.reason, 600)));

function lines(node, documents) {
  if (node.lines.length === 0) return h("p", { class: "soft" }, "Nothing since the daemon started.");
  return h("ol", { class: "lines" }, node.lines.map((one, at) => {
    const document = one.kind === "verdict" && documents.find((kept) => kept.loop === one.of && kept.unix_ms === one.unix_ms);
    const loop = node.loops.find((some) => some.loop === one.of);
    return h("li", { "data-key": `${one.unix_ms}-${one.kind}-${one.of}-${one.what}-${node.lines.length - at}` },
      time(one.unix_ms, node.unix_ms), h("div", {}, loop ? loopName(loop) : bdiName(one.of, node), " ",
        one.kind === "verdict" ? badge(one.what === "none" ? "none" : one.what) : h("strong", {}, one.what),
        document && [" ", h("a", { href: `/verdicts/${encodeURIComponent(document.id)}` }, "evidence")],
        h("p", { class: "soft" }, clip(one.why, 1000))));
  }));
}

const files = (set) => set.files.map((one, at) => [at > 0 && ", ",
  h("a", { href: `/api/v1/recordings/${encodeURIComponent(set.name)}/${encodeURIComponent(one.name)}`, download: true }, clip(one.name, 80)), ` (${bytes(one.bytes)})`]);

// Files to download.
function keepsakes(app, unix_ms) {
  const { documents, recordings } = app;
  return [
    documents.length > 0 && h("details", { "data-key": "kept" },
      h("summary", {}, `Evidence of verdicts (${documents.length})`),
      h("ul", {}, [...documents].reverse().map((one) => h("li", {},
        h("a", { href: `/verdicts/${encodeURIComponent(one.id)}` }, time(one.unix_ms, unix_ms), ` ${one.loop} ${one.signature}: ${one.occasion}`))))),
    h("details", { id: "recordings", "data-key": "recordings" }, h("summary", {}, "Recordings to download"),
      !recordings ? h("p", { class: "soft" }, "Loading.") : recordings.recordings.length === 0
        ? h("p", { class: "soft" }, clip(recordings.why_none ?? "none yet", 300))
        : h("ul", {}, recordings.recordings.slice(0, 20).map((set) => h("li", {},
          set.name === "now" ? "The last minutes: " : `${clip(set.name, 120)}: `, files(set))))),
  ];
}

// Signals that are missing, by what can be done about them.
function missingSignals(missing) {
  const remedies = new Map();
  for (const one of missing) remedies.set(one.remedy, [...(remedies.get(one.remedy) ?? []), one]);
  return [...remedies].map(([remedy, some]) => [
    h("ul", {}, some.map((one) => h("li", { "data-key": one.signal },
      h("strong", {}, name(one.signal, 60)), ` is ${one.state}${one.needed ? " and needed" : ""}.${one.limitation ? ` Lost: ${clip(one.limitation, 400)}.` : ""}`,
      one.reason && h("details", {}, h("summary", {}, "What the kernel said"), h("p", { class: "soft" }, clip(one.reason, 800)))))),
    remedy && h("p", {}, h("strong", {}, "To do: "), `${clip(remedy, 400)}.`),
  ]);
}

function signals(node) {
  const lost = Object.entries(node.lost).filter(([, total]) => total > 0);
  const missing = node.signals.filter((one) => one.applies && one.state !== "attached");
  const rest = node.signals.filter((one) => !missing.includes(one));
  const attached = node.signals.filter((one) => one.state === "attached").length;
  return [
    h("p", {}, node.signals.length === 0 ? "The probes are not attached yet."
      : `${attached} of ${node.signals.length} signals are attached${missing.length > 0 ? ". This kernel supports these as well, but they are missing or incomplete:" : ". No signal that this kernel supports is missing."}`),
    missingSignals(missing),
    lost.length > 0 && h("p", {}, h("strong", {}, "Lost: "), lost.map(([why, total]) => `${total} (${why})`).join(", "), "."),
    node.incomplete.length > 0 && [h("p", {}, "Where loops cannot be detected:"), h("ul", {}, node.incomplete.map((one) => h("li", {}, clip(one, 400))))],
    rest.length > 0 && h("details", {}, h("summary", {}, "All others"),
      table("Signals", ["Signal", "Strategy", "State"], rest.map((one) => row(one.signal, name(one.signal, 60), name(one.strategy, 60), one.state)), "")),
  ];
}
