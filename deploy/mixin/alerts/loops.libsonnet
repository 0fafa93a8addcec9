// Alerts of loops. The worse ones hold only while the lesser ones do, and Alertmanager
// keeps the lesser ones quiet (../../alertmanager): a loop that goes from suspected to
// deadlock is one story.
//
// The labels of an alert are those that name a loop and never change while it lasts.
// What may be found out later (the scope, the server's BDI, a better proof) stands in
// the description: as a label it would end the alert and begin another. `device`, the
// source of the mount, is for silences: the number in `loop` goes to another mount after
// an unmount, and the same mount gets another number.
function(config, lib)
  local where = 'Loop {{ $labels.loop }} on {{ $labels.%s }}' % config.nodeLabel;

  // --- expressions ---------------------------------------------------------------

  local state(labels, atLeast) = |||
    max by (%s) (
      %s) >= %d
  ||| % [labels, lib.lastKnown('throttle_livelock_state'), atLeast];

  // A loop stays for a while after it was last seen: a daemon that restarts, or a mount
  // that comes and goes, does not fire twice.
  local present(matchers) =
    local loops = 'last_over_time(%s[%s])' % [lib.series('throttle_loop_info', matchers), config.loopGone];
    |||
      max by (%(loop)s, client_bdi, server) (
        %(loops)s
      )
        * on (%(node)s, client_bdi) group_left (device)
      (
        topk by (%(node)s, client_bdi) (1,
          max by (%(node)s, client_bdi, device) (
            label_replace(
              max_over_time(timestamp(%(mounts)s)[%(window)s:%(step)s]),
              "client_bdi", "$1", "bdi", "(.*)"
            )
          )
            or on (%(node)s, client_bdi)
          max by (%(node)s, client_bdi) (%(loops)s)
        ) ^ 0
      )
    ||| % {
      loop: lib.loop,
      node: lib.node,
      loops: loops,
      // What is mounted from the client's device: the newest that was seen, for a number is
      // given to another mount after an unmount. Longer than loopGone, so that the loop does
      // not lose its mount before it is gone itself.
      mounts: lib.series('throttle_bdi_info'),
      window: config.lastKnown,
      step: config.intervals.alerts,
    };

  // --- lines of descriptions -----------------------------------------------------

  local source = lib.with(
    'printf `%s` $labels.%s $labels.%s .Labels.client_bdi | query' % [
      lib.series('throttle_bdi_info', '%s=%%q,%s=%%q,bdi=%%q' % lib.nodeLabels),
      config.clusterLabel,
      config.nodeLabel,
    ], ' {{ .Labels.device }}'
  );

  local loop = [lib.with(
    lib.query('throttle_loop_info', ['loop']),
    '\nThe mount\n' + source
    + ' (BDI {{ .Labels.client_bdi }}) is served by {{ .Labels.server }} of this node ({{ .Labels.scope }}, exempt: {{ .Labels.exempt }}, known by {{ .Labels.proof }}).'
    + '\nThe server writes to BDI {{ or .Labels.server_bdi "(not known yet)" }}.',
    '\nThe node has stopped reporting: what is shown is its last known state.'
  )];

  local now = [
    lib.with(
      lib.query('throttle_loop_progress_bytes_per_second', ['loop']),
      '\nAcknowledged to the client: %s/s.' % lib.bytes
    ),
    lib.with(
      lib.query('throttle_loop_demand_bytes', ['loop']),
      '\nWaiting to be written: %s.' % lib.bytes
    ),
    lib.with(
      lib.query('throttle_loop_blockage_ratio', ['loop']),
      '\nThe busy server threads spend {{ .Value | humanizePercentage }} of their time waiting.'
    ),
  ];

  local howLong = [lib.with(
    lib.query('throttle_livelock_seconds_total', ['loop'], wrap='sum(increase(%s[1h])) > 0'),
    '\nIn livelock for {{ .Value | humanizeDuration }} of the last hour.'
  )];

  local careful = [
    'It seldom ends by itself. Do not touch the mount: no ls, df, umount or sync.',
    'The runbook has the commands; so has, on the node: throttle-monitor explain {{ $labels.signature }}',
  ];

  local prevent = [
    'Run server and client on different nodes, or do what else prevents it: the runbook has it.',
  ];

  [
    {
      name: 'NfsLoopDeadlock',
      severity: 'page',
      duration: config.durations.livelock,
      expr: state(lib.loop + ', signature', 3),
      page: '{{ $labels.signature }}',
      summary: 'A server waits for its own client, and no byte moves.',
      description: [
        where + ' is in a deadlock ({{ $labels.signature }}).',
        'Tasks cannot write to the mount, and other clients of its server wait: it waits for dirty pages',
        'of its own client, which only it can write back. No byte has moved for half a minute.',
      ] + loop + now + howLong + careful,
    },
    {
      name: 'NfsLoopLivelock',
      severity: 'page',
      duration: config.durations.livelock,
      expr: state(lib.loop + ', signature', 2),
      page: '{{ $labels.signature }}',
      summary: 'A server waits for its own client, and its clients wait for it.',
      description: [
        where + ' is in a livelock ({{ $labels.signature }}).',
        'Tasks cannot write to the mount, and other clients of its server wait: it waits for dirty pages',
        'of its own client, which only it can write back.',
      ] + loop + now + howLong + careful,
    },
    {
      name: 'NfsLoopSuspected',
      severity: 'ticket',
      duration: config.durations.suspected,
      // A suspicion may change its signature, and is the same one still.
      expr: state(lib.loop, 1),
      page: 'nfs-loop-suspected',
      summary: 'A server may be stalled by its own client.',
      description: [
        where + ' is suspected of a livelock.',
        'For %s three of the four conditions have held, and the fourth is false or unknown.'
        % config.durations.suspected,
        lib.with(
          lib.query('throttle_livelock_state', ['loop'], wrap='topk(1, %s > 0)'),
          '\nLikely signature: {{ .Labels.signature }}.'
        ),
      ] + loop + now,
    },
    {
      name: 'NfsLoopRecurring',
      severity: 'ticket',
      duration: '0s',
      expr: |||
        sum by (%s) (
          increase(%s[1h])
        ) >= %d
      ||| % [
        lib.loop,
        lib.series('throttle_livelock_detections_total'),
        config.thresholds.recurring,
      ],
      page: 'nfs-loop-recurring',
      summary: 'A server stalls again and again on its own client.',
      description: [
        where + ': {{ $value | printf "%.0f" }} livelocks were confirmed in the last hour.',
      ] + loop + now + howLong,
    },
    {
      name: 'NfsLoopCrossNamespace',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present('scope="cross-netns",exempt!="yes"'),
      page: 'nfs-loop',
      summary: 'The node is a client of its own server in another network namespace.',
      description: [
        where + ': nothing is stalled yet.',
        'The server is not exempt from local dirty throttling, or not known to be:',
        'under a heavy load of buffered writes such a loop stalls within seconds.',
      ] + loop + prevent,
    },
    {
      name: 'NfsLoopUserspaceServer',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present('server!="nfsd",scope!="cross-netns",exempt!="yes"'),
      page: 'nfs-loop',
      summary: 'The node is a client of its own server in userspace.',
      description: [
        where + ': nothing is stalled yet.',
        'The server is not exempt from local dirty throttling, or not known to be:',
        'under a heavy load of buffered writes such a loop may stall within seconds. A server in userspace',
        'is exempt if it asks for it: give its container CAP_SYS_RESOURCE (nfs-ganesha asks from version 6',
        'on), or start it with throttle-monitor io-flusher -- COMMAND.',
      ] + loop + prevent,
    },
    {
      name: 'NfsLoopPresent',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present(''),
      page: 'nfs-loop',
      summary: 'The node is a client of its own server.',
      description: [where + ': nothing is stalled yet.'] + loop,
    },
  ]
