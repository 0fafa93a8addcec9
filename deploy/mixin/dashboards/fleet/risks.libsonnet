// What stalls, by cause, and what can stall next.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local nodes = q.nodes;
  // Of a node that does not answer, as a stalled one may not, its last report.
  local last = 'last_over_time(%s)' % q.during('throttle_livelock_state', config.lastKnown);
  local open = panel.linked('Open the node', q.node);
  local loops(also='') = q.loopsByBdi('client_bdi', also);

  [
    panel.bars(
      'Nodes in trouble, by signature',
      'Nodes suspected, in livelock or in deadlock now, by which edge closes the cycle. Many of one signature have one cause, usually one workload or one kernel.',
      [panel.instant(
        'count by (signature) (max by (%s, signature) (%s) > 0)\nor 0 * count by (signature) (%s)' % [nodes, last, last],
        '{{signature}}'
      )],
      words.none() { unit: 'short', decimals: 0, noValue: 'no loop' },
    ) + panel.size(7, 8),

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
    ) + panel.size(10, 8),

    panel.bars(
      'Related conditions now',
      'What looks like a livelock, but is not one: how many nodes have it. Many of memory-starvation, nfs-server-not-responding, server-not-responding, dirty-limit-held or hung-file-system at once have one cause, usually one server.',
      [panel.instant(
        'count by (kind) (max by (%s, kind) (%s))\nor 0 * count by (kind) (%s)' % [
          nodes,
          q.of('throttle_related_condition'),
          q.of('throttle_related_conditions_total'),
        ], '{{kind}}'
      )],
      words.none('orange') { unit: 'short', decimals: 0 },
    ) + panel.size(7, 8),
  ]
