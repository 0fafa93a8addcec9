// Which monitors are reliable: a node without a verdict is not a node without a livelock.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local nodes = q.nodes;
  local build = q.of('throttle_monitor_build_info');
  local group(what) = 'group by (%s) (%s)' % [nodes, what];
  local unavailable(signal) =
    'on (%s) %s' % [nodes, q.of('throttle_monitor_probe_state', 'signal="%s", state="unavailable"' % signal)];

  // The worst first. The numbers are those of words.health.
  local gone = group('last_over_time(%s) unless on (%s) %s' % [
    q.during('throttle_monitor_build_info', '$__range'),
    nodes,
    q.of('up'),
  ]);
  local failing = group('%s == 0' % q.of('up'));
  local stuck = group('%s > %d' % [q.tickAge, config.thresholds.stuckSeconds]);
  local blind = group(q.of('throttle_monitor_probe_state', 'signal="balance_dirty_pages", state="unavailable"'));
  local limited = group('%s and %s or %s and %s' % [
    q.of('throttle_loop_info'),
    unavailable('nfs_client_writes'),
    q.of('throttle_loop_info', 'server="nfsd"'),
    unavailable('nfsd_writes'),
  ]);
  local health = '(\n  5 * %s\n  or 4 * %s\n  or 3 * %s\n  or 2 * %s\n  or %s\n  or 0 * %s\n)'
                 % [gone, failing, stuck, blind, limited, group(q.of('up'))];

  local count(what) = 'count(%s)\nor 0 * count(%s)' % [what, q.of('up')];

  [
    panel.timeseries(
      'Unreliable monitors',
      'Gone: reported in this range, is not a target now. Scrape fails: the target is down. Stuck: its last tick is over %d s old. Blind: balance_dirty_pages is not attached, so nothing is ever suspected. Limited: it has a loop and cannot see what client or server write, so nothing is ever confirmed. Each should be zero.'
      % config.thresholds.stuckSeconds,
      [
        panel.range(count(gone), 'gone'),
        panel.range(count(failing), 'scrape fails'),
        panel.range(count(stuck), 'stuck'),
        panel.range(count(blind), 'blind'),
        panel.range(count(limited), 'limited'),
      ],
      { unit: 'short', decimals: 0 },
    ) + panel.stacked + panel.custom({ lineInterpolation: 'stepAfter' }) + panel.size(7, 9) + panel.overrides([
      panel.override('gone', panel.color('dark-red')),
      panel.override('scrape fails', panel.color('red')),
      panel.override('stuck', panel.color('dark-orange')),
      panel.override('blind', panel.color('orange')),
      panel.override('limited', panel.color('yellow')),
    ]),

    panel.table(
      'Monitors, the worst first',
      "Whether each node's verdict is reliable (in the words of the panel beside). Bad: any row that is not green. Lost: events not counted in this range, should be 0.",
      [
        q.inCluster(health),
        'max by (%s, version, kernel) (%s)' % [nodes, build],
        'max by (%s) (%s)' % [nodes, q.tickAge],
        'count by (%s) (%s)\nor 0 * %s' % [nodes, q.of('throttle_monitor_probe_state', 'state="degraded"'), group(build)],
        'sum by (%s) (increase(%s))' % [nodes, q.during('throttle_monitor_lost_events_total', '$__range')],
        'max by (%s) (%s)' % [nodes, q.of('process_resident_memory_bytes')],
      ],
      [
        ['Value #A', 'Monitor', panel.cell(words.health) + panel.width(100)],
        [config.nodeLabel, 'Node', panel.linked('Open the node', q.node) + panel.width(200)],
        ['in', 'Cluster', panel.width(110)],
        ['Value #C', 'Last tick', { unit: 's', decimals: 1 }],
        ['Value #D', 'Degraded', { unit: 'short', decimals: 0 }],
        ['Value #E', 'Lost', { unit: 'short', decimals: 0 }],
        ['Value #F', 'Memory', { unit: 'bytes', decimals: 1 }],
        ['version', 'Version', panel.width(80)],
        ['kernel', 'Kernel', panel.width(180)],
      ],
      sortBy='Monitor',
    ) + panel.size(17, 9),

    panel.table(
      'Versions and kernels',
      'Nodes by version of the daemon and kernel. Bad: a version that should be gone. Which kernels livelock how: docs/kernels.md.',
      ['count by (version, revision, kernel) (%s)' % build],
      [
        ['kernel', 'Kernel'],
        ['version', 'Version'],
        ['revision', 'Revision'],
        ['Value', 'Nodes', { unit: 'short', decimals: 0 }],
      ],
      sortBy='Nodes',
    ) + panel.size(24, 6),
  ]
