// The cycle as a picture: who waits for whom. Four stations, and an edge for each
// of the four conditions; the last one leads back to the client's pages.

const wide = matchMedia("(min-width: 60rem)");

const pen = document.createElement("canvas").getContext("2d");

// As much of a text as there is room for.
function fit(text, size, weight, room) {
  pen.font = `${weight} ${size}px system-ui, sans-serif`;
  let letters = Array.from(clip(text, 80));
  if (pen.measureText(letters.join("")).width <= room) return letters.join("");
  while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return `${letters.join("").trimEnd()}…`;
}

// What stands in the stations, and on the edges.
function stations(loop, node) {
  const { verdict, found } = loop;
  const mount = found?.mounts[0];
  const server = node.servers.find((one) => one.name === verdict.server);
  const waiting = (tasks, seconds) => (tasks > 0 ? `oldest ${lasting(seconds)}` : "none is held up");
  const all = server && (server.idle ?? 0) + server.running + server.throttled + server.blocked;
  const busy = server && `${server.throttled} throttled, ${server.blocked} blocked`;
  return [
    { title: "Writers", big: `${loop.client_waiting} waiting`, small: waiting(loop.client_waiting, loop.client_oldest_seconds) },
    { title: mount ? `Mount ${mount.mount_point}` : "Mount", big: `${bytes(loop.client_held_bytes)}`.replace("not known", "size not known"), small: `unwritten on ${verdict.client_bdi}` },
    { title: `${verdict.server}${server?.tgid ? ` [${server.tgid}]` : ""}`, big: server ? `${server.throttled + server.blocked} of ${all} stuck` : "not seen", small: busy ?? `${loop.server_waiting} waiting` },
    { title: found?.server_device ? `Disk ${found.server_device}` : "Server’s disk", big: verdict.server_bdi ? bytes(loop.server_held_bytes).replace("not known", "size not known") : "not known", small: verdict.server_bdi ? `unwritten on ${verdict.server_bdi}` : "what it writes to was not seen" },
  ];
}

function edges(loop) {
  const on = loop.verdict.conditions;
  const calls = loop.writes_pending;
  return [
    { on: on.demand, label: [number("demand", on.demand.value), "to write"] },
    { on: on.no_progress, label: [number("no_progress", on.no_progress.value), calls == null ? "written" : `${calls} unanswered`] },
    { on: on.blockage, label: [number("blockage", on.blockage.value), "of time stuck"] },
    { on: on.closing_edge, label: [number("closing_edge", on.closing_edge.value), "of what it waits for is the client’s"] },
  ];
}

function picture(loop, node, id) {
  const [boxes, links] = [stations(loop, node), edges(loop)];
  const told = boxes.map((box, at) => `${box.title}: ${box.big}, ${box.small}.`
    + ` Edge ${at + 1}, ${CONDITIONS[at][1].toLowerCase()}, to ${at < 3 ? boxes[at + 1].title : `${boxes[1].title} again`}: ${holds(links[at].on)}.`);
  const closed = links.every((link) => link.on.holds);
  const [width, height, drawn] = wide.matches ? across(boxes, links) : down(boxes, links);
  return h("figure", { class: "cycle" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id}-t ${id}-d`, "data-state": loop.state },
      s("title", { id: `${id}-t` }, `Who waits for whom in ${clip(loop.loop, 60)}`),
      s("desc", { id: `${id}-d` }, clip(told.join(" "), 1200)),
      drawn),
    h("figcaption", {}, closed
      ? "All four hold: the cycle is closed. Nobody in it can go on until another one does."
      : `${count(links.filter((link) => link.on.holds).length, "condition")} of four ${links.filter((link) => link.on.holds).length === 1 ? "holds" : "hold"}: the cycle is open.`));
}

function box(at, x, y, w, tall, content) {
  const middle = x + w / 2;
  const line = (text, dy, size, weight, kind) =>
    s("text", { x: middle, y: y + dy, class: kind, "text-anchor": "middle" }, fit(text, size, weight, w - 20));
  return s("g", { class: "station" },
    s("rect", { x, y, width: w, height: tall, rx: 8 }),
    line(content.title, tall * 0.27, 14, 600, "title"),
    line(content.big, tall * 0.57, 21, 700, "big"),
    line(content.small, tall * 0.82, 13, 400, "small"));
}

// A line with its arrow head and the number of its condition.
function edge(at, link, d, head, mark) {
  return s("g", { class: "edge", "data-holds": held(link.on) },
    s("path", { class: "way", d }),
    s("path", { class: "head", d: head }),
    s("circle", { cx: mark[0], cy: mark[1], r: 11 }),
    s("text", { x: mark[0], y: mark[1] + 4.5, class: "mark", "text-anchor": "middle" }, at + 1));
}

const words = (x, y, anchor, lines, room) => lines.filter(Boolean).map((text, at) =>
  s("text", { x, y: y + at * 16, class: at === 0 ? "value" : "unit", "text-anchor": anchor }, fit(text, 13, at === 0 ? 650 : 400, room)));

function across(boxes, links) {
  const [w, tall, gap, top] = [168, 104, 124, 12];
  const x = (at) => at * (w + gap) + 4;
  const [y, low] = [top + 34, top + tall + 40];
  const drawn = boxes.map((content, at) => box(at, x(at), top, w, tall, content));
  for (const at of [0, 1, 2]) {
    const [from, to] = [x(at) + w + 3, x(at + 1) - 4];
    const middle = (from + to) / 2;
    drawn.push(edge(at, links[at], `M${from} ${y}H${to - 8}`, `M${to} ${y}l-11-6v12Z`, [middle - 4, y]),
      words(middle - 2, y + 30, "middle", links[at].label, gap - 8));
  }
  const [from, to] = [x(3) + w / 2, x(1) + w / 2];
  const middle = (from + to) / 2;
  drawn.push(edge(3, links[3],
    `M${from} ${top + tall + 3}V${low - 10}q0 10-10 10H${to + 10}q-10 0-10-10V${top + tall + 12}`,
    `M${to} ${top + tall + 4}l-6 11h12Z`, [middle, low]),
    words(middle, low + 28, "middle", [links[3].label.filter(Boolean).join(" ")], 400));
  return [4 * w + 3 * gap + 8, low + 36, drawn];
}

function down(boxes, links) {
  const [w, tall, gap, top, left] = [264, 84, 54, 4, 4];
  const y = (at) => top + at * (tall + gap);
  const drawn = boxes.map((content, at) => box(at, left, y(at), w, tall, content));
  for (const at of [0, 1, 2]) {
    const [from, to, x] = [y(at) + tall + 3, y(at + 1) - 4, left + 46];
    const middle = (from + to) / 2;
    drawn.push(edge(at, links[at], `M${x} ${from}V${to - 8}`, `M${x} ${to}l-6-11h12Z`, [x, middle - 3]),
      s("text", { x: x + 22, y: middle + 2, class: "value" },
        fit(links[at].label.filter(Boolean).join(at === 1 ? ", " : " "), 13, 650, w - 80)));
  }
  const [from, to, right] = [y(3) + tall / 2, y(1) + tall / 2, left + w + 24];
  const middle = (from + to) / 2;
  drawn.push(edge(3, links[3],
    `M${left + w + 3} ${from}H${right - 10}q10 0 10-10V${to + 10}q0-10-10-10H${left + w + 13}`,
    `M${left + w + 4} ${to}l11-6v12Z`, [right, middle]),
    s("text", { x: 0, y: 0, class: "value", "text-anchor": "middle", transform: `translate(${right + 18} ${middle})rotate(90)` },
      fit(links[3].label.filter(Boolean).join(" "), 13, 650, from - to)));
  return [left + w + 55, y(3) + tall + 4, drawn];
}
