// What identifies a loop in its alerts: the source of its mount, and its server. The number of
// a device is given again to another mount after an unmount, and the same mount gets another.
//
// Two recorded series, whose value is when they were last seen, and which each evaluation takes
// from the one before for an hour: of a node that does not answer, or a loop that has ended,
// what was last known still has its name. They are recorded in the group of the alerts, before
// them: Prometheus evaluates a group in order.
function(config, lib)
  // The newest, of what is there now and what was recorded.
  local carried(name, by, now) = {
    record: name,
    expr: |||
      %(now)s
        or on (%(by)s)
      (%(name)s > time() - %(seconds)d)
    ||| % { name: name, by: by, now: std.stripChars(now, '\n '), seconds: 3600 },
  };

  // `client` and `server` are the two parts of a loop's name.
  local parts(expr) =
    'label_replace(label_replace(%s, "bdi", "$1", "loop", "(.+?)-.+"), "server", "$1", "loop", ".+?-(.+)")' % expr;

  [
    // What is mounted from a device: one name for each.
    carried(lib.bdiSeen, lib.node + ', bdi', |||
      topk by (%(node)s, bdi) (1,
        max by (%(node)s, bdi, mount) (
          label_replace(timestamp(%(mounts)s), "mount", "$1", "device", "(.+)")
        )
      )
    ||| % { node: lib.node, mounts: lib.series('throttle_bdi_info') }),

    // Of a loop whose mount is not known, the device's number stands in for it.
    carried(lib.loopSeen, lib.loop, |||
      max by (%(node)s, loop, bdi, mount, server) (
        %(loops)s
          * on (%(node)s, bdi) group_left (mount)
        (%(mounts)s ^ 0)
      )
        or on (%(loop)s)
      label_replace(
        %(loops)s,
        "mount", "$1", "bdi", "(.+)"
      )
    ||| % {
      node: lib.node,
      loop: lib.loop,
      mounts: lib.bdiSeen,
      loops: parts('max by (%s) (timestamp(%s) or timestamp(%s))' % [
        lib.loop,
        lib.series('throttle_livelock_state'),
        lib.series('throttle_loop_info'),
      ]),
    }),
  ]
