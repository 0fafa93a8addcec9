// Runs the queries about loops across nodes against a real Prometheus that scrapes nodes in two
// rings and evaluates the rules. A query that finds nothing is a fault: all that these panels have
// to show is there. So is a graph whose arrows lead to nodes that it does not have.
//
//   node rings.js    prometheus in PATH
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { folder, load, queries, substitute, times, values } = require('./dashboards');
const { frames } = require('./frames');
const { Prometheus } = require('./prometheus');
const nodes = require('./ring-nodes');

const patience = 60e3;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// What only the rules across nodes record, or what they read.
const isAcross = ({ expr }) => /throttle_(remote_mount|node_address)/.test(expr);

function serve() {
  const server = http.createServer((request, response) => {
    const page = nodes.pages[request.url.slice(1)];
    response.writeHead(page ? 200 : 404, { 'Content-Type': 'text/plain; version=0.0.4' });
    response.end(page?.() ?? '');
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

async function freePort() {
  const server = await serve();
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function configuration(port) {
  const targets = Object.keys(nodes.pages).map((name) => ({
    targets: [`127.0.0.1:${port}`],
    labels: { instance: name, cluster: nodes.cluster, __metrics_path__: `/${name}` },
  }));
  return JSON.stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['alerts.yml', 'rules.yml'],
    scrape_configs: [{ job_name: 'throttle-monitor', static_configs: targets }],
  });
}

function start(scratch, port) {
  for (const file of ['alerts.yml', 'rules.yml']) {
    const text = fs.readFileSync(path.join(folder, '../prometheus', file), 'utf8');
    // Here a minute is too long to wait for.
    fs.writeFileSync(path.join(scratch, file), text.replace(/\binterval: .*/g, 'interval: 1s'));
  }
  const log = fs.openSync(path.join(scratch, 'log'), 'w');
  return spawn('prometheus', [
    `--config.file=${path.join(scratch, 'prometheus.yml')}`,
    `--storage.tsdb.path=${path.join(scratch, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ], { stdio: ['ignore', log, log] });
}

// Of the nodes' and edges' frames of a graph: what Grafana's panel would not draw.
function graphFaults(panel, [vertices, edges]) {
  const field = (frame, name) => {
    const found = frame?.fields.find((one) => one.name === name);
    if (!found || found.values.some((value) => value === '')) throw new Error(`${panel.title}: not every row has ${name}`);
    return [...found.values];
  };
  try {
    const ids = field(vertices, 'id');
    for (const name of ['title', 'mainstat', 'color']) field(vertices, name);
    for (const name of ['id', 'mainstat']) field(edges, name);
    for (const color of ['red', 'orange']) {
      if (!field(edges, 'color').includes(color)) return [`${panel.title}: no arrow is ${color}`];
    }
    const ends = [...field(edges, 'source'), ...field(edges, 'target')];
    const unknown = ends.filter((end) => !ids.includes(end));
    if (new Set(ids).size !== ids.length) return [`${panel.title}: a node is there twice: ${ids}`];
    return unknown.length ? [`${panel.title}: no node is ${unknown}`] : [];
  } catch (error) {
    return [error.message];
  }
}

async function ask(prometheus) {
  const end = Math.floor(Date.now() / 1000);
  const t = times({ start: end - 60, end, scrape: 1 });
  const faults = [];
  let asked = 0;
  for (const board of load()) {
    const variables = values(board, { datasource: prometheus.url });
    for (const query of queries(board).filter(isAcross)) {
      asked += 1;
      const expr = substitute(query.expr, variables, t);
      const found = await prometheus.instant(expr, t).catch((error) => error);
      if (found instanceof Error) faults.push(`${query.name}: ${found.message}:\n    ${expr}`);
      else if (found.length === 0) faults.push(`${query.name}: found nothing:\n    ${expr.replaceAll('\n', '\n    ')}`);
    }
    for (const panel of board.panels.filter((one) => one.type === 'nodeGraph')) {
      faults.push(...graphFaults(panel, await frames(prometheus, panel, variables, t)));
    }
  }
  if (asked === 0) faults.push('no panel is about loops across nodes');
  return { asked, faults };
}

async function main() {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'rings-'));
  const server = await serve();
  const port = await freePort();
  fs.writeFileSync(path.join(scratch, 'prometheus.yml'), configuration(server.address().port));
  const child = start(scratch, port);
  const failed = new Promise((_, fail) => {
    child.on('error', (error) => fail(new Error(`prometheus: ${error.message}. Is it in PATH? (Debian: package prometheus)`)));
    child.on('exit', () => fail(new Error(`prometheus ended:\n${fs.readFileSync(path.join(scratch, 'log'), 'utf8').slice(-800)}`)));
  });
  failed.catch(() => {});
  const prometheus = new Prometheus(`http://127.0.0.1:${port}`);
  try {
    let last;
    const begin = Date.now();
    do {
      await Promise.race([failed, sleep(1000)]);
      last = await ask(prometheus).catch((error) => ({ asked: 0, faults: [error.message] }));
    } while (last.faults.length && Date.now() - begin < patience);
    for (const fault of last.faults) console.error(fault);
    console.log(`rings: ${last.asked} queries asked, ${last.faults.length} faults`);
    return last.faults.length ? 1 : 0;
  } finally {
    child.removeAllListeners('exit');
    child.kill();
    await new Promise((done) => (child.exitCode === null && child.pid ? child.on('exit', done) : done()));
    server.close();
    server.closeAllConnections();
    fs.rmSync(scratch, { recursive: true });
  }
}

main().then((code) => process.exit(code), (error) => {
  console.error(`cannot ask: ${error.message}`);
  process.exit(2);
});
