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
  local node = '{{ $labels.%s }}' % config.nodeLabel;

  // --- expressions ---------------------------------------------------------------

  local state(labels, atLeast) = |||
    max by (%s) (
      %s) >= %d
  ||| % [labels, lib.lastKnown('throttle_livelock_state'), atLeast];

  // A loop stays for a while after it was last seen: a daemon that restarts, or a mount
  // that comes and goes, does not tell it twice.
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
    ], ' ({{ .Labels.device }})'
  );

  local loop = [lib.with(
    lib.query('throttle_loop_info', ['loop']),
    '\nThe mount with BDI {{ .Labels.client_bdi }}\n' + source
    + ' is served on this node by {{ .Labels.server }} ({{ .Labels.scope }}, exempt: {{ .Labels.exempt }}, known by {{ .Labels.proof }}),'
    + '\nwhich writes to BDI {{ or .Labels.server_bdi "(not known yet)" }}.',
    '\nThe node says no more of it: what is told here is the last that it said.'
  )];

  local now = [
    lib.with(
      lib.query('throttle_loop_progress_bytes_per_second', ['loop']),
      '\n{{ .Value | humanize1024 }}B/s are acknowledged to it.'
    ),
    lib.with(
      lib.query('throttle_loop_demand_bytes', ['loop']),
      '\n{{ .Value | humanize1024 }}B wait to be written.'
    ),
    lib.with(
      lib.query('throttle_loop_blockage_ratio', ['loop']),
      '\nThe busy threads of the server spend {{ .Value | humanizePercentage }} of their time waiting.'
    ),
  ];

  local howLong = [lib.with(
    lib.query('throttle_livelock_seconds_total', ['loop'], wrap='sum(increase(%s[1h])) > 0'),
    '\nIt stood still for {{ .Value | humanizeDuration }} of the last hour.'
  )];

  local careful = [
    'It seldom ends by itself. Do not touch the mount: no ls, df, umount or sync.',
    'The runbook says how to confirm it and the way out.',
  ];

  local prevent = [
    "Run server and client on different nodes, or hold the mount's BDI down before the load.",
  ];

  [
    {
      name: 'NfsLoopDeadlock',
      severity: 'page',
      duration: config.durations.livelock,
      expr: state(lib.loop + ', signature', 3),
      page: '{{ $labels.signature }}',
      summary: 'NFS on %s is dead: loop {{ $labels.loop }} does not move a byte (deadlock, {{ $labels.signature }})' % node,
      description: [
        'The NFS server waits for pages of its own client, which only it can write,',
        'and nothing has moved for half a minute.',
      ] + loop + now + howLong + careful,
    },
    {
      name: 'NfsLoopLivelock',
      severity: 'page',
      duration: config.durations.livelock,
      expr: state(lib.loop + ', signature', 2),
      page: '{{ $labels.signature }}',
      summary: 'NFS on %s stands still: loop {{ $labels.loop }} waits for itself (livelock, {{ $labels.signature }})' % node,
      description: [
        'The NFS server waits for pages of its own client, which only it can write.',
      ] + loop + now + howLong + careful,
    },
    {
      name: 'NfsLoopSuspected',
      severity: 'ticket',
      duration: config.durations.suspected,
      // A suspicion may change its signature, and is the same one still.
      expr: state(lib.loop, 1),
      page: 'nfs-loop-suspected',
      summary: 'NFS on %s may stand still: loop {{ $labels.loop }} is suspected of a livelock' % node,
      description: [
        'For %s three of the four conditions of a livelock have held, and the fourth is false or unknown.'
        % config.durations.suspected,
        lib.with(
          lib.query('throttle_livelock_state', ['loop'], wrap='topk(1, %s > 0)'),
          '\nIt looks like {{ .Labels.signature }}.'
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
      summary: 'NFS on %s stands still again and again: loop {{ $labels.loop }}' % node,
      description: [
        '{{ $value | printf "%.0f" }} livelocks of it were confirmed in the last hour.',
      ] + loop + now + howLong,
    },
    {
      name: 'NfsLoopCrossNamespace',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present('scope="cross-netns",exempt!="yes"'),
      page: 'nfs-loop',
      summary: '%s mounts NFS from its own server in another network namespace: loop {{ $labels.loop }}' % node,
      description: [
        'Nothing stalls yet. But the server is not exempt from local dirty throttling, or not known to be:',
        'under a heavy load of buffered writes such a loop stops within seconds.',
      ] + loop + prevent,
    },
    {
      name: 'NfsLoopUserspaceServer',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present('server!="nfsd",scope!="cross-netns",exempt!="yes"'),
      page: 'nfs-loop',
      summary: '%s mounts NFS from its own {{ $labels.server }}: loop {{ $labels.loop }}' % node,
      description: [
        'Nothing stalls yet. But the server is not exempt from local dirty throttling, or not known to be:',
        'under a heavy load of buffered writes such a loop may stop within seconds. A server in userspace',
        'is exempt if it asks for it: give its container CAP_SYS_RESOURCE (nfs-ganesha asks from version 6',
        'on), or start it by throttle-monitor io-flusher -- COMMAND.',
      ] + loop + prevent,
    },
    {
      name: 'NfsLoopPresent',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present(''),
      page: 'nfs-loop',
      summary: '%s mounts NFS from itself: loop {{ $labels.loop }}' % node,
      description: ['Nothing stalls yet.'] + loop,
    },
  ]
