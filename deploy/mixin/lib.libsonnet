// What alerts and rules are put together from.
function(config) {
  local selector = config.selector,

  // One series for each node, whatever else its target's labels are: a pod that was
  // restarted is the same node still, and its alert the same alert.
  nodeLabels:: [config.clusterLabel, config.nodeLabel],
  node:: std.join(', ', self.nodeLabels),
  loop:: self.node + ', loop',

  // What an alert about a loop is identified by: what is mounted, and what serves it.
  endLabels:: ['mount', 'server'],
  ends:: std.join(', ', self.nodeLabels + self.endLabels),

  // Recorded by alerts/identity.libsonnet, within the group of the alerts that use them.
  loopSeen:: 'loop:throttle_loop_info:last_seen',
  bdiSeen:: 'bdi:throttle_bdi_info:last_seen',

  // Recorded by alerts/cycles.libsonnet: addresses of one node alone, what a node holds for
  // another one, the edges of rings: 1 where the ring is stalled, else 0, and the mounts by which
  // stalled rings are closed.
  uniqueAddress:: 'instance_address:throttle_node_address:unique',
  heldForPeer:: 'instance_peer:throttle_remote_mount_held_bytes:sum',
  ringEdge:: 'instance_peer:throttle_remote_mount:cycle',
  stalledMount:: 'bdi:throttle_remote_mount:stalled',
  ring(kind):: 'cluster_cycle:throttle_remote_mount:' + kind,

  // Recorded by rules/failover.libsonnet: when a node last had an address, and what it mounts that
  // it may take over.
  addressSeen:: 'instance_address:throttle_node_address:last_seen',
  ownAfterFailover:: 'instance_address:throttle_remote_mount_held_bytes:own_after_failover',

  // Of rings, an expression: every edge, as instance and peer, beside the labels of its ring.
  edgesOfRing(of)::
    local set(expr, label, from) = 'label_replace(%s, "%s", "$1", "%s", "(.+)")' % [expr, label, from];
    // To the first of `to` that the ring has.
    local edge(rings, from, to) =
      std.foldr(function(next, e) set(e, 'peer', next), to, set(rings, config.nodeLabel, from));
    std.join('\n  or\n', [
      edge(of(''), 'node_a', ['node_b']),
      edge(of(''), 'node_b', ['node_c', 'node_a']),
      edge(of('node_c!=""'), 'node_c', ['node_d', 'node_a']),
      edge(of('node_d!=""'), 'node_d', ['node_a']),
    ]),

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

  // Adds mount and server to an expression about loops. With `server` it has that label
  // already.
  byEnds(op, expr, also=[]):: |||
    %s by (%s) (
      %s
        * on (%s) group_left (%s)
      (%s ^ 0)
    )
  ||| % [
    op,
    std.join(', ', [$.ends] + also),
    std.stripChars(expr, '\n '),
    $.loop,
    std.join(', ', $.endLabels),
    $.loopSeen,
  ],

  // For annotations: the template that asks Prometheus for series of the alert's own
  // node, and by more of its labels. `wrap` is a query with %s in it.
  query(metric, labels=[], wrap='%s'):: 'printf `%s` %s | query' % [
    wrap % $.series(
      metric, std.join(',', ['%s=%%q' % label for label in $.nodeLabels + labels])
    ),
    std.join(' ', ['$labels.' + label for label in $.nodeLabels + labels]),
  ],

  // The same for series of the alert's own loop: found by its mount and server.
  // `of` is what is made of its series, `wrap` of those that are the loop's.
  loopQuery(metric, of='%s', wrap='%s'):: 'printf `%s` %s | query' % [
    wrap % ('(%s and on (%s) %s{%s})' % [
              of % $.series(metric, '%s=%%q,%s=%%q' % $.nodeLabels),
              $.loop,
              $.loopSeen,
              std.join(',', ['%s=%%q' % label for label in $.nodeLabels + $.endLabels]),
            ]),
    std.join(' ', ['$labels.' + label for label in $.nodeLabels + $.nodeLabels + $.endLabels]),
  ],

  // The text, about the first series of a query: in it `.Value` and `.Labels` are that
  // series'. Where there is none, nothing, or what is said otherwise.
  with(query, text, otherwise='')::
    '{{- with %s }}{{ with first . }}%s{{ end }}' % [query, text]
    + (if otherwise == '' then '' else '{{ else }}' + otherwise)
    + '{{ end }}',

  // Within the text of a query: what it says of the pod whose UID is in a label, by
  // kube-state-metrics' name where this Prometheus has it, else by the UID. Nothing where the label
  // is empty. Scraped without honor_labels, its own labels are in exported_*.
  pod(label, before, after='')::
    '{{ with .Labels.%s }}%s{{ with printf `kube_pod_info{uid=%%q}` . | query }}{{ with first . }}' % [label, before]
    + '{{ or .Labels.exported_namespace .Labels.namespace }}/{{ or .Labels.exported_pod .Labels.pod }}'
    + '{{ end }}{{ else }}{{ . }}{{ end }}%s{{ end }}' % after,

  // `.Value`, a number of bytes, as `40.06 MiB`; humanize1024 says `40.06Mi`, and `405ki`.
  bytes:: '{{ .Value | humanize1024 | reReplaceAll "ki$" "Ki" | reReplaceAll "([0-9])([A-Z]|$)" "$1 $2" }}B',

  // The daemon that `of`, a template, names: its label is an address, or a name without a port.
  local address(of) =
    '{{ %s }}{{ if not (match ":[0-9]+$" %s) }}:%d{{ end }}' % [of, of, config.port],

  // Where the runbook is. The daemon of the alert's node serves its own; of a daemon that does
  // not answer (`anyDaemon`) another one that does.
  runbook(of)::
    if config.runbookUrl != '' then '%s/%s' % [config.runbookUrl, of.page]
    else
      local own = address('$labels.' + std.get(of, 'node', config.nodeLabel));
      local peer = 'printf `%s == 1` $labels.%s | query' % [
        $.series('up', config.clusterLabel + '=%q'),
        config.clusterLabel,
      ];
      '%s://%s/runbooks/%s' % [
        config.scheme,
        if std.get(of, 'anyDaemon', false) then '{{ with %s }}{{ with first . }}%s{{ end }}{{ else }}%s{{ end }}' % [
          peer,
          address('.Labels.' + config.nodeLabel),
          own,
        ] else own,
        of.page,
      ],

  // An alert of: name, severity, duration, keepFiring (may be absent), expr, page (of the
  // runbooks), summary (one line, without values), description (lines); and overview, where it
  // is of no single node; `node` is then the label of one whose daemon has the runbook.
  alert(of)::
    local overview = std.objectHas(of, 'overview');
    // The variables of the Node dashboard are called cluster and instance.
    local variables = 'var-cluster={{ $labels.%s }}&var-instance={{ $labels.%s }}' % $.nodeLabels;
    local dashboard = if overview
    then config.fleetDashboardUID else '%s?%s' % [config.nodeDashboardUID, variables];
    local keep = std.get(of, 'keepFiring', '0s');
    assert std.endsWith(of.summary, '.') && !std.member(of.summary, '{') : of.name + ': a summary is one sentence without values';
    {
      alert: of.name,
      expr: of.expr,
      'for': of.duration,
      [if keep != '0s' then 'keep_firing_for']: keep,
      labels: { severity: config.severity[of.severity] },
      annotations: {
        summary: of.summary,
        // It ends with a newline, as the expression does: so both stand in YAML as they are.
        description: std.join('\n', of.description) + '\n',
        // No daemon is known to serve it where the alert is of none.
        [if config.runbookUrl != '' || !overview || std.objectHas(of, 'node') then 'runbook_url']: $.runbook(of),
        [if config.grafanaUrl != '' then 'dashboard_url']:
          '%s/d/%s' % [config.grafanaUrl, dashboard],
      },
    },
}
