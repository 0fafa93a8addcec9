// Alerts of loops across nodes: node_a mounts what node_b serves, and so on, and the last mounts
// what node_a serves. They are of no single node; node_a is the one with the smallest number.
function(config, lib)
  // Of one cluster at most this many of a kind, always the same: where everybody mounts everybody
  // there are thousands.
  local most = 20;
  local bounded(expr) = |||
    topk by (%s) (%d, %s)
  ||| % [config.clusterLabel, most, expr];

  // The mounts that lead from a node to another.
  local mounts(from, to) =
    '{{- range printf `%s and on (%s, server_address) %s{%s=%%q,peer=%%q}` %s | query }}' % [
      lib.series('throttle_remote_mount_held_bytes', '%s=%%q,%s=%%q' % lib.nodeLabels),
      config.clusterLabel,
      lib.uniqueAddress,
      config.clusterLabel,
      '$labels.%s %s $labels.%s %s' % [config.clusterLabel, from, config.clusterLabel, to],
    ]
    + '\n{{ .Labels.%s }} mounts {{ .Labels.export }} at {{ .Labels.mount }}' % config.nodeLabel
    + '{{ with .Labels.pod_uid }} (pod {{ . }}){{ end }}'
    + ', which {{ %s }} serves{{ with printf `%s` $labels.%s %s .Labels.server_address | query }}{{ with (first .).Labels.pod_uid }} (pod {{ . }}){{ end }}{{ end }}' % [
      to,
      lib.series('throttle_node_address', '%s=%%q,%s=%%q,address=%%q' % lib.nodeLabels),
      config.clusterLabel,
      to,
    ]
    + ': %s not yet written.{{ end }}' % lib.bytes;
  local path = [std.join('', [
    mounts('$labels.node_a', '$labels.node_b'),
    mounts('$labels.node_b', '(or $labels.node_c $labels.node_a)'),
    '{{- if $labels.node_c }}' + mounts('$labels.node_c', '(or $labels.node_d $labels.node_a)') + '{{ end }}',
    '{{- if $labels.node_d }}' + mounts('$labels.node_d', '$labels.node_a') + '{{ end }}',
  ])];
  local nodes = '{{ $labels.node_a }}, {{ $labels.node_b }}{{ with $labels.node_c }}, {{ . }}{{ end }}{{ with $labels.node_d }}, {{ . }}{{ end }}';

  local alert(of) = lib.alert(of { overview: true, node: 'node_a', page: 'across-nodes' });

  [
    alert({
      name: 'NfsLivelockAcrossNodes',
      severity: 'page',
      duration: config.durations.livelock,
      keepFiring: config.keepFiring.livelock,
      expr: bounded(lib.ring('blocked')),
      summary: 'Nodes that serve each other wait for each other, and no byte moves.',
      description: [
        'Each of %s waits for the next one, and the last one for the first.' % nodes,
        'On each the pages of its mount fill the dirty limit, and its own NFS server waits for that limit.',
      ] + path + [
        'It does not end by itself. Do not touch the mounts: no ls, df, umount or sync. The runbook has the way out.',
      ],
    }),
    alert({
      name: 'NfsLoopAcrossNodes',
      severity: 'info',
      duration: config.durations.loop,
      keepFiring: config.loopGone,
      expr: bounded('%s unless on (%s, node_a, node_b, node_c, node_d) %s' % [
        lib.ring('risk'),
        config.clusterLabel,
        lib.ring('blocked'),
      ]),
      summary: 'Nodes mount what each other serves: under load they may stall together.',
      description: [
        '%s mount what each other serves, in a circle. Nothing is stalled yet.' % nodes,
      ] + path + [
        'Buffered writes of all of them at once can fill the dirty limit of each with pages of the next.',
      ],
    }),
  ]
