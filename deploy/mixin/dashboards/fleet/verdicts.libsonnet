// Which nodes are in a loop, in which state.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local lib = (import '../../lib.libsonnet')(config);
  local nodes = q.nodes;
  local state = q.of('throttle_livelock_state');
  // Of a node that does not answer, as a stalled one may not, its last report.
  local last = 'last_over_time(%s)' % q.during('throttle_livelock_state', std.get(config, 'lastKnown', '10m'));
  local worst = 'max by (%s) (%s)' % [nodes, last];
  local build = q.of('throttle_monitor_build_info');
  local none = '0 * count(%s)' % build;

  // Zero where none is, nothing where no node reports.
  local count(what) = 'count(%s)\nor %s' % [what, none];

  local open = panel.linked('Open the node', q.node);

  [
    panel.stat(
      'Nodes in livelock or deadlock',
      'Nodes on which a server waits for its own client and no write progresses, and nodes of a stalled ring (row "Loops across nodes"). Any is an emergency: it seldom ends by itself.',
      count('%s >= 2\n  or on (%s) max by (%s) (%s == 1)\n' % [worst, nodes, nodes, q.recorded(lib.ringEdge, q.instance)]),
      words.none() { unit: 'short', noValue: 'no data' },
    ) + panel.size(8, 6),
    panel.stat(
      'Suspected',
      'Nodes on which three of the four conditions hold. Ordinary for seconds; look at it after minutes.',
      count('%s == 1' % worst),
      words.none('yellow') { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(4, 6),
    panel.stat(
      'Loops not exempt',
      'Loops whose server is not exempt from local dirty throttling, or not known to be, as between a server pod and a client pod on one node: these stall under load.',
      count('group by (%s, loop) (%s)' % [nodes, q.of('throttle_loop_info', 'exempt!="yes"')]),
      words.none('orange') { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(4, 6),
    panel.stat(
      'Node-time in livelock',
      'Time in livelock or deadlock within the range of the dashboard, added up over all loops of all nodes: it can be longer than the range.',
      'sum(increase(%s))\nor %s' % [q.during('throttle_livelock_seconds_total', '$__range'), none],
      { thresholds: words.steps([['green', null], ['red', 1]]), unit: 's', decimals: 1, noValue: 'no data' },
    ) + panel.quiet + panel.size(4, 6),
    panel.stat(
      'Nodes that report',
      'Nodes whose daemon is scraped. Compare it with how many there should be: a node that was never scraped is not on this page.',
      'count(group by (%s) (%s))' % [nodes, build],
      words.plain { unit: 'short', noValue: 'none' },
    ) + panel.uncolored + panel.size(4, 6),

    panel.table(
      'Nodes in a loop, the worst first',
      'One row a loop. Red and dark red rows are emergencies: click the node to see why, the signature for the runbook. Green rows can become red under load, those that are not exempt first. "In state for" reaches back no farther than the range of the dashboard. "Report age" is the age of the values: red, the node no longer answers, and these are its last.',
      [
        q.addressed(q.inCluster('(\n  max by (%s, loop, signature) (%s > 0)\n  or on (%s, loop) max by (%s, loop) (%s)\n)' % [nodes, last, nodes, nodes, last])),
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
        ['signature', 'Signature', panel.linked('Runbook', q.runbook) + panel.width(150)],
        q.address,
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
      'Stacked: nodes that are suspected, in livelock or in deadlock. Zero is good. A red or dark red band that stays is a stalled node.',
      [
        panel.range(count('%s == 3' % worst), 'deadlock'),
        panel.range(count('%s == 2' % worst), 'livelock'),
        panel.range(count('%s == 1' % worst), 'suspected'),
      ],
      { unit: 'short', decimals: 0 },
    ) + panel.stacked + panel.custom({ lineInterpolation: 'stepAfter' }) + panel.size(24, 7) + panel.overrides([
      panel.override('deadlock', panel.color('dark-red')),
      panel.override('livelock', panel.color('red')),
      panel.override('suspected', panel.color('yellow')),
    ]),
  ]
