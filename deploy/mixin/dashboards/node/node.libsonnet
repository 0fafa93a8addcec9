// One node: what is throttled, where, why, since when.
function(config)
  local query = (import '../lib/query.libsonnet')(config);
  local board = (import '../lib/dashboard.libsonnet')(config);
  local rows = [
    import 'verdict.libsonnet',
    import 'conditions.libsonnet',
    import 'waits.libsonnet',
    import 'pages.libsonnet',
    import 'guard.libsonnet',
    import 'monitor.libsonnet',
  ];

  board.new(
    uid=config.nodeDashboardUID,
    title='throttle-monitor / Node',
    description='A node that serves NFS and mounts it: is its server waiting for its own client?',
    from='now-1h',
    variables=[
      board.datasource,
      board.cluster,
      board.variable(
        'node',
        'Node',
        'throttle_monitor_build_info{%s}' % query.cluster,
        config.nodeLabel,
        "The daemon's target."
      ),
      board.variable(
        'loop',
        'Loop',
        query.of('throttle_livelock_state'),
        'loop',
        'An NFS mount that the node serves to itself.'
      ) + board.many,
      board.variable(
        'bdi',
        'BDI',
        query.of('throttle_bdi_info'),
        'bdi',
        'A backing device: a disk, or an NFS mount. For the panels of pages.'
      ) + board.many,
      board.variable(
        'cause',
        'Cause',
        query.of('throttle_waiting_tasks'),
        'cause',
        'The kernel function in which tasks wait. For the panels of waits.'
      ) + board.many,
    ],
    annotations=board.verdicts(
      'max by (loop, signature) (max_over_time(%s))'
      % query.during('throttle_livelock_state', '$__interval', 'loop=~"$loop"'),
      '{{loop}}'
    ) + [
      board.annotation(
        'Confirmed',
        'red',
        'sum by (loop, signature) (increase(%s)) > 0'
        % query.during('throttle_livelock_detections_total', '$__rate_interval', 'loop=~"$loop"'),
        'confirmed: {{loop}}'
      ) { enable: false },
    ],
    links=[
      board.link(
        'Fleet', '/d/%s?var-datasource=${datasource}&${cluster:queryparam}' % config.fleetDashboardUID, 'All nodes'
      ),
      board.link('Runbook', board.runbook('dirty-throttle'), 'What to do, and what not') { targetBlank: true, keepTime: false },
    ],
    rows=std.flattenArrays([part(config, query) for part in rows]),
  )
