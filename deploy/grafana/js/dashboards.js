// The committed dashboards, their queries, and what Grafana puts in place of variables.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const folder = path.join(__dirname, '..');
const files = ['throttle-monitor-fleet.json', 'throttle-monitor-node.json'];

// A collapsed row has its panels within: here all stand as they do once every row is open.
function opened(panels) {
  const all = [];
  let shift = 0;
  const lower = (panel) => ({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } });
  for (const panel of panels) {
    all.push(lower(panel));
    const within = panel.panels ?? [];
    all.push(...within.map(lower));
    if (within.length) shift += Math.max(...within.map(({ gridPos }) => gridPos.y + gridPos.h)) - panel.gridPos.y - 1;
  }
  return all;
}

function load() {
  return files.map((file) => {
    const board = JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'));
    return { file, ...board, panels: opened(board.panels) };
  });
}

// Each query of a dashboard: of panels, annotations and variables.
function queries(board) {
  const all = [];
  for (const panel of board.panels) {
    for (const target of panel.targets ?? []) {
      all.push({
        kind: target.instant ? 'instant' : 'range',
        name: `${board.title} / ${panel.title} / ${target.refId}`,
        expr: target.expr,
        panel,
        target,
      });
    }
  }
  for (const annotation of board.annotations.list.filter((a) => a.expr)) {
    all.push({
      kind: 'annotation',
      name: `${board.title} / annotation ${annotation.name}`,
      expr: annotation.expr,
      annotation,
    });
  }
  for (const variable of board.templating.list.filter((v) => v.type === 'query')) {
    const text = variable.query.query;
    const found = /^label_values\(([^]*), (\w+)\)$/.exec(text);
    if (!found) throw new Error(`${board.title}: variable ${variable.name}: not label_values: ${text}`);
    all.push({
      kind: 'variable',
      name: `${board.title} / variable ${variable.name}`,
      expr: found[1],
      label: found[2],
      variable,
    });
  }
  return all;
}

const duration = (seconds) =>
  seconds < 1 ? `${Math.round(seconds * 1000)}ms` : `${Math.round(seconds)}s`;

// The times of a query as Grafana reckons them: a step that gives at most `points`, never
// under the scrape interval, and a rate over at least four scrapes.
function times({ start, end, scrape, points = 500 }) {
  const nice = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const least = Math.max((end - start) / points, scrape);
  const step = nice.find((one) => one >= least) ?? Math.ceil(least);
  return { start, end, step, rate: Math.max(step + scrape, 4 * scrape) };
}

const escapeRegexp = (text) => text.replace(/[\\^$*+?.()|[\]{}/]/g, '\\\\$&');

// What each variable stands for: `chosen` has values by name, else it is "All".
function values(board, chosen) {
  const result = {};
  for (const variable of board.templating.list) {
    const value = chosen[variable.name];
    if (value === undefined) result[variable.name] = variable.allValue;
    else if (variable.multi) result[variable.name] = escapeRegexp(value);
    else result[variable.name] = value;
  }
  return result;
}

// The query with all variables replaced; one that is not known is an error.
function substitute(text, variables, t) {
  const known = {
    ...variables,
    __interval: duration(t.step),
    __rate_interval: duration(t.rate),
    __range: duration(t.end - t.start),
  };
  return text.replace(/\$\{?([a-zA-Z_]\w*)\}?/g, (_, name) => {
    if (known[name] === undefined) throw new Error(`no value for $${name} in: ${text}`);
    return known[name];
  });
}

module.exports = { folder, load, queries, times, values, substitute };
