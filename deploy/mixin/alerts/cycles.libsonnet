// Records of loops across nodes, by their group. What is blocked is within the group of the alerts
// that use it, so that a state is told at the evaluation that sees it. What is at risk changes
// seldom, and has a group of its own: a ruler of Mimir takes 20 rules in a group by default.
//
// An edge goes from a node to the node whose address it mounts. Its value is the difference of the
// two nodes' numbers: along a chain they add up to the difference between its ends. A chain whose
// sums all stay above zero begins at its node with the smallest number, and so each cycle is found
// once.
//
// Prometheus joins many to one, not many to many. Edges of which one goes there and one back are
// cycles of two, and are taken out; of what is left each node has its edges of the ranks below.
function(config, lib)
  local ranks = [1, 2, 3];

  local cluster = config.clusterLabel;
  local instance = config.nodeLabel;
  local edge = '%s, peer' % lib.node;
  local unique = lib.uniqueAddress;
  local number = 'max by (%s) (%s)' % [lib.node, lib.series('throttle_node_number')];

  local rename(expr, from, to) = 'label_replace(%s, "%s", "$1", "%s", "(.+)")' % [expr, to, from];
  local renamed(expr, names) =
    std.foldl(function(e, name) rename(e, name[0], name[1]), names, expr);
  // Edges as (first, second), under names of their own.
  local ends(expr, first, second) =
    'max by (%s, %s, %s) (%s)' % [
      cluster,
      first,
      second,
      renamed(expr, [[instance, first], ['peer', second]]),
    ];
  // Edges the other way round.
  local reversed(expr) = 'max by (%s) (%s)' % [
    edge,
    renamed(expr, [['peer', 'reversed'], [instance, 'peer'], ['reversed', instance]]),
  ];

  local record(name, expr, labels={}) = {
    record: name,
    expr: std.rstripChars(expr, '\n ') + '\n',
    [if labels != {} then 'labels']: labels,
  };

  // Of `mounts`, an expression with instance and server_address: the nodes that they are of.
  local joined(mounts) = |||
    (
      %(mounts)s
        unless on (%(node)s, server_address)
      %(own)s
    )
      * on (%(cluster)s, server_address) group_left (peer)
    %(unique)s
  ||| % {
    mounts: mounts,
    node: lib.node,
    cluster: cluster,
    own: rename(lib.series('throttle_node_address'), 'address', 'server_address'),
    unique: unique,
  };
  local mounts(metric) =
    'max by (%s, bdi, server_address) (%s)' % [lib.node, lib.series(metric)];
  local blockedMounts = '(%s == 1)' % mounts('throttle_remote_mount_blocked');

  // Everything about edges of a `kind`: those that `which`, an expression, has.
  local kind(kind, which) =
    local edges = 'instance_peer:throttle_remote_mount:' + kind;
    local unanswered = edges + '_unanswered';
    local single = 'instance_peer:throttle_remote_mount:%s_ranked' % kind;
    local chain(nodes) = 'cluster_chain:throttle_remote_mount:%s_%d' % [kind, nodes];
    local cycle = lib.ring(kind);
    // Longer by one node.
    local longer(expr, last, next) = std.join('  or\n', [
      |||
        %(expr)s + on (%(cluster)s, %(last)s) group_left (%(next)s)
        %(more)s > 0
      ||| % {
        expr: expr,
        cluster: cluster,
        last: last,
        next: next,
        more: ends('%s{rank="%d"}' % [single, rank], last, next),
      }
      for rank in ranks
    ]);
    // Those of which an edge goes from the last to the first.
    local closed(expr, last) = |||
      %s
        and on (%s, node_a, %s)
      %s
    ||| % [expr, cluster, last, ends(single, last, 'node_a')];
    [
      record(edges, |||
        (
          %(number)s
            * on (%(node)s) group_right ()
          (%(which)s ^ 0)
        ) * -1
          + on (%(cluster)s, peer) group_left ()
        max by (%(cluster)s, peer) (%(peers)s)
      ||| % {
        number: number,
        node: lib.node,
        cluster: cluster,
        which: which,
        peers: rename(lib.series('throttle_node_number'), instance, 'peer'),
      }),
      // What no edge answers, between nodes that others lead to and that lead to others.
      record(unanswered, |||
        %(edges)s
          unless on (%(edge)s)
        %(back)s
          and on (%(cluster)s, peer)
        %(leads)s
          and on (%(node)s)
        %(led)s
      ||| % {
        edges: edges,
        edge: edge,
        back: reversed(edges),
        cluster: cluster,
        node: lib.node,
        leads: rename('max by (%s) (%s)' % [lib.node, edges], instance, 'peer'),
        led: rename('max by (%s, peer) (%s)' % [cluster, edges], 'peer', instance),
      }),
    ] + [
      record(
        single,
        (if rank == 1 then 'topk by (%(node)s) (1, %(edges)s)' else |||
           topk by (%(node)s) (%(rank)d, %(edges)s)
             unless
           topk by (%(node)s) (%(less)d, %(edges)s)
         |||) % { node: lib.node, rank: rank, less: rank - 1, edges: unanswered },
        { rank: '%d' % rank }
      )
      for rank in ranks
    ] + [
      record(chain(3), longer('(%s > 0)' % ends(single, 'node_a', 'node_b'), 'node_b', 'node_c')),
      record(chain(4), longer('(%s)' % chain(3), 'node_c', 'node_d')),
      record(
        cycle,
        ends(edges + ' > 0', 'node_a', 'node_b')
        + '\n  and on (%s, node_a, node_b)\n' % cluster
        + ends(edges, 'node_b', 'node_a'),
        { nodes: '2' }
      ),
      record(cycle, closed(chain(3), 'node_c'), { nodes: '3' }),
      record(cycle, closed(chain(4), 'node_d'), { nodes: '4' }),
    ];

  {
    risk: [
      // An address that more than one node has, such as a bridge's of each, says nothing.
      local owners = 'max by (%s, peer, server_address) (%s)' % [
        cluster,
        renamed(lib.series('throttle_node_address'), [
          ['address', 'server_address'],
          [instance, 'peer'],
        ]),
      ];
      record(unique, |||
        %(owners)s
          and on (%(cluster)s, server_address)
        (count by (%(cluster)s, server_address) (%(owners)s) == 1)
      ||| % { owners: owners, cluster: cluster }),
      // Bytes that a node holds for another node.
      record(
        lib.heldForPeer,
        'sum by (%s) (\n%s)' % [edge, joined(mounts('throttle_remote_mount_held_bytes'))]
      ),
    ] + kind('risk', lib.heldForPeer),
    blocked: kind('blocked', 'max by (%s) (\n%s)' % [edge, joined(blockedMounts)])
             + [
               record(lib.ringEdge, |||
                 max by (%(edge)s) (
                 %(blocked)s
                 ) ^ 0
                   or
                 max by (%(edge)s) (
                 %(risk)s
                 ) * 0
               ||| % {
                 edge: edge,
                 blocked: lib.edgesOfRing(function(matchers) '%s{%s}' % [lib.ring('blocked'), matchers]),
                 risk: lib.edgesOfRing(function(matchers) '%s{%s}' % [lib.ring('risk'), matchers]),
               }),
               record(lib.stalledMount, |||
                 max by (%s, bdi) (
                   %s  and on (%s)
                   (%s == 1)
                 )
               ||| % [lib.node, joined(blockedMounts), edge, lib.ringEdge]),
             ],
  }
