// Recording rules: of a node the few series that are needed of all nodes at once, and
// over weeks; of a cluster their sums. Names are level:metric:operation. Of a node three
// series, and those of the causes and classes in which something ever waited.
{
  local config = $._config,
  local lib = (import 'lib.libsonnet')(config),
  local cluster = config.clusterLabel,

  local rule(name, expr, labels={}) = {
    record: name,
    // The newline lets it stand in YAML as it is.
    expr: std.rstripChars(expr, '\n') + '\n',
    [if labels != {} then 'labels']: labels,
  },

  // Zero for each node that answers and has none: then nodes can be counted.
  local orZero(expr) = |||
    %s
      or
    max by (%s) (%s == 1) * 0
  ||| % [expr, lib.node, lib.series('up')],

  local by(labels) = std.join(', ', [lib.node] + labels),
  local rate(metric) = 'rate(%s[5m])' % lib.series(metric),

  prometheusRules+:: {
    groups+: [
      {
        name: 'throttle-monitor.rules',
        [if config.intervals.rules != '' then 'interval']: config.intervals.rules,
        rules: [
          // --- a node -------------------------------------------------------------

          // The worst state of its loops.
          rule(
            'instance:throttle_livelock_state:max',
            orZero('max by (%s) (%s)' % [lib.node, lib.series('throttle_livelock_state')])
          ),
          // Its loops.
          rule(
            'instance:throttle_loop_info:count',
            orZero('count by (%s) (count by (%s) (%s))' % [
              lib.node,
              lib.loop,
              lib.series('throttle_loop_info'),
            ])
          ),
          // Share of the time that its loops are in livelock: of two that are, 2.
          rule(
            'instance:throttle_livelock_seconds:rate5m',
            'sum by (%s) (%s)' % [lib.node, rate('throttle_livelock_seconds_total')]
          ),
          // Tasks kept waiting at a time, and waits a second. Causes nest: never add them up.
          rule(
            'instance_cause_class:throttle_delay_seconds_sum:rate5m',
            'sum by (%s) (%s)' % [by(['cause', 'class']), rate('throttle_delay_seconds_sum')]
          ),
          rule(
            'instance_cause_class:throttle_delay_seconds_count:rate5m',
            'sum by (%s) (%s)' % [by(['cause', 'class']), rate('throttle_delay_seconds_count')]
          ),
          // Tasks that wait now, over the classes.
          rule(
            'instance_cause:throttle_waiting_tasks:sum',
            'sum by (%s) (%s)' % [by(['cause']), lib.series('throttle_waiting_tasks')]
          ),

          // --- a cluster ----------------------------------------------------------

          rule(
            'cluster:throttle_monitor_up:sum',
            'sum by (%s) (%s)' % [cluster, lib.series('up')]
          ),
          rule(
            'cluster:throttle_monitor_up:count',
            'count by (%s) (%s)' % [cluster, lib.series('up')]
          ),
        ] + [
          // Nodes by their worst state; of those that answer.
          rule(
            'cluster_state:throttle_livelock_state:count',
            'sum by (%s) (instance:throttle_livelock_state:max == bool %d)' % [cluster, state],
            { state: ['none', 'suspected', 'livelock', 'deadlock'][state] }
          )
          for state in std.range(0, 3)
        ] + [
          rule(
            'cluster_scope:throttle_loop_info:count',
            'count by (%s, scope) (count by (%s, scope) (%s))' % [
              cluster,
              lib.loop,
              lib.series('throttle_loop_info'),
            ]
          ),
          rule(
            'cluster_cause_class:throttle_delay_seconds_sum:rate5m',
            'sum by (%s, cause, class) (instance_cause_class:throttle_delay_seconds_sum:rate5m)'
            % cluster
          ),
          rule(
            'cluster_cause:throttle_waiting_tasks:sum',
            'sum by (%s, cause) (instance_cause:throttle_waiting_tasks:sum)' % cluster
          ),
          // Nodes on which it holds, by kind.
          rule(
            'cluster_kind:throttle_related_condition:count',
            'count by (%s, kind) (count by (%s) (%s))' % [
              cluster,
              by(['kind']),
              lib.series('throttle_related_condition'),
            ]
          ),
        ],
      },
      {
        name: 'throttle-monitor-failover.rules',
        interval: config.intervals.failover,
        rules: (import 'rules/failover.libsonnet')(config, lib, rule),
      },
    ],
  },
}
