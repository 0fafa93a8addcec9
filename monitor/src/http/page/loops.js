// A loop: the cycle, what to type, the four conditions and their last minutes.

function commands(lines, what) {
  if (lines.length === 0) return null;
  return h("div", { class: "commands" },
    h("pre", {}, h("code", {}, lines.map((line, at) => [at > 0 && "\n", h("span", {}, line)]))),
    h("button", { type: "button", "data-does": "copy", "aria-label": `Copy: ${clip(what, 100)}` }, "Copy"));
}

const measure = (one, at, mark) =>
  h("li", { "data-key": `${mark}-${at}` },
    h("p", { class: "what" }, clip(one.what, 600)),
    commands(one.commands, one.what),
    one.seen && h("p", { class: "seen" }, h("strong", {}, "Seen "), clip(one.seen, 600)),
    one.undo?.length > 0 && h("details", {},
      h("summary", {}, "To take it back, once the load is gone"),
      commands(one.undo, `to take back: ${one.what}`)));

const NOT_MEASURED = "No way out of this signature was measured, so none is offered.";

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
      h("summary", {}, rest.length === 1 ? "One other way" : `${rest.length} other ways`),
      h("ol", { start: 2 }, rest)));
}

const vain = (all) => all.length > 0 && h("details", { "data-key": "vain" },
  h("summary", {}, `What does not help (${all.length})`),
  h("ul", { class: "plain" }, all.map((one) => h("li", {}, h("strong", {}, clip(one.what, 300)), `: ${clip(one.seen, 600)}`))));

function conditions(all, seen, [level, lower] = ["h4", "h5"]) {
  const rows = CONDITIONS.map(([key, title, asks], at) => {
    const one = all[key];
    return h("li", { class: "condition", "data-holds": held(one), "data-key": key },
      h(lower, {}, h("span", { class: "mark", "aria-hidden": "true" }, at + 1), title, " ",
        h("span", { class: "holds" }, holds(one)), " ",
        h("span", { class: "value" }, number(key, one.value))),
      seen?.condition(at),
      h("p", {}, clip(one.why || asks, 1000)));
  });
  const [line, words] = seen?.progress() ?? [];
  return h("section", { class: "conditions", "data-key": "conditions" },
    h(level, {}, "The four conditions"),
    h("ol", { class: "plain" }, rows),
    seen && h("div", { class: "condition" },
      h(lower, {}, "Acknowledged to the client ", h("span", { class: "value" }, words)), line,
      h(lower, {}, "State"), seen.state(), seen.axis()));
}

// Who mounts what from whom, in a line.
function place(loop) {
  const { found, verdict } = loop;
  if (!found) return h("p", { class: "place" }, "This loop is there no more.");
  const mounts = found.mounts.slice(0, 3).map((mount, at) => [at > 0 && ", ", name(mount.source), " at ", name(mount.mount_point)]);
  const clients = (found.client_containers ?? []).map(container).filter(Boolean);
  const server = container(found.server_container);
  return h("p", { class: "place" },
    mounts, found.mounts.length > 3 && ` and ${found.mounts.length - 3} more`,
    clients.length > 0 && [" (in ", name(clients.slice(0, 3).join(", ")), ")"],
    " is served by this node’s own ", name(found.server), server && [" (in ", name(server), ")"],
    SCOPES[found.scope] && `, ${SCOPES[found.scope]}`,
    verdict.server_bdi && [", which writes to ", name(verdict.server_bdi),
      (found.server_fstype || found.server_device) && [" (", name(`${found.server_fstype} ${found.server_device}`.trim()), ")"]],
    `. Known because ${PROOFS[found.proof] ?? found.proof}.`,
    found.exempt && EXEMPT[found.exempt.state] && [" ", name(found.server), EXEMPT[found.exempt.state],
      found.exempt.reason && ` (${found.exempt.basis ? `${clip(found.exempt.basis, 20)}: ` : ""}${clip(found.exempt.reason, 200)})`, "."]);
}

function reasons(loop) {
  const { found, verdict } = loop;
  const { share, missing } = verdict.confidence;
  return [
    (found?.risk.length > 0 || found?.recommendations.length > 0) && h("details", { "data-key": "risk" },
      h("summary", {}, "Why this loop is dangerous, and what to do before it stands still"),
      h("ul", {}, [...found.risk, ...found.recommendations].map((one) => h("li", {}, clip(one, 600))))),
    missing.length > 0 && h("details", { "data-key": "missing" },
      h("summary", {}, `Certain to ${percent(share)}: what was missing`),
      h("ul", {}, missing.map((one) => h("li", {}, clip(one, 600))))),
  ];
}

function loopCard(loop, node, at, seen, headed) {
  const is = stuck(loop.state);
  const id = `loop-${at}`;
  const hint = is ? `As root${node.daemon.node ? ` on ${clip(node.daemon.node, 60)}` : ""}. The best comes first, as measured in guests.` : null;
  const best = measures(loop.measures, is ? "What to type" : "What prevents it", hint, is ? "out" : "before", { id: `${id}-todo`, none: is && NOT_MEASURED });
  return h("details", { class: "card loop", "data-state": loop.state, "data-key": loop.loop, "data-loop": loop.loop, open: opens(loop, node) },
    h("summary", {},
      h("h3", { id }, badge(loop.state), " ", name(loop.loop, 60)),
      h("span", { class: "soft" }, is || loop.state === "recovered"
        ? [`${loop.verdict.signature}, since `, time(loop.since_unix_ms, node.unix_ms), `, ${lasting((node.unix_ms - loop.since_unix_ms) / 1000)}`]
        : `since `, !is && loop.state !== "recovered" && time(loop.since_unix_ms, node.unix_ms))),
    place(loop),
    !headed && is && h("p", {}, clip(loop.verdict.reason, 1000)),
    picture(loop, node, id),
    h("div", { class: "halves" },
      h("div", {}, best, vain(loop.in_vain), reasons(loop), proof(loop)),
      h("div", {}, conditions(loop.verdict.conditions, seen))));
}

function proof(loop) {
  return h("p", { class: "links", "data-key": "proof" },
    loop.evidence && [h("a", { href: `/verdicts/${encodeURIComponent(loop.evidence)}` },
      loop.occasion === "ended" ? "Evidence of the livelock that ended" : "Evidence of this verdict"), " to keep or to send. "],
    h("code", {}, `throttle-monitor explain ${loop.verdict.signature}`), " says what it means.");
}

// Of many loops only those that matter are open at first.
const opens = (loop, node) => stuck(loop.state) || node.loops.length <= 2;
