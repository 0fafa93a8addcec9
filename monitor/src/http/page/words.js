// Numbers and states as people read them.

const STATES = {
  none: "No livelock",
  suspected: "Suspected",
  livelock: "Livelock",
  deadlock: "Deadlock",
  recovered: "Recovered",
  unknown: "Not known",
};

// The four conditions: as they are called in JSON, for people, and what each asks.
const CONDITIONS = [
  ["demand", "Demand", "the client has pages to write"],
  ["no_progress", "No progress", "next to nothing is written"],
  ["blockage", "Blockage", "the server’s threads wait"],
  ["closing_edge", "Closing edge", "they wait for the client’s own pages"],
];

const stuck = (state) => ["suspected", "livelock", "deadlock"].includes(state);

function holds(condition) {
  if (condition.holds === true) return "holds";
  return condition.holds === false ? "does not hold" : "not known";
}

const held = (condition) =>
  condition.holds == null ? "unknown" : condition.holds ? "holds" : "not";

// Rounded as the daemon does it: from the exact middle to the even digit.
function rounded(value, places) {
  const middle = places === 1 ? value % 1 === 0.25 : value % 2 === 0.5;
  return (middle ? value - 0.03 : value).toFixed(places);
}

// The digits of text.rs, which makes the sentences of verdicts.
function bytes(value) {
  if (value == null) return "not known";
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1023.5) break;
    [value, unit] = [value / 1024, next];
  }
  return `${rounded(value, unit === "B" || value >= 100 ? 0 : 1)} ${unit}`;
}

const rate = (value) => (value == null ? "not known" : `${bytes(value)}/s`);
const percent = (share) => (share == null ? "not known" : `${rounded(share * 100, 0)} %`);
const count = (number, one, more = `${one}s`) => `${number} ${number === 1 ? one : more}`;

// A condition's number, in its unit.
function number(key, value) {
  if (value == null) return "";
  if (key === "demand") return bytes(value);
  return key === "no_progress" ? rate(value) : percent(value);
}

// How long: two units at most.
function lasting(seconds) {
  if (seconds == null) return "not known";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const steps = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = steps.findIndex(([, length]) => whole >= length);
  const [unit, length] = steps[first];
  const [smaller, part] = steps[first + 1] ?? ["", Infinity];
  const rest = Math.floor((whole % length) / part);
  const head = `${Math.floor(whole / length)} ${unit}`;
  return rest > 0 ? `${head} ${rest} ${smaller}` : head;
}

const two = (value) => String(value).padStart(2, "0");

function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function day(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

// Latest time of a Date; a hostile recording may have any.
const LAST = 8.64e15;

// In the reader's zone; with its day, unless that is the one of `beside`. UTC on demand.
function time(ms, beside) {
  const at = Math.min(ms, LAST);
  const words = beside && day(at) === day(Math.min(beside, LAST)) ? clock(at) : `${day(at)} ${clock(at)}`;
  const utc = new Date(at).toISOString();
  return h("time", { datetime: utc, title: `${utc.replace("T", " ").replace("Z", "")} UTC` }, words);
}

const ICONS = {
  none: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM4.6 8.2 7 10.6l4.5-5",
  suspected: "M8 1.6 15 14.4H1ZM8 6v4M8 11.7v.6",
  livelock: "M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1ZM5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2",
  deadlock: "M1.5 1.5h13v13h-13ZM6 5v6M10 5v6",
  recovered: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM8 11.5v-7M5 7.3l3-3 3 3",
  unknown: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM6 6.2c.2-2.6 4.2-2.4 4 .1C9.9 7.7 8 7.8 8 9.3M8 11.5v.6",
};

// Each state has its own shape: colour alone is not enough.
const icon = (state) =>
  s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
    s("path", { d: ICONS[state] ?? ICONS.unknown }));

const badge = (state) =>
  h("span", { class: "badge", "data-state": state }, icon(state), STATES[state] ?? clip(state, 20));

const SCOPES = {
  "same-netns": "in the same network namespace",
  "cross-netns": "across network namespaces",
};
const EXEMPT = {
  yes: " is exempt from local dirty throttling",
  no: " is not exempt from local dirty throttling",
  partly: " is only partly exempt from local dirty throttling",
  unknown: " may be exempt from local dirty throttling or not",
};
const PROOFS = {
  kernel: "the kernel names the server",
  stream: "both ends of the connection carry the same bytes",
  xid: "the same calls were seen at both ends",
  socket: "both ends of the connection are on this node",
  address: "the server’s address is one of this node’s",
};

// What `since_unix_ms` is the time of, by state.
const ENTERED = {
  suspected: "suspected at",
  livelock: "livelock confirmed at",
  deadlock: "deadlock confirmed at",
  recovered: "recovered at",
};

const entered = (loop, now) => [ENTERED[loop.state] ?? "watched since", " ", time(loop.since_unix_ms, now),
  ENTERED[loop.state] && ` (${lasting((now - loop.since_unix_ms) / 1000)} ago)`];

// The path first, for that is what people know; the number after it.
const named = (path, number) => (path ? [name(path, 80), " (", name(number, 60), ")"] : name(number, 60));

const loopName = (loop) => named(loop.found?.mounts[0]?.mount_point, loop.loop);

function bdiName(bdi, node) {
  const loop = node.loops.find((one) => one.verdict.client_bdi === bdi && one.found?.mounts.length > 0);
  return named(loop?.found.mounts[0].mount_point ?? node.bdis.find((one) => one.bdi === bdi)?.device, bdi);
}

// What a stuck loop means to those who use the node.
function impact(loop, node) {
  if (!stuck(loop.state)) return null;
  const { client_waiting: tasks, found, verdict, state } = loop;
  const mount = name(found?.mounts[0]?.mount_point ?? "the mount of this loop", 80);
  const server = node.servers.find((one) => one.name === verdict.server);
  const held = server ? server.throttled + server.blocked : 0;
  const all = server ? held + server.running + (server.idle ?? 0) : 0;
  const writers = state === "suspected" ? count(tasks, "task waits", "tasks wait") : count(tasks, "task cannot", "tasks cannot");
  return [tasks > 0 && [writers, state === "suspected" ? " to write to " : " write to ", mount, ". "],
    held > 0 && [`${held} of ${all} `, name(verdict.server, 40), " threads throttled or blocked: clients of this server ",
      held === all && server.idle != null ? "wait." : "may wait."]];
}

// Who is in a container, in one word that helps to find it.
function container(one) {
  if (!one) return null;
  const pod = one.pod ? `${one.namespace}/${one.pod}` : one.hostname;
  const words = [pod, one.name].filter(Boolean).join("/");
  return words || (one.pod_uid && `pod ${one.pod_uid}`) || clip(one.id ?? "", 13);
}
