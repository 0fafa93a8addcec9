// Runs every query of the dashboards against a Prometheus, as Grafana would with one node
// chosen. A query that fails or finds nothing is a fault, but for those in may-be-empty.
//
//   node live.js --prometheus URL --node INSTANCE [--cluster NAME] [--end TIME]
//                [--range SECONDS] [--scrape-interval SECONDS]
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { folder, load, queries, substitute, times, values } = require('./dashboards');
const { Prometheus, Unreachable } = require('./prometheus');
const { options } = require('./options');

// Lines of "NAME OF THE QUERY # WHY".
function mayBeEmpty() {
  const lines = fs.readFileSync(path.join(folder, 'may-be-empty'), 'utf8').split('\n');
  const entries = lines.filter((line) => line && !line.startsWith('#')).map((line) => line.split(' # '));
  for (const [name, why] of entries) if (!why) throw new Error(`may-be-empty: ${name}: without a reason`);
  return new Map(entries);
}

const hasNumber = (series) => series.some((one) => one.values.some(([, value]) => value !== 'NaN'));

// Whether a query finds anything.
async function finds(prometheus, query, expr, t) {
  if (query.kind === 'variable') return (await prometheus.labelValues(query.label, expr, t)).length > 0;
  if (query.kind === 'instant') return hasNumber(await prometheus.instant(expr, t));
  return hasNumber(await prometheus.range(expr, t));
}

async function main() {
  const given = options();
  const t = times(given);
  const prometheus = new Prometheus(given.prometheus);
  const allowed = mayBeEmpty();
  const known = new Set();
  const faults = [];
  let empty = 0;
  let asked = 0;
  for (const board of load()) {
    const chosen = { instance: given.node, cluster: given.cluster, datasource: given.prometheus };
    // The fleet is asked for all nodes: its queries are about them together.
    if (board.templating.list.find((one) => one.name === 'instance').multi) delete chosen.instance;
    const variables = values(board, chosen);
    for (const query of queries(board)) {
      known.add(query.name);
      asked += 1;
      const expr = substitute(query.expr, variables, t);
      try {
        if (await finds(prometheus, query, expr, t)) continue;
        if (allowed.has(query.name)) empty += 1;
        else faults.push(`${query.name}: found nothing:\n    ${expr.replaceAll('\n', '\n    ')}`);
      } catch (error) {
        if (error instanceof Unreachable) throw error;
        faults.push(`${query.name}: ${error.message}:\n    ${expr.replaceAll('\n', '\n    ')}`);
      }
    }
  }
  for (const name of allowed.keys()) if (!known.has(name)) faults.push(`may-be-empty: there is no query ${name}`);
  for (const fault of faults) console.error(fault);
  console.log(`queries: ${asked} asked, ${empty} empty that may be, ${faults.length} faults`);
  process.exit(faults.length ? 1 : 0);
}

main().catch((error) => {
  console.error(`cannot ask: ${error.message}`);
  process.exit(2);
});
