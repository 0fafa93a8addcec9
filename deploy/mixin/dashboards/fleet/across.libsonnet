// Loops across nodes: which rings there are, who waits for whom in them, and by which mounts.
// They are recorded by ../../alerts/cycles.libsonnet.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local lib = (import '../../lib.libsonnet')(config);
  local nodes = q.nodes;
  local edge = nodes + ', peer';

  // Of many rings these; stalled ones first.
  local most = 50;
  // Rings that a chosen node is in.
  local rings(kind) = std.join(' or ', [
    q.recorded(lib.ring(kind), '%s=~"$instance"' % label)
    for label in ['node_a', 'node_b', 'node_c', 'node_d']
  ]);
  // Edges from and to the chosen nodes: 1 where the ring is stalled, else 0.
  local edges = '(%s or %s)' % [
    q.recorded(lib.ringEdge, q.instance),
    q.recorded(lib.ringEdge, 'peer=~"$instance"'),
  ];

  // What an expression says in MiB becomes a label: the graph shows numbers by its own names alone.
  local inMiB(by, expr) =
    'label_replace(count_values by (%s) ("mib", round(%s / 2^20)), "mainstat", "$1 MiB", "mib", "(.+)")' % [by, expr];
  local constant(expr, label, value) = 'label_replace(%s, "%s", "%s", "", "")' % [expr, label, value];
  // Red where `state` is 1.
  local coloured(on, state) = '(%s\n  or on (%s) %s)' % [
    constant('(%s == 1)' % state, 'color', 'red'),
    on,
    constant('(%s * 0 + 1)' % state, 'color', 'orange'),
  ];
  local held = q.recorded(lib.heldForPeer);
  local id(expr, label, of) = 'label_join(%s, "%s", "/", "%s", "%s")' % [expr, label, config.clusterLabel, of];

  // The nodes that the edges lead from; a ring leads from each of its nodes.
  local graphNodes =
    local from = 'max by (%s) (%s)' % [nodes, edges];
    id(
      'label_replace(label_replace(\n%s\n, "title", "$1", "%s", "(.+)"), "subtitle", "$1", "%s", "(.+)")' % [
        q.inCluster(inMiB(
          nodes + ', color',
          'sum by (%s) (%s and on (%s) %s)\n* on (%s) group_left (color) %s' % [
            nodes,
            held,
            edge,
            edges,
            nodes,
            coloured(nodes, from),
          ]
        )),
        config.nodeLabel,
        config.clusterLabel,
      ], 'id', config.nodeLabel
    );
  local graphEdges = id(id(
    'label_join(%s, "id", "/", "%s", "%s", "peer")' % [
      inMiB(
        edge + ', color',
        'sum by (%s) (%s)\n* on (%s) group_left (color) %s' % [edge, held, edge, coloured(edge, edges)]
      ),
      config.clusterLabel,
      config.nodeLabel,
    ],
    'source',
    config.nodeLabel
  ), 'target', 'peer');

  // Mounts by which an edge leads.
  local mounts(metric) = |||
    max by (%(edge)s, bdi, mount, export) (
      %(metric)s
      * on (%(cluster)s, server_address) group_left (peer) %(unique)s
    ) and on (%(edge)s) %(edges)s
  ||| % {
    edge: edge,
    metric: q.of(metric),
    cluster: config.clusterLabel,
    unique: q.recorded(lib.uniqueAddress),
    edges: edges,
  };
  local open(title) = panel.linked(title, q.node);

  [
    panel.graph(
      'Rings: who waits for whom',
      'An arrow leads from a node to the node whose export it mounts; the number is how much it holds for that one and has not written. Red: the ring is stalled, each node waits for the next one. Orange: nothing is stalled, but under load it may be. Click a node to open its dashboard. Empty is good.',
      graphNodes,
      graphEdges,
      [['title', { links: [{
        title: 'Open the node',
        url: std.strReplace(std.strReplace(q.node, '__data.fields.Cluster', '__data.fields.in'), '__value.raw', '__data.fields.title'),
        targetBlank: false,
      }] }]],
    ) + panel.size(12, 14),

    panel.table(
      'Rings of nodes',
      'Each node mounts what the next one serves, and the last one what the first one serves. Bad: stalled, where no node can write until another one does. At most %d, the stalled first. The runbook is across-nodes.' % most,
      [q.inCluster('topk(%d, (%s) ^ 0 or (%s) * 0)' % [most, rings('blocked'), rings('risk')])],
      [
        ['Value', 'State', panel.cell(words.ring) + panel.width(90)],
        ['in', 'Cluster', panel.width(110)],
        ['node_a', 'Node', open('Open the node')],
        ['node_b', 'Next', open('Open the node')],
        ['node_c', 'Third', open('Open the node')],
        ['node_d', 'Fourth', open('Open the node')],
      ],
      sortBy='State',
      field={ noValue: 'no ring' },
    ) + panel.size(12, 6),

    panel.table(
      'Mounts of the rings',
      'By which mounts the rings above are closed. "Held" is dirty or under writeback. Bad: blocked, its pages fill the dirty limit of the node while the node\'s own NFS server waits for that limit.',
      [q.inCluster(mounts('throttle_remote_mount_held_bytes')), mounts('throttle_remote_mount_blocked')],
      [
        [config.nodeLabel, 'Node', open('Open the node')],
        ['in', 'Cluster', panel.width(110)],
        ['export', 'Mounts'],
        ['mount', 'At'],
        ['peer', 'Served by', open('Open the node')],
        ['Value #A', 'Held', { unit: 'bytes', decimals: 1 } + panel.width(95)],
        ['Value #B', 'Blocked', panel.colored(words.yes('red', 'text')) + panel.width(80)],
      ],
      sortBy='Blocked',
      field={ noValue: 'no ring' },
    ) + panel.size(12, 8),

    panel.table(
      'Would become its own client after a failover',
      'Nodes that mount an address which may come to them: once it does, they serve their own mounts, and stall under load. Known: observed, this node had the address within the last %d days. A guess: the node serves NFS, and the address has moved between nodes (address-moved) or is of another server (both-serve); whether that one has the same exports is in no series. Move the client to a node that serves nothing.' % config.thresholds.failoverDays,
      [q.inCluster(|||
        max by (%(nodes)s, server_address, bdi, mount, export, known, because) (
          %(held)s
          * on (%(nodes)s, server_address) group_left (known, because) (%(own)s ^ 0)
        )
      ||| % {
        nodes: nodes,
        held: q.of('throttle_remote_mount_held_bytes'),
        own: q.recorded(lib.ownAfterFailover, q.instance),
      })],
      [
        ['known', 'Known', panel.colored({ mappings: words.known }) + panel.width(100)],
        [config.nodeLabel, 'Node', open('Open the node')],
        ['in', 'Cluster', panel.width(110)],
        ['server_address', 'Address'],
        ['export', 'Mounts'],
        ['mount', 'At'],
        ['because', 'Because', panel.width(130)],
        ['Value', 'Held', { unit: 'bytes', decimals: 1 } + panel.width(95)],
      ],
      sortBy='Known',
      field={ noValue: 'none' },
    ) + panel.size(24, 7),
  ]
