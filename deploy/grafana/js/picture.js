// Draws a dashboard from a Prometheus' data: the page for a browser to make a picture of.
// Prints the page's width and height.
//
//   node picture.js --board node|fleet --out PAGE.html --prometheus URL --node INSTANCE ...
'use strict';

const fs = require('node:fs');
const { load, substitute, times, values } = require('./dashboards');
const { frames } = require('./frames');
const { options } = require('./options');
const { html } = require('./page');
const { Prometheus } = require('./prometheus');

// Steps that follow one another are one region, as Grafana makes them.
async function regions(board, prometheus, variables, t) {
  const found = [];
  for (const { expr, iconColor, enable } of board.annotations.list) {
    if (!expr || !enable) continue;
    for (const { values: points } of await prometheus.range(substitute(expr, variables, t), t)) {
      let last;
      for (const [at] of points) {
        if (last && at * 1000 <= last.to + t.step * 1000) last.to = at * 1000;
        else found.push((last = { from: at * 1000, to: at * 1000, color: iconColor }));
      }
    }
  }
  return found;
}

async function main() {
  const string = { type: 'string' };
  const given = options({ board: string, out: string, height: string });
  const t = times(given);
  const board = load().find((one) => one.file === `throttle-monitor-${given.board}.json`);
  const prometheus = new Prometheus(given.prometheus);
  const chosen = { instance: given.node, cluster: given.cluster, datasource: 'prometheus' };
  if (given.board === 'fleet') delete chosen.instance;
  const variables = values(board, chosen);
  const shades = await regions(board, prometheus, variables, t);
  const drawn = [];
  for (const panel of board.panels) {
    drawn.push({ panel, frames: panel.targets ? await frames(prometheus, panel, variables, t) : [] });
  }
  const page = html(board, drawn, variables, t, shades);
  fs.writeFileSync(given.out, page.text);
  // A picture of the upper part alone, if a height is given.
  console.log(`${page.width},${Math.min(page.height, Number(given.height ?? Infinity))}`);
}

main().catch((error) => {
  console.error(`cannot draw: ${error.message}`);
  process.exit(2);
});
