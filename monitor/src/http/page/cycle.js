// The cycle at a glance, as the API tells it: stations, and between them what should flow
// and who waits for whom, an arrow for each of the four conditions.

const station = (one) => h("div", { class: "station" },
  h("p", { class: "title" }, name(one.name, 60), one.bdi && ` (${clip(one.bdi, 20)})`),
  one.lines.map((line, at) => h("p", { class: at === 0 ? "big" : "small" }, clip(line, 80))));

const edge = (one, at) => h("div", { class: one.waits ? "edge waits" : "edge", "data-holds": held(one) },
  h("span", { class: "mark", "aria-hidden": "true" }, at + 1),
  h("span", { class: "unseen" }, `${CONDITIONS[at][1]} ${holds(one)}: `),
  h("span", { class: "label" }, h("strong", {}, clip(one.value, 30)), " ", clip(one.unit, 60)));

function picture(loop) {
  const { stations, arrows, closing } = loop.picture;
  return h("figure", { class: "cycle", "data-state": loop.state },
    h("div", { class: "stations" }, stations.map((one, from) =>
      [station(one), arrows.map((arrow, at) => arrow.from === from && edge(arrow, at))])),
    h("figcaption", {}, clip(closing, 400)));
}
