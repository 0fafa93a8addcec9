// Alerts of the guard (docs/guard.md): what it had to do, and what it could not. What
// stands still is told by the alerts of loops, with the guard or without.
function(config, lib)
  local node = '{{ $labels.%s }}' % config.nodeLabel;

  // Counters, over an hour: long enough that somebody sees it, whatever the guard does
  // meanwhile.
  local happened(labels, matchers) = |||
    sum by (%s) (
      increase(%s[1h])
    ) > 0
  ||| % [std.join(', ', [lib.node] + labels), lib.series('throttle_guard_actions_total', matchers)];

  // Absent while nothing is changed, and of a node that does not answer: so nothing is
  // said then.
  local now = [lib.with(
    lib.query('throttle_guard_active', wrap='count(%s)'),
    "\nChanged now, and to be put back: {{ .Value | printf `%.0f` }} of this node's limits."
  )];

  [
    {
      name: 'ThrottleMonitorGuardBrokeLivelock',
      severity: 'ticket',
      duration: '0s',
      expr: happened([], 'action="break",result="done"'),
      page: 'guard-broke',
      summary: 'The guard on %s had to break a livelock' % node,
      description: [
        'An NFS server of this node waited for pages of its own client. The guard of throttle-monitor',
        'has changed limits of dirty pages so that it goes on.',
        lib.with(
          lib.query(
            'throttle_livelock_detections_total',
            wrap='topk(1, sum by (loop) (increase(%s[1h])) > 0)'
          ),
          '\nIt was loop {{ .Labels.loop }}, {{ .Value | printf "%.0f" }} times in the last hour.'
        ),
      ] + now + [
        'The same load will do it again: run server and client on different nodes.',
      ],
    },
    {
      name: 'ThrottleMonitorGuardFailed',
      severity: 'ticket',
      duration: '0s',
      expr: happened(['action'], 'result="failed"'),
      page: 'guard-failed',
      summary: 'The guard on %s could not do what it should: {{ $labels.action }}' % node,
      description: [
        '{{- if eq $labels.action "undo" }}A limit that it had changed may not be what it was before.',
        '{{- else }}Its helper did not answer, or the kernel refused a limit: a loop that stands still may stay so.',
        '{{- end }}',
      ] + now + [
        'The log of the daemon has the sentence; the runbook says how to put things back by hand.',
      ],
    },
    {
      name: 'ThrottleMonitorGuardHelperDown',
      severity: 'ticket',
      duration: config.durations.guardHelper,
      // There only where somebody is wanted (prevent, break). For as long as nobody is there:
      // the alert above is over an hour after it was said.
      expr: 'max by (%s) (%s) == 0\n' % [lib.node, lib.series('throttle_guard_helper_up')],
      page: 'guard-failed',
      summary: 'The guard on %s has nobody to do its work' % node,
      description: [
        'Its helper, which alone may set limits, has not answered for %s:' % config.durations.guardHelper,
        'a loop that stands still on this node stays so.',
      ],
    },
  ]
