// On which nodes the guard had to act, or could not.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local nodes = q.nodes;
  local mode = q.of('throttle_guard_mode');
  local did(matchers) = |||
    sum by (%s) (increase(%s)) > 0
  ||| % [nodes, q.during('throttle_guard_actions_total', '$__range', matchers)];

  [
    panel.bars(
      'Nodes, by what their guard may do',
      'Off is the default. Bad: another mode than the one you configured.',
      [
        panel.instant('count(%s == %d)\nor 0 * count(%s)' % [mode, of[0], mode], of[1])
        for of in [[0, 'off'], [1, 'advise'], [2, 'prevent'], [3, 'break']]
      ],
      words.plain { unit: 'short', decimals: 0 },
    ) + panel.size(8, 7),

    panel.table(
      'Nodes whose guard acted, of this range',
      'Broke: actions that let a stalled loop resume, two or more a livelock; move the client or the server of such a node. Bad: failed, the guard could not set or roll back a limit; refused, a loop was stalled and was not mitigated. Left alone: changed by another program meanwhile. Changed: limits that are not rolled back yet.',
      [
        q.inCluster('group by (%s) (%s)' % [nodes, did('result!~"advised"')]),
        did('action="break", result="done"'),
        did('action="prevent", result="done"'),
        did('result="refused"'),
        did('result="failed"'),
        did('result="left_alone"'),
        'count by (%s) (%s)' % [nodes, q.of('throttle_guard_active')],
      ],
      [
        [config.nodeLabel, 'Node', panel.linked('Open the node', q.node) + panel.width(200)],
        ['in', 'Cluster', panel.width(110)],
        ['Value #B', 'Broke', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['orange', 1]]) })],
        ['Value #C', 'Prevented', { unit: 'short', decimals: 0 }],
        ['Value #D', 'Refused', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['orange', 1]]) })],
        ['Value #E', 'Failed', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['red', 1]]) })],
        ['Value #F', 'Left alone', { unit: 'short', decimals: 0 }],
        ['Value #G', 'Changed', { unit: 'short', decimals: 0 }],
      ],
      sortBy='Broke',
      field={ noValue: 'no guard acted' },
    ) + panel.size(16, 7),
  ]
