// Which nodes are in a loop, in which state.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local nodes = q.nodes;
  local state = q.of('throttle_livelock_state');
  // Of a node that does not answer, as a stalled one may not, its last report.
  local last = 'last_over_time(%s)' % q.during('throttle_livelock_state', std.get(config, 'lastKnown', '10m'));
  local worst = 'max by (%s) (%s)' % [nodes, last];
  local build = q.of('throttle_monitor_build_info');
  local none = '0 * count(%s)' % build;

  // Zero where none is, nothing where no node reports.
  local count(what) = 'count(%s)\nor %s' % [what, none];

  local open = panel.linked(
    'Open the node',
    '/d/%s?var-datasource=${datasource}&var-cluster=${__data.fields.Cluster}&var-node=${__value.raw}&${__url_time_range}'
    % config.nodeDashboardUID
  );
  local runbook = panel.linked('Runbook', config.runbookURL % '${__value.text}');

  local loops(also='') = q.loopsByBdi('client_bdi', also);

  [
    panel.stat(
      'Nodes that report',
      'Nodes whose daemon is scraped. Compare it with how many there should be: a node that was never scraped is not on this page.',
      'count(group by (%s) (%s))' % [nodes, build],
      words.plain { unit: 'short', noValue: 'none' },
    ) + panel.uncolored + panel.size(3, 4),
    panel.stat(
      'In deadlock',
      'Nodes on which no byte moved through a loop for half a minute after the livelock was confirmed. Any is an emergency.',
      count('%s == 3' % worst),
      words.none('purple') { unit: 'short', noValue: 'no data' },
    ) + panel.size(3, 4),
    panel.stat(
      'In livelock',
      'Nodes whose NFS server waits for its own client. Any is an emergency: it seldom ends by itself.',
      count('%s == 2' % worst),
      words.none() { unit: 'short', noValue: 'no data' },
    ) + panel.size(3, 4),
    panel.stat(
      'Suspected',
      'Nodes on which three of the four conditions hold. Ordinary for seconds; look at it after minutes.',
      count('%s == 1' % worst),
      words.none('yellow') { unit: 'short', noValue: 'no data' },
    ) + panel.size(3, 4),
    panel.stat(
      'Nodes with a loop',
      'Nodes that serve an NFS mount to themselves. Each can livelock: bad where it is not intended.',
      count('group by (%s) (%s)' % [nodes, q.of('throttle_loop_info')]),
      words.none('yellow') { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(3, 4),
    panel.stat(
      'Loops not exempt',
      'Loops whose server is not exempt from local dirty throttling, or not known to be, as between a server pod and a client pod on one node: these stall under load.',
      count('group by (%s, loop) (%s)' % [nodes, q.of('throttle_loop_info', 'exempt!="yes"')]),
      words.none('orange') { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(3, 4),
    panel.stat(
      'Time in livelock, all loops',
      'Time in livelock or deadlock within the range of the dashboard, added up over all loops of all nodes: it can be longer than the range.',
      'sum(increase(%s))\nor %s' % [q.during('throttle_livelock_seconds_total', '$__range'), none],
      { thresholds: words.steps([['green', null], ['red', 1]]), unit: 's', decimals: 1, noValue: 'no data' },
    ) + panel.size(3, 4),
    panel.stat(
      'Oldest wait',
      'The longest wait that has not ended, of any task on any node. A wait of minutes is a task that never resumes.',
      'max(%s)' % q.of('throttle_oldest_wait_seconds'),
      { thresholds: words.steps([['green', null], ['yellow', config.thresholds.longWaitSeconds], ['red', config.thresholds.endlessWaitSeconds]]), unit: 's', decimals: 0, noValue: 'none yet' },
    ) + panel.size(3, 4),

    panel.table(
      'Nodes in a loop, the worst first',
      'One row a loop. Red and purple rows are emergencies: click the node to see why, the signature for the runbook. Green rows can become red under load, those that are not exempt first. "In state for" reaches back no farther than the range of the dashboard. "Report age" is the age of the values: red, the node no longer answers, and these are its last.',
      [
        q.inCluster('(\n  max by (%s, loop, signature) (%s > 0)\n  or on (%s, loop) max by (%s, loop) (%s)\n)' % [nodes, last, nodes, nodes, last]),
        q.held('max by (%s, loop) (%s%%s)' % [nodes, state]),
        'max by (%s, loop, server, proof, scope, exempt) (%s)' % [nodes, q.of('throttle_loop_info')],
        'max by (%s, loop) (%s)' % [nodes, q.of('throttle_loop_demand_bytes')],
        'max by (%s, loop) (%s)' % [nodes, q.of('throttle_loop_progress_bytes_per_second')],
        'max by (%s, loop) (%s)' % [nodes, q.of('throttle_loop_blockage_ratio')],
        '0 * max by (%s, loop) (%s)\n+ on (%s) group_left () (time() - max by (%s) (last_over_time(%s)))' % [
          nodes,
          last,
          nodes,
          nodes,
          q.during('throttle_monitor_tick_last_success_timestamp_seconds', std.get(config, 'lastKnown', '10m')),
        ],
      ],
      [
        ['Value #A', 'State', panel.cell(words.state) + panel.width(110)],
        [config.nodeLabel, 'Node', open],
        ['in', 'Cluster', panel.width(120)],
        ['loop', 'Loop', panel.width(140)],
        ['signature', 'Signature', runbook + panel.width(150)],
        ['Value #B', 'In state for', { unit: 'dtdurations', decimals: 0 } + panel.width(130)],
        ['scope', 'Scope', panel.colored({ mappings: words.scope }) + panel.width(110)],
        ['exempt', 'Exempt', panel.colored({ mappings: words.exempt }) + panel.width(90)],
        ['proof', 'Proof', panel.width(80)],
        ['server', 'Server', panel.width(130)],
        ['Value #D', 'Demand', { unit: 'bytes', decimals: 1 } + panel.width(95)],
        ['Value #E', 'Progress', { unit: 'binBps', decimals: 1 } + panel.width(105)],
        ['Value #F', 'Blockage', { unit: 'percentunit', decimals: 0 } + panel.width(85)],
        ['Value #G', 'Report age', {
          unit: 's',
          decimals: 0,
          thresholds: words.steps([['text', null], ['red', 60]]),
          'custom.cellOptions': { type: 'color-text' },
        } + panel.width(100)],
      ],
      sortBy='State',
    ) + panel.size(24, 9),

    panel.timeseries(
      'Nodes in trouble, by their worst state',
      'Stacked: nodes that are suspected, in livelock or in deadlock. Zero is good. A red or purple band that stays is a stalled node.',
      [
        panel.range(count('%s == 3' % worst), 'deadlock'),
        panel.range(count('%s == 2' % worst), 'livelock'),
        panel.range(count('%s == 1' % worst), 'suspected'),
      ],
      { unit: 'short', decimals: 0 },
    ) + panel.stacked + panel.custom({ lineInterpolation: 'stepAfter' }) + panel.size(10, 8) + panel.overrides([
      panel.override('deadlock', panel.color('purple')),
      panel.override('livelock', panel.color('red')),
      panel.override('suspected', panel.color('yellow')),
    ]),

    panel.bars(
      'Nodes in trouble, by signature',
      'Nodes suspected, in livelock or in deadlock now, by which edge closes the cycle. Many of one signature have one cause, usually one workload or one kernel.',
      [panel.instant(
        'count by (signature) (max by (%s, signature) (%s) > 0)\nor 0 * count by (signature) (%s)' % [nodes, last, last],
        '{{signature}}'
      )],
      words.none() { unit: 'short', decimals: 0, noValue: 'no loop' },
    ) + panel.size(5, 8),

    panel.table(
      'Loops whose server is not exempt',
      'Worth a change before anything stalls: run server and clients on different nodes, or limit the mount\'s share of the dirty limit. "Share" is how much of the node\'s vmstat threshold the mount may fill now; near 100 % it can stall the node alone.',
      [
        q.inCluster('group by (%s, loop, server, device) (\n  %s\n  * on (%s, bdi) group_left (device) %s\n)' % [
          nodes,
          'label_replace(%s, "bdi", "$1", "client_bdi", "(.+)")' % q.of('throttle_loop_info', 'exempt!="yes"'),
          nodes,
          'max by (%s, bdi, device) (%s)' % [nodes, q.of('throttle_bdi_info')],
        ]),
        'max by (%s, loop) (\n  %s\n  / on (%s) group_left () max by (%s) (%s)\n  * on (%s, bdi) group_right () %s\n)' % [
          nodes,
          'max by (%s, bdi) (%s)' % [nodes, q.of('throttle_bdi_dirty_threshold_bytes')],
          nodes,
          nodes,
          q.of('throttle_dirty_limit_bytes'),
          nodes,
          loops('exempt!="yes"'),
        ],
      ],
      [
        [config.nodeLabel, 'Node', open + panel.width(180)],
        ['in', 'Cluster', panel.width(90)],
        ['device', 'Mounted'],
        ['loop', 'Loop', panel.width(130)],
        ['Value #B', 'Share', {
          unit: 'percentunit',
          decimals: 0,
          thresholds: words.steps([['text', null], ['orange', 0.5]]),
          'custom.cellOptions': { type: 'color-text' },
        } + panel.width(80)],
      ],
      sortBy='Share',
    ) + panel.size(9, 8),
  ]
