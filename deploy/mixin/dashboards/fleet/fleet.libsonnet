// All nodes: first how many are stalled, then which and why.
local panel = import '../lib/panel.libsonnet';

function(config)
  local query = (import '../lib/query.libsonnet')(config, '%s=~"$instance"');
  local board = (import '../lib/dashboard.libsonnet')(config);
  local part(of) = of(config, query);
  local rows =
    part(import 'verdicts.libsonnet')
    + panel.row('Loops across nodes', part(import 'across.libsonnet'))
    + panel.row('Why, and what can stall next', part(import 'risks.libsonnet'))
    + panel.row('The guards: which nodes had to mitigate', part(import 'guards.libsonnet'))
    + panel.row('The monitors: which are unreliable', part(import 'monitors.libsonnet'));

  board.new(
    uid=config.fleetDashboardUID,
    title='throttle-monitor / Fleet',
    description='The nodes that serve devices to themselves, the worst first, and the monitors that are unreliable.',
    from='now-6h',
    variables=[
      board.datasource,
      board.job,
      board.cluster,
      board.variable(
        'instance',
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
        'Node', '/d/%s?var-datasource=${datasource}&${job:queryparam}&${cluster:queryparam}' % config.nodeDashboardUID, 'One node'
      ),
    ],
    rows=rows,
  )
