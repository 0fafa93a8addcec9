// From a panel of a dashboard to what its visualization is given: queries run, results as
// Grafana's data frames, transformations and field configuration applied by its own library.
'use strict';

const { lastValueFrom } = require('rxjs');
const grafana = require('./grafana');
const { substitute } = require('./dashboards');

const { FieldType, Registry, createTheme, transformDataFrame, applyFieldOverrides } = grafana;

const theme = createTheme({ colors: { mode: 'dark' } });

// Some are listed under an older name, too.
const transformers = new Map(Object.values(grafana.standardTransformers).map((one) => [one.id, one]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((one) => ({ id: one.id, name: one.name, transformation: one })),
);

// Which properties the configuration of a field may have. In Grafana each panel type says
// it; here all that our dashboards use are taken as they are.
function registry(panel) {
  const ids = new Set(Object.keys(panel.fieldConfig.defaults).filter((id) => id !== 'custom'));
  for (const id of Object.keys(panel.fieldConfig.defaults.custom ?? {})) ids.add(`custom.${id}`);
  for (const { properties } of panel.fieldConfig.overrides) for (const { id } of properties) ids.add(id);
  const items = [...ids].map((id) => ({
    id,
    name: id,
    path: id.replace(/^custom\./, ''),
    isCustom: id.startsWith('custom.'),
    process: (value) => value,
    shouldApply: () => true,
  }));
  return new Registry(() => items);
}

const legend = (format, metric) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '').trim();

// Grafana draws no line over a step without a value: such a step is null.
function graph(target, results, t) {
  const start = Math.floor(t.start / t.step) * t.step;
  const steps = [];
  for (let at = start; at <= t.end; at += t.step) steps.push(at);
  return results.map(({ metric, values }) => {
    const found = new Map(values.map(([at, value]) => [Math.round(at), Number(value)]));
    return {
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, config: {}, values: steps.map((at) => at * 1000) },
        {
          name: 'Value',
          type: FieldType.number,
          labels: metric,
          config: { displayNameFromDS: legend(target.legendFormat, metric) || undefined },
          values: steps.map((at) => found.get(at) ?? null),
        },
      ],
      length: steps.length,
    };
  });
}

function single(target, results) {
  return results.map(({ metric, values }) => ({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: [values[0][0] * 1000] },
      {
        name: 'Value',
        type: FieldType.number,
        labels: metric,
        config: { displayNameFromDS: legend(target.legendFormat, metric) || undefined },
        values: [Number(values[0][1])],
      },
    ],
    length: 1,
  }));
}

// One row a series, its labels as columns.
function rows(target, results, alone) {
  const labels = [...new Set(results.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return {
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: results.map((one) => one.values[0][0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: {},
        values: results.map((one) => one.metric[label] ?? ''),
      })),
      {
        name: alone ? 'Value' : `Value #${target.refId}`,
        type: FieldType.number,
        config: {},
        values: results.map((one) => Number(one.values[0][1])),
      },
    ],
    length: results.length,
  };
}

// Cumulative buckets, by their upper bound, become what is in each of them.
function buckets(target, results, t) {
  const bound = (one) => Number(one.metric.le.replace('+Inf', 'Infinity'));
  const frames = graph(target, [...results].sort((a, b) => bound(a) - bound(b)), t);
  for (let i = frames.length - 1; i > 0; i -= 1) {
    const below = frames[i - 1].fields[1].values;
    const own = frames[i].fields[1];
    own.values = own.values.map((value, at) => (value === null ? null : Math.max(value - (below[at] ?? 0), 0)));
  }
  return frames;
}

async function frames(prometheus, panel, variables, t) {
  const all = [];
  for (const target of panel.targets) {
    const expr = substitute(target.expr, variables, t);
    if (target.format === 'table') {
      all.push(rows(target, await prometheus.instant(expr, t), panel.targets.length === 1));
    } else if (target.instant) {
      all.push(...single(target, await prometheus.instant(expr, t)));
    } else {
      const results = await prometheus.range(expr, t);
      all.push(...(target.format === 'heatmap' ? buckets : graph)(target, results, t));
    }
  }
  const changes = panel.transformations ?? [];
  const changed = changes.length ? await lastValueFrom(transformDataFrame(changes, all)) : all;
  const fieldConfig = structuredClone(panel.fieldConfig);
  // JSON has no -Infinity: Grafana, too, takes null for it.
  const steps = [fieldConfig.defaults, ...fieldConfig.overrides.flatMap((one) => one.properties.map(({ id, value }) => ({ [id]: value })))];
  for (const { thresholds } of steps) if (thresholds) thresholds.steps[0].value = -Infinity;
  return applyFieldOverrides({
    data: changed,
    fieldConfig,
    theme,
    replaceVariables: (text) => text,
    fieldConfigRegistry: registry(panel),
    timeZone: 'utc',
  });
}

// A value as text, with its unit.
function text(field, value, decimals) {
  const shown = field.display(value, decimals);
  return `${shown.prefix ?? ''}${shown.text}${shown.suffix ?? ''}`;
}

const name = (field, frame, all) => grafana.getFieldDisplayName(field, frame, all);
const color = (name) => theme.visualization.getColorByName(name);

module.exports = { frames, text, name, color, theme };
