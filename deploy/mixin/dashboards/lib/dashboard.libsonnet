// A dashboard: variables, annotations, links between the two, and where panels stand.
local panel = import 'panel.libsonnet';

// Each panel goes to the highest place that is wide enough, leftmost first. `heights` is
// how far each of the 24 columns is filled.
local place(panels) =
  local add(done, p) =
    local top(x) = std.foldl(std.max, done.heights[x:x + p.gridPos.w], 0);
    local better(best, x) = if top(x) < top(best) then x else best;
    local x = std.foldl(better, std.range(0, 24 - p.gridPos.w), 0);
    local y = top(x);
    {
      heights: [
        if i >= x && i < x + p.gridPos.w then y + p.gridPos.h else done.heights[i]
        for i in std.range(0, 23)
      ],
      panels: done.panels + [p { id: std.length(done.panels) + 1, gridPos+: { x: x, y: y } }],
    };
  std.foldl(add, panels, { heights: [0 for _ in std.range(0, 23)], panels: [] }).panels;

// The panels of a collapsed row stand below it, as they do once it is opened.
local within(row) = row {
  panels: [
    p { id: 100 * row.id + p.id, gridPos+: { y: p.gridPos.y + row.gridPos.y + 1 } }
    for p in place(row.panels)
  ],
};
local placed(panels) = [if p.type == 'row' then within(p) else p for p in place(panels)];

function(config) {
  local all = { text: 'All', value: '$__all' },

  // The values of a label of a metric.
  variable(name, label, metric, of, description): {
    type: 'query',
    name: name,
    label: label,
    description: description,
    datasource: panel.datasource,
    query: { qryType: 1, query: 'label_values(%s, %s)' % [metric, of], refId: 'Variable-' + name },
    refresh: 2,  // when the range changes: a node that is gone can still be chosen
    sort: 7,  // natural
    regex: '',
    hide: 0,
    includeAll: false,
    multi: false,
    options: [],
  },

  // With "All", which also matches what has no such label.
  many: { includeAll: true, multi: true, allValue: '.*', current: all },

  datasource: {
    type: 'datasource',
    name: 'datasource',
    label: 'Data source',
    description: 'The Prometheus that scrapes the daemons.',
    query: 'prometheus',
    refresh: 1,
    regex: '',
    hide: 0,
    includeAll: false,
    multi: false,
    options: [],
  },

  job: $.variable(
    'job',
    'Job',
    'throttle_monitor_build_info',
    'job',
    'The scrape job of the daemons.'
  ) + $.many,

  cluster: $.variable(
    'cluster',
    'Cluster',
    'throttle_monitor_build_info{job=~"$job"}',
    config.clusterLabel,
    'Nothing to choose from where series have no such label: leave it at All.'
  ) + $.many,

  // Times in which a loop was in a state. A mark at the least step, so that a short
  // livelock is not missed where a point stands for minutes.
  annotation(name, color, expr, title): {
    name: name,
    enable: true,
    iconColor: color,
    datasource: panel.datasource,
    expr: expr,
    titleFormat: title,
    textFormat: '{{signature}}',
    tagKeys: 'loop,signature',
    step: '15s',
  },

  verdicts(worst, title, enable=true): [
    $.annotation('Suspected', 'yellow', '%s == 1' % worst, 'suspected: ' + title) { enable: false },
    $.annotation('Livelock', 'red', '%s == 2' % worst, 'livelock: ' + title) { enable: enable },
    $.annotation('Deadlock', 'dark-red', '%s == 3' % worst, 'deadlock: ' + title) { enable: enable },
  ],

  link(title, url, tooltip): {
    type: 'link',
    title: title,
    url: url,
    tooltip: tooltip,
    icon: 'external link',
    tags: [],
    asDropdown: false,
    includeVars: false,
    keepTime: true,
    targetBlank: false,
  },

  // rows: arrays of panels, each with a gridPos of w and h.
  new(uid, title, description, from, variables, annotations, links, rows): {
    uid: uid,
    title: title,
    description: description,
    tags: config.tags,
    // What Grafana 10 takes; later ones bring it up to theirs when they load it.
    schemaVersion: 38,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: config.refresh,
    time: { from: from, to: 'now' },
    timezone: '',
    weekStart: '',
    fiscalYearStartMonth: 0,
    liveNow: false,
    templating: { list: variables },
    annotations: { list: [{
      builtIn: 1,
      datasource: { type: 'grafana', uid: '-- Grafana --' },
      enable: true,
      hide: true,
      iconColor: 'rgba(0, 211, 255, 1)',
      name: 'Annotations & Alerts',
      type: 'dashboard',
    }] + annotations },
    links: links,
    panels: placed(rows),
  },
}
