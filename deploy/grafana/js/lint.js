// Our own rules for the dashboards. Prints what breaks one, and exits with 1.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parser } = require('@prometheus-io/lezer-promql');
const { getValueFormats, standardTransformers } = require('./grafana');
const { folder, load, queries, substitute } = require('./dashboards');

const docs = path.join(folder, '../../docs');
const complaints = [];

// Panel types that Grafana 10 to 12 have and that are not deprecated.
const types = ['timeseries', 'stat', 'table', 'state-timeline', 'heatmap', 'bargauge', 'nodeGraph', 'text', 'row'];
const units = new Set(getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
const transformers = new Set(Object.values(standardTransformers).map((one) => one.id));
// Those of the table of docs/verdict.md: each may stand in a link to its runbook.
const verdict = fs.readFileSync(path.join(docs, 'verdict.md'), 'utf8');
const [, edges] = /\n\| signature \| closing edge \|[^\n]*\n([^]*?)\n\n/.exec(verdict);
const signatures = [...edges.matchAll(/^\| `([a-z-]+)`/gm)].map((row) => row[1]);

// The metrics that the daemon documents; `up` is Prometheus' own.
const metrics = new Set(
  fs.readFileSync(path.join(docs, 'metrics.md'), 'utf8').match(/`(throttle|process)_\w+`/g).map((name) => name.slice(1, -1)),
).add('up');
// What the rules record has no job, and mostly no single node.
const rules = ['alerts.yml', 'rules.yml'].map((file) => fs.readFileSync(path.join(folder, '../prometheus', file), 'utf8')).join('\n');
const records = new Set([...rules.matchAll(/^ *record: "(.+)"$/gm)].map((found) => found[1]));

// --- PromQL ------------------------------------------------------------------

function* nodes(text) {
  const cursor = parser.parse(text).cursor();
  do yield cursor.node;
  while (cursor.next());
}

// Every selector: its metric and its matchers as "label op value".
function selectors(text) {
  const found = [];
  for (const node of nodes(text)) {
    if (node.name !== 'VectorSelector') continue;
    const matchers = [...node.node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []];
    found.push({
      metric: text.slice(node.getChild('Identifier')?.from ?? 0, node.getChild('Identifier')?.to ?? 0),
      matchers: matchers.map((one) => text.slice(one.from, one.to).replace(/\s*(=~|!~|!=|=)\s*/, '$1')),
    });
  }
  return found;
}

const broken = (text) => [...nodes(text)].some((node) => node.type.isError);

function queryRules(board, query, job, complain) {
  const times = { start: 0, end: 3600, step: 15, rate: 60 };
  let text;
  try {
    // Variables stay as they are, which is fine within strings; only times are filled in.
    const names = Object.fromEntries(board.templating.list.map((v) => [v.name, `$${v.name}`]));
    text = substitute(query.expr, names, times);
  } catch (error) {
    complain(error.message);
    return;
  }
  if (broken(text)) complain(`is not PromQL: ${text}`);
  const found = selectors(text);
  if (found.length === 0) complain('selects no series');
  if (!query.variable && !found.some(({ matchers }) => matchers.some((one) => one.includes('$instance')))) complain('does not use $instance');
  for (const { metric, matchers } of found) {
    if (metric.includes(':')) {
      if (!records.has(metric)) complain(`no rule records ${metric}`);
      if (!matchers.some((one) => one.includes('$cluster'))) complain(`${metric} does not use $cluster`);
      continue;
    }
    const family = metric.replace(/_(bucket|sum|count)$/, '');
    if (!metrics.has(metric) && !metrics.has(family)) complain(`${metric} is not in docs/metrics.md`);
    if (query.variable?.name === 'job') continue;
    const jobs = matchers.filter((one) => /^job\b/.test(one));
    if (jobs.length !== 1) complain(`${metric} is selected without the job`);
    job.add(jobs[0]);
    if (query.variable?.name === 'cluster') continue;
    if (!matchers.some((one) => one.includes('$cluster'))) complain(`${metric} does not use $cluster`);
    if (query.variable?.name === 'instance') continue;
    if (!matchers.some((one) => one.includes('$instance'))) complain(`${metric} does not use $instance`);
  }
}

// --- panels ------------------------------------------------------------------

function panelRules(panel, complain) {
  if (!types.includes(panel.type)) complain(`type ${panel.type} is not one of ${types.join(', ')}`);
  if (!panel.title) complain('has no title');
  if (panel.type === 'row' || panel.type === 'text') return;

  if (!(panel.description?.length > 40)) complain('has no description that says what is bad');
  if (!panel.targets?.length) complain('asks nothing');
  const letters = (panel.targets ?? []).map((target) => target.refId);
  if (new Set(letters).size !== letters.length) complain('two targets have the same refId');
  for (const target of [panel, ...(panel.targets ?? [])]) {
    if (target.datasource?.uid !== '${datasource}') complain('does not use the variable datasource');
  }

  const { defaults, overrides } = panel.fieldConfig;
  const used = [defaults.unit, panel.options?.yAxis?.unit];
  for (const { id, value } of overrides.flatMap((one) => one.properties)) if (id === 'unit') used.push(value);
  if (!defaults.unit) complain('has no unit');
  for (const unit of used.filter((one) => one && !/^(suffix|prefix):/.test(one))) {
    if (!units.has(unit)) complain(`Grafana knows no unit ${unit}`);
  }
  for (const { id } of panel.transformations ?? []) {
    if (!transformers.has(id)) complain(`Grafana knows no transformation ${id}`);
  }
  const steps = defaults.thresholds?.steps ?? [];
  if (steps[0]?.value !== null) complain('its thresholds do not begin with null');
}

function overlaps(a, b) {
  const [p, q] = [a.gridPos, b.gridPos];
  return p.x < q.x + q.w && q.x < p.x + p.w && p.y < q.y + q.h && q.y < p.y + p.h;
}

function gridRules(board, complain) {
  const ids = board.panels.map((panel) => panel.id);
  if (new Set(ids).size !== ids.length) complain('panel ids are not unique');
  board.panels.forEach((panel, i) => {
    if (panel.gridPos.x + panel.gridPos.w > 24) complain(`${panel.title} is wider than the page`);
    for (const other of board.panels.slice(i + 1)) {
      if (overlaps(panel, other)) complain(`${panel.title} and ${other.title} overlap`);
    }
  });
}

// --- links -------------------------------------------------------------------

// All addresses of an object, wherever they stand; also those in Markdown.
function addresses(value) {
  if (typeof value === 'string') return [...value.matchAll(/\]\(([^)]+)\)/g)].map((found) => found[1]);
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, one]) => (key === 'url' ? [one] : addresses(one)));
}

function linkRules(boards, board, complain) {
  for (const url of addresses(board)) {
    const inside = /^\/d\/([^/?]+)/.exec(url);
    if (inside) {
      const target = boards.find((one) => one.uid === inside[1]);
      if (!target) complain(`${url}: no dashboard has this uid`);
      for (const [, name] of url.matchAll(/[?&]var-(\w+)=/g)) {
        if (!target?.templating.list.some((one) => one.name === name)) complain(`${url}: that has no variable ${name}`);
      }
      continue;
    }
    const name = /^https?:\/\/\S+\/runbooks\/(\S+)$/.exec(url)?.[1];
    const page = name && `runbooks/${name}.md`;
    if (!page) {
      complain(`${url} is neither a dashboard nor a runbook`);
      continue;
    }
    const all = page.includes('${__value.text}') ? signatures.map((one) => page.replace('${__value.text}', one)) : [page];
    for (const one of all) if (!fs.existsSync(path.join(docs, one))) complain(`${url}: there is no docs/${one}`);
  }
}

// --- all of it ---------------------------------------------------------------

function boardRules(board, complain) {
  if (!board.uid) complain('has no uid');
  if (!(board.schemaVersion >= 36 && board.schemaVersion <= 41)) complain('schemaVersion is not one that Grafana 10 to 12 take');
  const names = board.templating.list.map((variable) => variable.name);
  if (board.panels.filter((one) => one.type !== 'row').length >= 20) complain('has 20 panels or more');
  for (const name of ['datasource', 'job', 'cluster', 'instance']) if (!names.includes(name)) complain(`has no variable ${name}`);
  for (const variable of board.templating.list) {
    if (variable.includeAll && variable.allValue !== '.*') complain(`All of ${variable.name} leaves out what has no such label`);
  }
  const everything = JSON.stringify(board.panels) + JSON.stringify(board.annotations) + JSON.stringify(board.templating);
  for (const name of names) if (!everything.includes(`$${name}`) && !everything.includes(`\${${name}}`)) complain(`nothing uses $${name}`);
}

const boards = load();
const jobs = new Set();
for (const board of boards) {
  const of = (what) => (text) => complaints.push(`${board.file}: ${what}${text}`);
  boardRules(board, of(''));
  gridRules(board, of(''));
  linkRules(boards, board, of(''));
  for (const panel of board.panels) panelRules(panel, of(`panel "${panel.title}": `));
  for (const query of queries(board)) queryRules(board, query, jobs, of(`${query.name}: `));
}
// One word, one number: on both dashboards, and in the alerts.
const scales = new Map();
for (const board of boards) {
  for (const panel of board.panels) {
    const steps = panel.fieldConfig?.defaults.thresholds?.steps;
    if (!steps) continue;
    const scale = JSON.stringify(steps);
    const other = scales.get(panel.title) ?? { file: board.file, scale };
    scales.set(panel.title, other);
    if (other.scale !== scale) complaints.push(`${board.file}: panel "${panel.title}": other thresholds than in ${other.file}`);
  }
}
const alerts = fs.readFileSync(path.join(folder, '../prometheus/alerts.yml'), 'utf8');
const [, stuck] = /abs\(time\(\) - throttle_\w+_timestamp_seconds\{[^}]*\}\)\) > (\d+)/.exec(alerts);
for (const board of boards) {
  const text = JSON.stringify(board.panels);
  const limits = [...text.matchAll(/_timestamp_seconds\{[^}]*\}[ )]*> (?:bool )?(\d+)/g)].map((found) => found[1]);
  if (limits.length === 0) complaints.push(`${board.file}: says of no daemon that it is stuck`);
  for (const limit of limits) if (limit !== stuck) complaints.push(`${board.file}: stuck after ${limit} s, and the alert says ${stuck} s`);
  for (const [, seconds] of text.matchAll(/last tick is over (\d+) s old/g)) {
    if (seconds !== stuck) complaints.push(`${board.file}: the words say ${seconds} s, and the alert ${stuck} s`);
  }
}
if (jobs.size > 1) complaints.push(`several jobs are selected: ${[...jobs].join(', ')}`);
const sources = path.join(folder, '../mixin/dashboards');
for (const file of fs.readdirSync(sources, { recursive: true }).filter((one) => one.endsWith('.libsonnet'))) {
  if (/job\s*=(?!~"\$job")/.test(fs.readFileSync(path.join(sources, file), 'utf8'))) complaints.push(`${file}: a job; it belongs to config.libsonnet`);
}

for (const complaint of complaints) console.error(complaint);
const count = boards.flatMap(queries).length;
console.log(`rules: ${boards.length} dashboards, ${boards.flatMap((b) => b.panels).length} panels, ${count} queries, ${complaints.length} complaints`);
process.exit(complaints.length ? 1 : 0);
