// Alerts of the monitor's own health: where it does not see, nothing else can fire.
function(config, lib)
  local node = '{{ $labels.%s }}' % config.nodeLabel;
  local unavailable(signals) =
    lib.series('throttle_monitor_probe_state', 'signal=~"%s",state="unavailable"' % signals);

  local loses(severity, reasons) = {
    name: 'ThrottleMonitorLosesEvents',
    severity: severity,
    duration: config.durations.losesEvents,
    // Longer than the range: a burst that is over fires nothing.
    expr: |||
      sum by (%s, reason) (
        increase(%s[10m])
      ) > %s
    ||| % [
      lib.node,
      lib.series('throttle_monitor_lost_events_total', reasons),
      config.thresholds.lostEvents,
    ],
    page: 'monitor-loses-events',
    summary: 'throttle-monitor loses events.',
    description: [
      'Events lost on %s within ten minutes ({{ $labels.reason }}): {{ $value | printf "%%.0f" }}. This has lasted for %s.'
      % [node, config.durations.losesEvents],
      '{{- if eq $labels.reason "ringbuf" }}',
      'The list of long waits has gaps. Metrics and verdicts have none.',
      '{{- else if eq $labels.reason "map_full" }}',
      'Some waits are not counted: numbers are too low, and verdicts less certain.',
      '{{- else if eq $labels.reason "evicted" }}',
      'The ends of some waits are missed: they are shown longer than they were.',
      '{{- else if eq $labels.reason "recording" }}',
      'Recordings have gaps. Metrics and verdicts have none.',
      '{{- end }}',
    ],
  };

  [
    {
      name: 'ThrottleMonitorBlind',
      severity: 'ticket',
      duration: config.durations.blind,
      // A signal may be unavailable on a healthy node: kernels differ in which waits they
      // have, and modules may not be loaded (docs/kernels.md). So each is asked for only
      // where its absence blinds:
      //  - balance_dirty_pages everywhere, and that it is there, not that it is missing:
      //    a daemon that has never ticked is blind, too;
      //  - what the verdict on a loop needs, where there is a loop: then the client's
      //    module is loaded;
      //  - what detects a loop, and the progress of both ends, where the kernel's server runs
      //    and NFS is mounted: then the modules of both are loaded.
      expr: |||
        label_replace(
          max by (%(node)s) (%(up)s == 1)
            unless on (%(node)s)
          %(pages)s,
          "signal", "balance_dirty_pages", "", ""
        )
          or
        max by (%(node)s, signal) (
          %(client)s
            and on (%(node)s)
          %(loops)s
        )
          or
        max by (%(node)s, signal) (
          %(both)s
            and on (%(node)s)
          (sum by (%(node)s) (%(threads)s) > 0)
            and on (%(node)s)
          %(mounts)s
        )
      ||| % {
        node: lib.node,
        up: lib.series('up'),
        pages: lib.series('throttle_monitor_probe_state', 'signal="balance_dirty_pages",state!="unavailable"'),
        client: unavailable('nfs_client_writes|direct_reclaim'),
        loops: lib.series('throttle_loop_info'),
        both: unavailable('nfs_client_writes|nfsd_writes|rpc_xid'),
        threads: lib.series('throttle_nfsd_threads'),
        mounts: lib.series('throttle_bdi_info', 'fstype=~"nfs4?"'),
      },
      page: 'monitor-blind',
      summary: 'throttle-monitor lacks a signal that this node needs.',
      description: [
        'The signal {{ $labels.signal }} is unavailable on %s.' % node,
        '{{- if eq $labels.signal "balance_dirty_pages" }}',
        'Without it no livelock is ever suspected, and no other alert of this node can be relied on.',
        '{{- else if eq $labels.signal "direct_reclaim" }}',
        'Without it a loop that is stalled by reclaim-congestion is not detected.',
        '{{- else if eq $labels.signal "rpc_xid" }}',
        'Without it loops are detected by their sockets only: those behind address translation are not.',
        '{{- else }}',
        'Without it the progress of a loop is unknown: a livelock can be suspected, but not confirmed.',
        '{{- end }}',
        lib.with(
          lib.query('throttle_monitor_build_info'),
          '\nLinux {{ .Labels.kernel }}, throttle-monitor {{ .Labels.version }}.'
        ),
      ],
    },
    loses('ticket', 'reason!~"ringbuf|recording"'),
    // Metrics and verdicts are complete all the same.
    loses('info', 'reason=~"ringbuf|recording"'),
    {
      name: 'ThrottleMonitorStuck',
      severity: 'ticket',
      duration: config.durations.stuck,
      // Where only the clocks of the node and of Prometheus differ, the time of the last
      // tick is far off and moves: that daemon is not stuck.
      expr: |||
        max by (%(node)s) (abs(time() - %(tick)s)) > %(seconds)d
          unless on (%(node)s)
        changes(%(tick)s[2m]) > 0
      ||| % {
        node: lib.node,
        tick: lib.series('throttle_monitor_tick_last_success_timestamp_seconds'),
        seconds: config.thresholds.stuckSeconds,
      },
      page: 'monitor-stuck',
      summary: 'throttle-monitor is stuck.',
      description: [
        'throttle-monitor on %s answers scrapes, but its last tick was {{ $value | humanizeDuration }} ago.' % node,
        'All its values are from then: no other alert of this node can be relied on.',
      ],
    },
    {
      name: 'ThrottleMonitorConfigReloadFailed',
      severity: 'ticket',
      duration: config.durations.reload,
      expr: 'max by (%s) (%s) == 0\n' % [lib.node, lib.series('throttle_monitor_config_last_reload_successful')],
      page: 'monitor-reload',
      summary: 'throttle-monitor could not reload its configuration.',
      description: [
        'The last reload of the configuration on %s failed: the configuration before it is in effect.' % node,
        'After a restart the daemon would not start with that file.',
        lib.with(
          lib.query('throttle_monitor_config_last_reload_success_timestamp_seconds', wrap='time() - %s'),
          '\nThe one in effect was loaded {{ .Value | humanizeDuration }} ago.'
        ),
        'The reason is config.error at /api/v1/node.',
      ],
    },
    {
      name: 'ThrottleMonitorDown',
      severity: 'ticket',
      duration: config.durations.absent,
      expr: 'max by (%s) (%s) == 0\n' % [lib.node, lib.series('up')],
      page: 'monitor-down',
      // It cannot serve its own runbook.
      anyDaemon: true,
      summary: 'throttle-monitor does not answer.',
      description: [
        'No scrape of throttle-monitor on %s has succeeded for %s: livelocks on this node are not reported.'
        % [node, config.durations.absent],
        lib.with(
          lib.query(
            'throttle_livelock_state',
            wrap='max(max_over_time(%%s[%s])) > 0' % config.lastKnown
          ),
          '\nIts last report was a '
          + '{{ if eq .Value 1.0 }}suspected {{ end }}livelock: check the node first.'
        ),
      ],
    },
    {
      name: 'ThrottleMonitorAbsent',
      severity: 'ticket',
      duration: config.durations.absent,
      overview: true,
      expr: 'absent(%s)\n' % lib.series('up'),
      page: 'monitor-down',
      summary: 'Prometheus has no throttle-monitor to scrape.',
      description: [
        'There is no target with %s: livelocks are not reported for any node.' % config.selector,
        'The runbook is monitor-down, on each node in /usr/share/doc/throttle-monitor/docs/runbooks.',
      ],
    },
  ]
