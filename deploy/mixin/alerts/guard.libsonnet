// Alerts of the guard (docs/guard.md): what it had to do, and what it could not. Stalled
// loops have their own alerts, with the guard or without.
function(config, lib)
  local node = '{{ $labels.%s }}' % config.nodeLabel;

  // Counters, over an hour: long enough to be seen, whatever the guard does meanwhile.
  local happened(labels, matchers) = |||
    sum by (%s) (
      increase(%s[1h])
    ) > 0
  ||| % [std.join(', ', [lib.node] + labels), lib.series('throttle_guard_actions_total', matchers)];

  // Absent while nothing is changed, and of a node that does not answer: then there is no
  // such line.
  local now = [lib.with(
    lib.query('throttle_guard_active', wrap='count(%s)'),
    '\nLimits of this node that are changed now and will be rolled back: {{ .Value | printf `%.0f` }}.'
  )];

  [
    {
      name: 'ThrottleMonitorGuardBrokeLivelock',
      severity: 'ticket',
      duration: '0s',
      expr: happened([], 'action="break",result="done"'),
      page: 'guard-broke',
      summary: 'The guard broke a livelock.',
      description: [
        'A server on %s waited for dirty pages of its own client.' % node,
        'The guard of throttle-monitor changed dirty limits so that it resumed.',
        lib.with(
          lib.query(
            'throttle_livelock_detections_total',
            wrap='topk(1, sum by (loop) (increase(%s[1h])) > 0)'
          ),
          '\nLoop {{ .Labels.loop }}; livelocks in the last hour: {{ .Value | printf "%.0f" }}.'
        ),
      ] + now + [
        'The same load causes it again: run server and client on different nodes.',
      ],
    },
    {
      name: 'ThrottleMonitorGuardFailed',
      severity: 'ticket',
      duration: '0s',
      expr: happened(['action'], 'result="failed"'),
      page: 'guard-failed',
      summary: 'The guard could not set or roll back a limit.',
      description: [
        'The action {{ $labels.action }} of the guard on %s failed.' % node,
        '{{- if eq $labels.action "undo" }}',
        'A limit that it changed may not be what it was before.',
        '{{- else }}',
        'Its helper did not answer, or the kernel refused a limit: a stalled loop may stay stalled.',
        '{{- end }}',
      ] + now + [
        "The daemon's log has the reason. The runbook has the commands to roll back by hand.",
      ],
    },
    {
      name: 'ThrottleMonitorGuardHelperDown',
      severity: 'ticket',
      duration: config.durations.guardHelper,
      // There only in the modes that need a helper (prevent, break). It holds for as long as
      // the helper is gone; the alert above ends an hour after the failure.
      expr: 'max by (%s) (%s) == 0\n' % [lib.node, lib.series('throttle_guard_helper_up')],
      page: 'guard-failed',
      summary: "The guard's helper does not answer.",
      description: [
        'The helper of the guard on %s, which alone may set limits, has not answered for %s:' % [node, config.durations.guardHelper],
        'a stalled loop on this node stays stalled.',
      ],
    },
  ]
