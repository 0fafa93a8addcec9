// A verdict by its permanent link: the document that proves it, to be read.

// What the page of a node has of such a loop, out of the document.
function asNode(evidence) {
  const { verdict } = evidence;
  const threads = (state) => evidence.threads.filter((one) => one.state === state).length;
  const waiting = evidence.writers.filter((one) => one.waits.some((wait) => wait.bdi === verdict.client_bdi));
  const server = { name: verdict.server, idle: evidence.idle_threads, running: threads("running"), throttled: threads("throttled"), blocked: threads("blocked") };
  const loop = { ...evidence, state: verdict.state, client_waiting: waiting.length };
  return { loops: [loop], servers: [server], bdis: evidence.bdis };
}

const OCCASIONS = {
  confirmed: "The livelock is confirmed",
  deadlock: "The deadlock is confirmed",
  ended: "The livelock is over",
};

function threads(all, node, caption, none) {
  const rows = all.map((one) => row(one.tid,
    [h("strong", {}, name(one.comm, 40)), ` [${one.tid}]`, one.container && h("span", { class: "soft" }, " ", name(container(one.container), 80))],
    [one.state && `${one.state} `, one.waits.map((wait) => h("div", {}, where(wait, node))),
      one.blocked_in && h("div", {}, "in ", code(one.blocked_in), one.behind_throttled && ", behind a throttled thread"),
      one.stack.length > 0 && h("details", {}, h("summary", {}, "Kernel stack"), h("p", { class: "stack" }, one.stack.join("\n")))],
    one.waiting_seconds == null ? "–" : lasting(one.waiting_seconds)));
  return table(caption, ["Task", "State", "Waiting for"], rows, none);
}

function pauses(all, node, page_size) {
  const size = (pages) => bytes(pages * page_size);
  const rows = all.map((one) => row(`${one.bdi}-${one.class}`, [bdiName(one.bdi, node), h("span", { class: "soft" }, ` ${one.class}`)],
    `${lasting(one.pause_seconds)} in ${count(one.events, "pause")}`,
    `${size(one.bdi_dirty_pages)}, setpoint ${size(one.bdi_setpoint_pages)}`,
    `${size(one.dirty_pages)}, dirty limit ${size(one.limit_pages)}`));
  return table("Pauses in balance_dirty_pages over the last 3 seconds", ["Device", "Paused", "Dirty pages of the device", "Of the node"], rows, "No task was paused.");
}

function evidencePage(evidence, path, recording) {
  const node = asNode(evidence);
  const [loop] = node.loops;
  const since = evidence.unix_ms - evidence.monotonic_ms;
  const points = evidence.timeline.map((one) => ({ ...one, unix_ms: one.monotonic_ms + since }));
  const seen = view(points, evidence.unix_ms, 1000);
  const { dirty_bytes, writeback_bytes, dirty_limit_bytes, page_size } = evidence.memory;
  const devices = evidence.bdis.slice(0, 24).map((one) => row(one.bdi,
    [h("strong", {}, bdiName(one.bdi, node)), h("span", { class: "soft block" }, name(`${one.fstype} ${one.device}`.trim(), 80))],
    pages(one.dirty_bytes, one.writeback_bytes, one.threshold_bytes, "share of the dirty limit")));
  return [
    h("section", { class: "hero", "data-state": evidence.verdict.state, "aria-labelledby": "state" },
      h("h1", { id: "state" }, icon(evidence.verdict.state), OCCASIONS[evidence.occasion] ?? "Evidence"),
      h("p", { class: "impact" }, impact(loop, node)),
      h("p", { class: "since" }, loopName(loop), `, ${evidence.signature}, at `, time(evidence.unix_ms), ", Linux ", name(evidence.kernel, 60)),
      h("p", { class: "sentence" }, clip(evidence.verdict.reason, 1500)),
      h("p", { class: "links" }, h("a", { class: "button", href: path, download: `${evidence.id}.json` }, "Download the evidence (JSON)"), " ", recording,
        evidence.follows && [" ", h("a", { href: `/verdicts/${encodeURIComponent(evidence.follows)}` }, "Evidence of its confirmation")])),
    section("cycle", "Who waits for whom", [place(loop), picture(loop),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The cycle as text" }, h("pre", {}, evidence.cycle.map((line) => `${clip(line, 400)}\n`)))], { class: "card" }),
    section("todo", "Mitigation and conditions", h("div", { class: "halves" },
      h("div", {}, measures(evidence.mitigations, "What to do", null, "out", { level: "h3", none: NOT_MEASURED }), measures(evidence.preventions, "Prevention", null, "before", { level: "h3" }), reasons(loop)),
      h("div", {}, conditions(evidence.verdict.conditions, points.length > 0 ? seen : null, ["h3", "h4"]))), { class: "card", "data-state": evidence.verdict.state }),
    section("threads", "The server’s threads", [threads(evidence.threads, node, "Threads of the server that are not idle", "All were idle."),
      evidence.idle_threads != null && h("p", { class: "soft" }, `Idle: ${evidence.idle_threads}.`)], { class: "card" }),
    section("writers", "Other throttled tasks", threads(evidence.writers, node, "Throttled tasks that are not of the server", "None."), { class: "card" }),
    section("devices", "Devices", [h("div", { class: "whole" }, h("h3", {}, "The node’s dirty pages"), pages(dirty_bytes, writeback_bytes, dirty_limit_bytes, "vmstat threshold")),
      table("Backing devices", ["Device", "Pages"], devices, "None.")], { class: "card" }),
    section("pauses", "Pauses", pauses(evidence.pauses, node, page_size), { class: "card" }),
    evidence.left_out.length > 0 && section("left", "Not included", h("ul", {}, evidence.left_out.map((one) => h("li", {}, clip(one, 400)))), { class: "card" }),
  ];
}

// What was recorded of it: kept at the confirmation under its time, loop and signature,
// or what is played, or still in the window that rolls.
function recordingOf(evidence, sets) {
  const stamp = (evidence.follows ?? evidence.id).slice(0, 15);
  const set = sets.find((one) => one.name.startsWith(stamp)) ?? sets.find((one) => one.name === "now");
  return set?.files.length > 0 && [" Recording: ", files(set)];
}

async function verdict(id) {
  const path = `/api/v1/evidence/${encodeURIComponent(id)}`;
  const chip = at("link");
  try {
    const evidence = await ask(path);
    const node = await ask("/api/v1/node").catch(() => null);
    const recordings = await ask("/api/v1/recordings").catch(() => null);
    show(at("main"), evidencePage(evidence, path, recordings && recordingOf(evidence, recordings.recordings)));
    show(chip, "As it was then");
    if (node) showNode(node);
  } catch {
    show(chip, "The document could not be read in full; reload to try again");
  }
}
