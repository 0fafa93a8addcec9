// The dashboards against Grafana's own types: each becomes a literal of TypeScript that
// has to satisfy the @grafana/schema of a version, so that a key or a value that this
// version does not know is an error of the compiler.
//
//   node types.js DIRECTORY    a directory beside node_modules, for what is generated
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const { load } = require('./dashboards');

const directory = path.resolve(process.argv[2]);
const modules = path.join(directory, '../node_modules');
const versions = ['schema-10', 'schema-11', 'schema-12'];

// Enumerations are written as their values in JSON; all that has a default may be absent.
const prelude = `
type Json<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : unknown extends T ? unknown : T extends Array<infer E> ? Array<Json<E>>
  : T extends object ? { [K in keyof T]?: Json<T[K]> } : T;
`;

// Where a version keeps a panel's types differs: the one declaration file there.
function declaration(version, folder) {
  for (const layout of ['dist/esm/raw/composable', 'dist/types/raw/composable']) {
    const at = path.join(modules, version, layout, folder, 'x');
    if (!fs.existsSync(at)) continue;
    const file = fs.readdirSync(at).find((one) => one.endsWith('.d.ts'));
    return path.join(at, file).replace(/\.d\.ts$/, '');
  }
  return undefined;
}

// What Grafana leaves to the data source, and so is in no schema.
function withoutPrometheus(annotation) {
  const { expr, step, titleFormat, textFormat, tagKeys, ...rest } = annotation;
  return rest;
}

// The literals of a dashboard: [name, type, value].
function literals(board, panels) {
  const { file, panels: all, ...rest } = board;
  const found = [[`${file}`, 'Dashboard', {
    ...rest,
    annotations: { list: board.annotations.list.map(withoutPrometheus) },
  }]];
  for (const panel of all) {
    const of = (what) => `${file} / ${panel.title} / ${what}`;
    if (panel.type === 'row') {
      found.push([of('row'), 'RowPanel', panel]);
      continue;
    }
    const { options, targets, fieldConfig, ...plain } = panel;
    const type = panel.type.replaceAll('-', '').toLowerCase();
    panels.add(type);
    found.push([of('panel'), 'Panel', plain]);
    found.push([of('options'), `${type}.Options`, options]);
    if (!fieldConfig) continue;
    const { custom, ...defaults } = fieldConfig.defaults;
    found.push([of('defaults'), 'FieldConfig', defaults]);
    if (custom) found.push([of('custom'), `${type}.FieldConfig`, custom]);
    for (const { matcher, properties } of fieldConfig.overrides) {
      found.push([of('matcher'), 'MatcherConfig', matcher]);
      for (const { id, value } of properties) {
        const [key, own] = id.startsWith('custom.') ? [id.slice(7), `${type}.FieldConfig`] : [id, 'FieldConfig'];
        found.push([of(`override of ${matcher.options}`), own, { [key]: value }]);
      }
    }
    for (const { datasource, ...target } of targets) found.push([of(`query ${target.refId}`), 'Query', target]);
  }
  return found;
}

function source(version) {
  const panels = new Set();
  const all = load().flatMap((board) => literals(board, panels));
  // Only the first of the versions has the types of Prometheus' queries.
  const query = declaration(version, 'prometheus/dataquery') ?? declaration('schema-10', 'prometheus/dataquery');
  const lines = [
    `import type { Dashboard, Panel, RowPanel, FieldConfig, MatcherConfig } from '${version}';`,
    `import type { PrometheusDataQuery as Query } from '${query}';`,
    ...[...panels].map((type) => `import type * as ${type} from '${declaration(version, `${type}/panelcfg`)}';`),
    prelude,
  ];
  for (const [name, type, value] of all) {
    lines.push(`/* ${name} */ (${JSON.stringify(value)}) satisfies Json<${type}>;`);
  }
  return { text: lines.join('\n'), names: all.length };
}

fs.mkdirSync(directory, { recursive: true });
let wrong = 0;
for (const version of versions) {
  const file = path.join(directory, `${version}.ts`);
  const { text, names } = source(version);
  fs.writeFileSync(file, text);
  const program = ts.createProgram([file], {
    noEmit: true, strict: true, skipLibCheck: true, types: [],
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ESNext,
  });
  const errors = ts.getPreEmitDiagnostics(program);
  for (const error of errors) {
    const where = error.file?.fileName === file
      ? /^\/\* (.*?) \*\//.exec(text.split('\n')[error.file.getLineAndCharacterOfPosition(error.start).line])?.[1] : error.file?.fileName;
    console.error(`${version}: ${where ?? 'imports'}: ${ts.flattenDiagnosticMessageText(error.messageText, '\n')}`);
  }
  wrong += errors.length;
  const exact = JSON.parse(fs.readFileSync(path.join(modules, version, 'package.json'), 'utf8')).version;
  console.log(`types of Grafana ${exact}: ${names} objects, ${errors.length} errors`);
}
process.exit(wrong ? 1 : 0);
