// What alerts and rules are put together from.
function(config) {
  local selector = config.selector,

  // One series for each node, whatever else its target's labels are: a pod that was
  // restarted is the same node still, and its alert the same alert.
  nodeLabels:: [config.clusterLabel, config.nodeLabel],
  node:: std.join(', ', self.nodeLabels),
  loop:: self.node + ', loop',

  // series('up') is up{job="throttle-monitor"}.
  series(metric, matchers=''):: '%s{%s}' % [
    metric,
    std.join(',', std.filter(function(s) s != '', [selector, matchers])),
  ],

  // A series as it is now, or, of a node that does not answer, as it was last reported:
  // one missing scrape ends no alert and begins none anew.
  lastKnown(metric, matchers='')::
    |||
      %(now)s
          or
        last_over_time(%(now)s[%(window)s])
          and on (%(node)s) (%(up)s == 0)
    ||| % {
      now: $.series(metric, matchers),
      up: $.series('up'),
      window: config.lastKnown,
      node: $.node,
    },

  // For annotations: the template that asks Prometheus for series of the alert's own
  // node, and by more of its labels. `wrap` is a query with %s in it.
  query(metric, labels=[], wrap='%s'):: 'printf `%s` %s | query' % [
    wrap % $.series(
      metric, std.join(',', ['%s=%%q' % label for label in $.nodeLabels + labels])
    ),
    std.join(' ', ['$labels.' + label for label in $.nodeLabels + labels]),
  ],

  // The text, about the first series of a query: in it `.Value` and `.Labels` are that
  // series'. Where there is none, nothing, or what is said otherwise.
  with(query, text, otherwise='')::
    '{{- with %s }}{{ with first . }}%s{{ end }}' % [query, text]
    + (if otherwise == '' then '' else '{{ else }}' + otherwise)
    + '{{ end }}',

  // `.Value`, a number of bytes, as `40.06 MiB`; humanize1024 says `40.06Mi`, and `405ki`.
  bytes:: '{{ .Value | humanize1024 | reReplaceAll "ki$" "Ki" | reReplaceAll "([0-9])([A-Z]|$)" "$1 $2" }}B',

  // An alert of: name, severity, duration, expr, page (of docs/runbooks), summary (one
  // line), description (lines); and overview, where it is of no single node.
  alert(of)::
    // The variables of the Node dashboard are called cluster and node.
    local variables = 'var-cluster={{ $labels.%s }}&var-node={{ $labels.%s }}' % $.nodeLabels;
    local dashboard = if std.objectHas(of, 'overview')
    then config.fleetDashboardUID else '%s?%s' % [config.nodeDashboardUID, variables];
    {
      alert: of.name,
      expr: of.expr,
      'for': of.duration,
      labels: { severity: config.severity[of.severity] },
      annotations: {
        summary: of.summary,
        // It ends with a newline, as the expression does: so both stand in YAML as they are.
        description: std.join('\n', of.description) + '\n',
        runbook_url: config.runbookURL % of.page,
        [if config.grafanaURL != '' then 'dashboard_url']:
          '%s/d/%s' % [config.grafanaURL, dashboard],
      },
    },
}
