// A loop: the cycle, what to do, the four conditions and their last minutes.

function commands(lines, what) {
  if (lines.length === 0) return null;
  // An option is not broken at its hyphens.
  const words = (text) => text.split(/( +)/).map((word) => (word.includes("-") ? h("span", {}, word) : word));
  const shown = (line) => line.split(/(?=\s+#\s)/).map((part, at) => (at === 0 ? words(part) : h("i", {}, part)));
  return h("div", { class: "commands" },
    h("pre", {}, h("code", {}, lines.map((line, at) => [at > 0 && "\n", h("span", {}, shown(line))]))),
    h("button", { type: "button", "data-does": "copy", "aria-label": `Copy: ${clip(what, 100)}` }, "Copy"));
}

const measure = (one, at, mark) =>
  h("li", { "data-key": `${mark}-${at}` },
    h("p", { class: "what" }, clip(one.what, 600)),
    commands(one.commands, one.what),
    one.undo?.length > 0 && [h("p", { class: "undo" }, "Undo, once the load is gone:"), commands(one.undo, `undo: ${one.what}`)],
    one.seen && h("p", { class: "seen" }, h("strong", {}, "Measured: "), clip(one.seen, 600)));

const NOT_MEASURED = "No mitigation of this signature was measured, so none is offered.";

// The best first; the others are a step away.
function measures(all, heading, hint, mark, { level = "h4", id = null, none = null } = {}) {
  if (all.length === 0) {
    return none && h("section", { class: "todo", "data-key": mark, id }, h(level, {}, heading), h("p", {}, none));
  }
  const rest = all.slice(1).map((one, at) => measure(one, at + 1, mark));
  return h("section", { class: "todo", "data-key": mark, id },
    h(level, {}, heading), hint && h("p", { class: "hint" }, hint),
    h("ol", {}, measure(all[0], 0, mark)),
    rest.length > 0 && h("details", {},
      h("summary", {}, count(rest.length, "alternative")),
      h("ol", { start: 2 }, rest)));
}

const ineffective = (all) => all.length > 0 && h("details", { "data-key": "ineffective" },
  h("summary", {}, `Ineffective (${all.length})`),
  h("ul", { class: "plain" }, all.map((one) => h("li", {}, h("strong", {}, clip(one.what, 300)), `: ${clip(one.seen, 600)}`))));

function conditions(all, seen, [level, lower] = ["h4", "h5"]) {
  const rows = CONDITIONS.map(([key, title, asks], at) => {
    const one = all[key];
    return h("li", { class: "condition", "data-holds": held(one), "data-key": key },
      h(lower, {}, h("span", { class: "mark", "aria-hidden": "true" }, at + 1), title, " ",
        h("span", { class: "holds" }, holds(one)), " ",
        h("span", { class: "value" }, number(key, one.value))),
      seen?.condition(at),
      key === "no_progress" && seen?.progress(),
      h("p", { class: "why" }, clip(one.why || asks, 1000)));
  });
  return h("section", { class: "conditions", "data-key": "conditions" },
    h(level, {}, "The four conditions"),
    seen && legend([["true", "holds"], ["false", "does not hold"], ["null", "unknown"], ["seen", "no data"]]),
    h("ol", { class: "plain" }, rows),
    seen && h("div", { class: "condition" }, h(lower, {}, "State"), seen.state()));
}

// From the client's device over its servers to a local one.
function path(nodes) {
  const device = ({ kind, name, bdi }) => (name ? `${name} (${kind} ${bdi})` : `${kind} ${bdi}`);
  const server = ({ name, tgid }) => (tgid === null ? name : `${name}[${tgid}]`);
  return nodes.slice(0, 12).map((node) => (node.node === "device" ? device(node) : server(node))).join(" → ");
}

// Who mounts what from whom, in a line.
function place(loop) {
  const { found, verdict } = loop;
  if (!found) return h("p", { class: "place" }, "This loop is gone.");
  const mounts = found.mounts.slice(0, 3).map((mount, at) => [at > 0 && ", ", name(mount.source), " at ", name(mount.mount_point)]);
  const disk = `${found.server_fstype ?? ""} ${found.server_device ?? ""}`.trim();
  const clients = (found.client_containers ?? []).map(container).filter(Boolean);
  const server = container(found.server_container);
  return h("p", { class: "place" },
    mounts.length > 0 ? mounts : name(found.client_name || verdict.client_bdi), found.mounts.length > 3 && ` and ${found.mounts.length - 3} more`,
    clients.length > 0 && [" (in ", name(clients.slice(0, 3).join(", ")), ")"],
    " is served by this node’s own ", name(found.server), server && [" (in ", name(server), ")"],
    SCOPES[found.scope] && ` ${SCOPES[found.scope]}`, ".",
    verdict.server_bdi && [" ", name(found.server), " writes to ", named(disk, verdict.server_bdi), "."],
    found.path?.length > 0 && [" Path: ", name(path(found.path)), "."],
    ` Known because ${PROOFS[found.proof] ?? found.proof}.`,
    found.exempt && EXEMPT[found.exempt.state] && [" ", name(found.server), EXEMPT[found.exempt.state],
      found.exempt.reason && ` (${found.exempt.basis ? `${clip(found.exempt.basis, 20)}: ` : ""}${clip(found.exempt.reason, 200)})`, "."]);
}

function reasons(loop) {
  const { found, verdict } = loop;
  const { share, missing } = verdict.confidence;
  return [
    (found?.risk.length > 0 || found?.recommendations.length > 0) && h("details", { "data-key": "risk" },
      h("summary", {}, "Risk and prevention of this loop"),
      h("ul", {}, [...found.risk, ...found.recommendations].map((one) => h("li", {}, clip(one, 600))))),
    missing.length > 0 && h("details", { "data-key": "missing" },
      h("summary", {}, `Confidence ${percent(share)}: missing inputs`),
      h("ul", {}, missing.map((one) => h("li", {}, clip(one, 600))))),
  ];
}

function loopCard(loop, node, at, seen, headed) {
  const is = stuck(loop.state);
  const id = `loop-${at}`;
  const hint = is ? `As root${node.daemon.node ? ` on ${clip(node.daemon.node, 60)}` : ""}. The best one is first, as measured in virtual machines.` : null;
  const best = measures(loop.measures, is ? "What to do" : "Prevention", hint, is ? "out" : "before", { id: `${id}-todo`, none: is && NOT_MEASURED });
  return h("details", { class: "card loop", "data-state": loop.state, "data-key": loop.loop, "data-loop": loop.loop, open: opens(loop, node) },
    h("summary", {},
      h("h3", { id }, badge(loop.state), " ", h("span", {}, loopName(loop))),
      h("span", { class: "soft" }, ENTERED[loop.state] && `${loop.verdict.signature}, `, entered(loop, node.unix_ms))),
    place(loop),
    !headed && is && [h("p", { class: "impact" }, impact(loop, node)), h("p", {}, clip(loop.verdict.reason, 1000))],
    picture(loop),
    h("div", { class: "halves" },
      h("div", {}, best, ineffective(loop.ineffective), reasons(loop), proof(loop)),
      h("div", {}, conditions(loop.verdict.conditions, seen))));
}

function proof(loop) {
  return h("p", { class: "links", "data-key": "proof" },
    loop.evidence && [h("a", { href: `/verdicts/${encodeURIComponent(loop.evidence)}` },
      loop.occasion === "ended" ? "Evidence of the livelock that ended" : "Evidence of this verdict"), ", to keep or to send. "],
    "Explanation: ", h("a", { href: `/runbooks/${encodeURIComponent(loop.verdict.signature)}?loop=${encodeURIComponent(loop.loop)}` }, "runbook"),
    ", ", h("code", {}, `throttle-monitor explain ${loop.verdict.signature}`));
}

// Of many loops only those that matter are open at first.
const opens = (loop, node) => stuck(loop.state) || node.loops.length <= 2;
