// One node: first whether it is stalled, then why.
local panel = import '../lib/panel.libsonnet';

function(config)
  local query = (import '../lib/query.libsonnet')(config);
  local board = (import '../lib/dashboard.libsonnet')(config);
  local part(of) = of(config, query);
  local rows =
    part(import 'verdict.libsonnet')
    + panel.row('Why: the four conditions of a livelock, all of them at once for 5 s', part(import 'conditions.libsonnet'))
    + panel.row('Waits: who is throttled, where, for how long', part(import 'waits.libsonnet'))
    + panel.row('Pages and devices (BDIs): what is dirty, what moves', part(import 'pages.libsonnet'))
    + panel.row('The guard and the monitor itself', part(import 'monitor.libsonnet'));

  board.new(
    uid=config.nodeDashboardUID,
    title='throttle-monitor / Node',
    description='A node that serves devices to itself: is its server waiting for its own client, and why?',
    from='now-1h',
    variables=[
      board.datasource,
      board.job,
      board.cluster,
      board.variable(
        'instance',
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
        'A backing device: a disk, or an NFS mount. For the row of pages.'
      ) + board.many,
    ],
    annotations=board.verdicts(
      'max by (loop, signature) (max_over_time(%s))'
      % query.during('throttle_livelock_state', '$__interval', 'loop=~"$loop"'),
      '{{loop}}'
    ),
    links=[
      board.link(
        'Fleet', '/d/%s?var-datasource=${datasource}&${job:queryparam}&${cluster:queryparam}' % config.fleetDashboardUID, 'All nodes'
      ),
    ],
    rows=rows,
  )
