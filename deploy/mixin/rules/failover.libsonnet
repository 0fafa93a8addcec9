// Which nodes would become their own clients: they mount an address that they may take over.
//
// A daemon exports only the addresses that its node has now. So what a node has had is carried
// from one evaluation to the next: a look back over days would read every sample of them.
function(config, lib, rule)
  local node = lib.node;
  local mount = node + ', server_address';
  local byAddress = config.clusterLabel + ', server_address';

  local own = 'max by (%s) (label_replace(%s, "server_address", "$1", "address", "(.+)"))' % [
    mount,
    lib.series('throttle_node_address'),
  ];

  // What a node mounts of another.
  local mounts = |||
    max by (%s) (%s)
      unless on (%s)
    %s
  ||| % [mount, lib.series('throttle_remote_mount_held_bytes'), mount, own];
  // Of nodes that serve NFS themselves, and of another server. No ring, which is reported as one; and
  // no server of many servers, which is no half of a pair.
  local ofServers = |||
    max by (%(mount)s) (
      (
    %(mounts)s
        and on (%(node)s)
      %(serves)s
      )
        * on (%(address)s) group_left (peer)
      %(unique)s
        unless on (%(node)s, peer)
      %(ring)s
        unless on (%(cluster)s, peer)
      (count by (%(cluster)s, peer) (%(held)s and on (%(node)s) %(serves)s) > %(most)d)
    )
  ||| % {
    mount: mount,
    mounts: std.stripChars(mounts, '\n'),
    node: node,
    serves: lib.series('throttle_node_address'),
    address: byAddress,
    unique: lib.uniqueAddress,
    ring: lib.ringEdge,
    cluster: config.clusterLabel,
    held: lib.heldForPeer,
    most: config.thresholds.failoverPeers,
  };

  local because(expr, known, because) =
    'label_replace(label_replace(\n%s, "known", "%s", "", ""), "because", "%s", "", "")' % [expr, known, because];

  [
    // When a node last had an address. A gap of an hour, as while Prometheus is down, loses nothing.
    rule(lib.addressSeen, |||
      %(own)s * 0 + time()
        or on (%(mount)s)
      (last_over_time(%(seen)s[1h]) > time() - %(seconds)d)
    ||| % { mount: mount, own: own, seen: lib.addressSeen, seconds: config.thresholds.failoverDays * 86400 }),

    // The value is what it holds of that mount now.
    rule(lib.ownAfterFailover, std.join('  or on (%s)\n' % mount, [
      because(|||
        (
        %s)
          and on (%s)
        %s
      ||| % [mounts, mount, lib.addressSeen], 'observed', 'was-own') + '\n',
      // It was on yet another node.
      because(|||
        %s  and on (%s)
        (count by (%s) (%s) > 1)
      ||| % [ofServers, byAddress, byAddress, lib.addressSeen], 'guess', 'address-moved') + '\n',
      because(ofServers, 'guess', 'both-serve') + '\n',
    ])),
  ]
