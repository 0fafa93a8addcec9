// All nodes: which have a loop, in which state, and which monitors are unreliable.
function(config)
  local query = (import '../lib/query.libsonnet')(config, '%s=~"$node"');
  local board = (import '../lib/dashboard.libsonnet')(config);
  local rows = [
    import 'verdicts.libsonnet',
    import 'guards.libsonnet',
    import 'monitors.libsonnet',
  ];

  board.new(
    uid=config.fleetDashboardUID,
    title='throttle-monitor / Fleet',
    description='The nodes that serve NFS to themselves, the worst first, and the monitors that are unreliable.',
    from='now-6h',
    variables=[
      board.datasource,
      board.cluster,
      board.variable(
        'node',
        'Node',
        'throttle_monitor_build_info{%s}' % query.cluster,
        config.nodeLabel,
        "The daemons' targets."
      ) + board.many,
    ],
    annotations=board.verdicts(
      'max by (%s, loop, signature) (max_over_time(%s))'
      % [query.nodes, query.during('throttle_livelock_state', '$__interval')],
      '{{%s}} {{loop}}' % config.nodeLabel,
      // Of many nodes they would cover everything: off until asked for.
      enable=false
    ),
    links=[
      board.link(
        'Node', '/d/%s?var-datasource=${datasource}&${cluster:queryparam}' % config.nodeDashboardUID, 'One node'
      ),
      board.link('Runbook', board.runbook('dirty-throttle'), 'What to do') { targetBlank: true, keepTime: false },
    ],
    rows=std.flattenArrays([part(config, query) for part in rows]),
  )
