// On which nodes the guard had to do something, or could not.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local nodes = q.nodes;
  local mode = q.of('throttle_guard_mode');
  local did(matchers) = |||
    sum by (%s) (increase(%s)) > 0
  ||| % [nodes, q.during('throttle_guard_actions_total', '$__range', matchers)];

  [
    panel.row('The guards: which nodes had to help themselves'),

    panel.bars(
      'Nodes, by what their guard may do',
      'Off is the default. Bad: a node that is off, or only advises, and should not be; one that breaks where nobody knows of it.',
      [
        panel.instant('count(%s == %d)\nor 0 * count(%s)' % [mode, of[0], mode], of[1])
        for of in [[0, 'off'], [1, 'advise'], [2, 'prevent'], [3, 'break']]
      ],
      words.plain { unit: 'short', decimals: 0 },
    ) + panel.size(8, 7),

    panel.table(
      'Nodes whose guard did something, of this range',
      'Broke: actions that got a loop going again, two or more a livelock; such a node wants its client or its server elsewhere. Bad: failed, for then it could not help, or not put something back; refused, for then a loop stood still and was not helped. Changed: settings that are another than before, now.',
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
        [config.nodeLabel, 'Node', panel.linked(
          'Open the node',
          '/d/%s?var-datasource=${datasource}&var-cluster=${__data.fields.Cluster}&var-node=${__value.raw}&${__url_time_range}'
          % config.nodeDashboardUID
        ) + panel.width(200)],
        ['in', 'Cluster', panel.width(110)],
        ['Value #B', 'Broke', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['purple', 1]]) })],
        ['Value #C', 'Prevented', { unit: 'short', decimals: 0 }],
        ['Value #D', 'Refused', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['orange', 1]]) })],
        ['Value #E', 'Failed', { unit: 'short', decimals: 0 } + panel.colored({ thresholds: words.steps([['text', null], ['red', 1]]) })],
        ['Value #F', 'Left alone', { unit: 'short', decimals: 0 }],
        ['Value #G', 'Changed', { unit: 'short', decimals: 0 }],
      ],
      sortBy='Broke',
      field={ noValue: 'no guard did anything' },
    ) + panel.size(16, 7),
  ]
