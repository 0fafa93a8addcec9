// Panels, one function a type, with what all of ours have in common. `field` is what
// goes into fieldConfig.defaults: unit, thresholds, mappings, noValue.
local words = import 'words.libsonnet';

local datasource = { type: 'prometheus', uid: '${datasource}' };

local lettered(targets) = std.mapWithIndex(
  function(i, t) t { refId: std.char(std.codepoint('A') + i) }, targets
);

local panel(type, title, description, targets, field) = {
  type: type,
  title: title,
  description: description,
  datasource: datasource,
  targets: lettered(targets),
  fieldConfig: { defaults: { color: { mode: 'thresholds' } } + words.plain + field, overrides: [] },
  options: {},
};

local query(expr, legend) = {
  datasource: datasource,
  expr: std.stripChars(expr, '\n '),
  legendFormat: legend,
  editorMode: 'code',
};

{
  datasource: datasource,

  // Queries: over the range, at its end, and as the rows of a table.
  range(expr, legend=''): query(expr, legend) { range: true, instant: false },
  instant(expr, legend=''): query(expr, legend) { range: false, instant: true },
  rows(expr): query(expr, '') { range: false, instant: true, format: 'table' },
  buckets(expr): query(expr, '{{le}}') { range: true, instant: false, format: 'heatmap' },

  size(w, h): { gridPos: { w: w, h: h } },
  link(title, url): { links+: [{ title: title, url: url, targetBlank: true }] },

  // A row that is closed until it is wanted. Without panels it is left out.
  row(title, panels): if panels == [] then [] else [
    { type: 'row', title: title, collapsed: true, panels: panels, gridPos: { w: 24, h: 1 } },
  ],

  timeseries(title, description, targets, field):
    // Shades of one colour, which means nothing: a palette would draw what is bad in green.
    panel('timeseries', title, description, targets, { color: { mode: 'shades', fixedColor: 'blue' } } + field) {
      fieldConfig+: { defaults+: { custom: {
        drawStyle: 'line',
        lineWidth: 1,
        fillOpacity: 10,
        showPoints: 'never',
        spanNulls: false,
        axisSoftMin: 0,
        stacking: { mode: 'none', group: 'A' },
        thresholdsStyle: { mode: 'off' },
      } } },
      options: {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    },

  stat(title, description, expr, field):
    panel('stat', title, description, [$.instant(expr)], field) {
      options: {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        colorMode: 'background',
        graphMode: 'none',
        justifyMode: 'center',
        textMode: 'value',
        orientation: 'auto',
      },
    },

  bars(title, description, targets, field):
    panel('bargauge', title, description, targets, { min: 0 } + field) {
      options: {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        displayMode: 'basic',
        orientation: 'horizontal',
        valueMode: 'color',
        showUnfilled: true,
        minVizHeight: 16,
        minVizWidth: 8,
      },
    },

  // A row for each series, coloured by its value.
  states(title, description, targets, field):
    panel('state-timeline', title, description, targets, { unit: 'short' } + field) {
      fieldConfig+: { defaults+: { custom: { lineWidth: 0, fillOpacity: 80 } } },
      options: {
        mergeValues: true,
        showValue: 'auto',
        alignValue: 'left',
        rowHeight: 0.85,
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
        tooltip: { mode: 'single', sort: 'none' },
      },
    },

  heatmap(title, description, expr, unit, noValue):
    panel('heatmap', title, description, [$.buckets(expr)], { unit: 'short', noValue: noValue }) {
      options: {
        calculate: false,
        cellGap: 1,
        cellValues: { unit: 'short', decimals: 1 },
        color: { mode: 'scheme', scheme: 'Oranges', fill: 'dark-orange', scale: 'exponential', exponent: 0.5, reverse: false, steps: 64 },
        exemplars: { color: 'rgba(255,0,255,0.7)' },
        filterValues: { le: 1e-9 },
        legend: { show: true },
        rowsFrame: { layout: 'auto' },
        tooltip: { mode: 'single', showColorScale: false, yHistogram: false },
        yAxis: { unit: unit, axisPlacement: 'left', reverse: false },
      },
    },

  text(title, content): {
    type: 'text',
    title: title,
    options: { mode: 'markdown', content: content },
  },

  // Nodes and edges of a graph, as instant queries whose labels are the fields that the panel
  // knows: id, title, subtitle, mainstat, color, and of edges source and target. Labels, for the
  // panel does not see what a transformation renames.
  graph(title, description, nodes, edges, fields=[]):
    panel('nodeGraph', title, description, [$.rows(nodes), $.rows(edges)], { unit: 'short' }) {
      fieldConfig+: { overrides: [$.override(f[0], f[1]) for f in fields] },
      options: { nodes: {}, edges: {} },
    },

  // One row of columns: [field, title, overrides of the field's config]. Fields that are
  // not named are left out. Several queries are merged where their labels agree.
  table(title, description, exprs, columns, sortBy='', field={}):
    panel('table', title, description, [$.rows(e) for e in exprs], { unit: 'short' } + field) {
      local named = [c[0] for c in columns],
      fieldConfig+: {
        defaults+: { custom: { align: 'auto', cellOptions: { type: 'auto' }, filterable: true } },
        overrides: [
          $.override(c[1], c[2])
          for c in columns
          if std.length(c) > 2
        ],
      },
      options: {
        showHeader: true,
        cellHeight: 'sm',
        sortBy: if sortBy == '' then [] else [{ displayName: sortBy, desc: true }],
      },
      transformations:
        (if std.length(exprs) > 1 then [{ id: 'merge', options: {} }] else [])
        + [
          { id: 'filterFieldsByName', options: { include: { names: named } } },
          { id: 'organize', options: {
            indexByName: { [named[i]]: i for i in std.range(0, std.length(named) - 1) },
            renameByName: { [c[0]]: c[1] for c in columns },
            excludeByName: {},
          } },
        ],
    },

  override(name, properties): {
    matcher: { id: 'byName', options: name },
    properties: [{ id: id, value: properties[id] } for id in std.objectFields(properties)],
  },
  overrideRegexp(regexp, properties): $.override(regexp, properties) {
    matcher: { id: 'byRegexp', options: regexp },
  },

  // What is often changed.
  overrides(list): { fieldConfig+: { overrides+: list } },
  custom(fields): { fieldConfig+: { defaults+: { custom+: fields } } },
  stacked: $.custom({ stacking: { mode: 'normal', group: 'A' }, fillOpacity: 40 }),
  // A stat whose colour is that of its number alone, and one without.
  quiet: { options+: { colorMode: 'value' } },
  uncolored: { options+: { colorMode: 'none' } },
  line: $.custom({ thresholdsStyle: { mode: 'dashed' } }),

  // Properties of overrides.
  color(name): { color: { mode: 'fixed', fixedColor: name } },
  limit(name): $.color(name) {
    'custom.lineStyle': { fill: 'dash', dash: [10, 10] },
    'custom.lineWidth': 2,
    'custom.fillOpacity': 0,
    'custom.stacking': { mode: 'none', group: 'limit' },
  },
  width(pixels): { 'custom.width': pixels },
  cell(w): { 'custom.align': 'left', 'custom.cellOptions': { type: 'color-background', mode: 'basic' } } + w,
  colored(w): { 'custom.cellOptions': { type: 'color-text' } } + w,
  linked(title, url): { links: [{ title: title, url: url, targetBlank: false }] },
}
