// The last minutes of a loop: a band for its state and for each condition, and the
// line of its progress. What was not seen is a gap.

const LONGEST_MS = 600_000;
const WIDTH = 600;

// Points of /api/v1/history and of the ticks since. The server's word goes before what
// was kept here, and what is later than the newest tick is of a clock that was set back.
function merge(kept, fresh, newest) {
  const first = fresh[0]?.unix_ms ?? Infinity;
  const old = kept.filter((point) => point.unix_ms < first);
  const last = fresh.at(-1)?.unix_ms ?? 0;
  const since = kept.filter((point) => point.unix_ms > last);
  return [...old, ...fresh, ...since]
    .filter((point) => point.unix_ms <= newest && point.unix_ms > newest - LONGEST_MS);
}

const pointOf = (loop, unix_ms) => {
  const conditions = CONDITIONS.map(([key]) => loop.verdict.conditions[key]);
  return {
    unix_ms,
    state: loop.state,
    holds: conditions.map((one) => one.holds),
    progress_bytes_per_second: conditions[1].value,
  };
};

// How much of the last minutes is worth the room.
function span(points, now) {
  const seen = points.length > 0 ? now - points[0].unix_ms : 0;
  return [30_000, 60_000, 120_000, 300_000].find((step) => seen <= step) ?? LONGEST_MS;
}

// Stretches of one value, in the picture's units. A tick stands for the time up to the
// next one; two of them missed are a gap.
function runs(points, value, start, length, tick) {
  const x = (ms) => Math.max(0, ((ms - start) / length) * WIDTH);
  const found = [];
  points.forEach((point, at) => {
    const next = points[at + 1]?.unix_ms ?? point.unix_ms;
    const until = next - point.unix_ms > 2.5 * tick ? point.unix_ms + tick : next;
    if (until < start) return;
    const [is, last] = [value(point), found.at(-1)];
    if (last && last.is === is && Math.abs(last.to - x(point.unix_ms)) < 0.01) last.to = x(until);
    else found.push({ is, from: x(point.unix_ms), to: x(until) });
  });
  return found;
}

const blocks = (some, y, height) =>
  some.map(({ from, to }) => `M${from.toFixed(1)} ${y}H${Math.max(to, from + 1).toFixed(1)}v${height}H${from.toFixed(1)}Z`).join("");

function band(all, kinds, label) {
  return s("svg", { class: "band", viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    all.length > 0 && s("path", { class: "seen", d: blocks(all, 0, 20) }),
    kinds.map(([is, y, height]) => {
      const some = all.filter((run) => run.is === is);
      return some.length > 0 && s("path", { "data-is": String(is), d: blocks(some, y, height) });
    }));
}

// Of the time that was seen.
function share(all, is) {
  const sum = (some) => some.reduce((total, run) => total + run.to - run.from, 0);
  const whole = sum(all);
  return whole > 0 ? sum(all.filter((run) => run.is === is)) / whole : 0;
}

function progressLine(points, start, length, tick) {
  const rated = points.filter((point) => point.progress_bytes_per_second != null && point.unix_ms >= start);
  const peak = Math.max(1, ...rated.map((point) => point.progress_bytes_per_second));
  let [d, last] = ["", null];
  for (const point of rated) {
    const x = ((point.unix_ms - start) / length) * WIDTH;
    const y = 37 - (point.progress_bytes_per_second / peak) * 34;
    d += `${last != null && point.unix_ms - last <= 2.5 * tick ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    last = point.unix_ms;
  }
  return { d, peak: rated.length > 0 ? peak : null };
}

const legend = (marks) => h("p", { class: "legend" }, marks.map(([is, word]) =>
  h("span", { class: "short" }, h("span", { class: "key", "data-is": is, "aria-hidden": "true" }), word, " ")));

// A view of a loop's points: what the rows of the conditions are drawn with.
function view(points, now, tick) {
  const length = span(points, now);
  const start = now - length;
  const minutes = length < 60_000 ? "half minute" : count(length / 60_000, "minute");
  const line = progressLine(points, start, length, tick);
  const drawn = (value) => runs(points, value, start, length, tick);
  const axis = () => h("p", { class: "axis" }, [0, 0.5, 1].map((part) => time(start + part * length, start + part * length)));
  return {
    condition(at) {
      const all = drawn((point) => String(point.holds[at]));
      return [band(all, [["true", 0, 20], ["false", 17, 3], ["null", 9, 2]],
        `${CONDITIONS[at][1]} over the last ${minutes}: held for ${percent(share(all, "true"))} of what was seen`), axis()];
    },
    state() {
      const all = drawn((point) => point.state);
      const bad = all.filter((run) => stuck(run.is)).map((run) => run.is);
      const kinds = [["none", 17, 3], ["recovered", 13, 7], ["suspected", 9, 11], ["livelock", 0, 20], ["deadlock", 0, 20]];
      const label = `State over the last ${minutes}: ${bad.length > 0 ? [...new Set(bad)].join(", ") : "nothing suspected"}`;
      return [band(all, kinds, label), axis(),
        legend(kinds.map(([is]) => [is, STATES[is]]).filter(([is]) => all.some((run) => run.is === is)))];
    },
    progress() {
      const words = line.peak == null ? "not known" : `at most ${rate(line.peak)}`;
      return [h("p", { class: "axis" }, h("span", {}, "Acknowledged to the client"), line.peak != null && h("span", {}, `scale: 0 to ${rate(line.peak)}`)),
        s("svg", { class: "line", viewBox: `0 0 ${WIDTH} 40`, preserveAspectRatio: "none", role: "img", "aria-label": `Progress over the last ${minutes}: ${words}` },
          s("path", { class: "floor", d: `M0 38.5H${WIDTH}M0 1.5H${WIDTH}` }),
          line.d && s("path", { class: "way", d: line.d })), axis()];
    },
  };
}
