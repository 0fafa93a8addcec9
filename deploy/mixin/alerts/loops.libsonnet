// Alerts of loops. The three verdicts exclude each other: a loop has one of them at a time.
//
// The labels of an alert are those that name a loop and never change while it lasts: what is
// mounted, and what serves it (identity.libsonnet). What may be found out later (the scope, the
// server's BDI, a better proof) stands in the description: as a label it would end the alert
// and begin another.
function(config, lib)
  local where = 'The mount {{ $labels.mount }} on {{ $labels.%s }}, served by {{ $labels.server }} of the same node,' % config.nodeLabel;

  // --- expressions ---------------------------------------------------------------

  local known = '(\n    %s\n  )' % std.strReplace(
    std.stripChars(lib.lastKnown('throttle_livelock_state'), '\n '), '\n', '\n    '
  );
  local worst(also=[]) = std.rstripChars(lib.byEnds('max', known, also), '\n');

  // A loop stays for a while after it was last seen: a daemon that restarts, or a mount
  // that comes and goes, does not fire twice.
  local present(matchers) =
    lib.byEnds('max', 'last_over_time(%s[%s])' % [lib.series('throttle_loop_info', matchers), config.loopGone]);

  // --- lines of descriptions -----------------------------------------------------

  local loop = [lib.with(
    lib.loopQuery('throttle_loop_info'),
    '\nLoop {{ .Labels.loop }}: client {{ with .Labels.client_kind }}{{ . }} {{ end }}BDI {{ .Labels.client_bdi }}, server BDI {{ or .Labels.server_bdi "(not known yet)" }} ({{ .Labels.scope }}, exempt: {{ .Labels.exempt }}, known by {{ .Labels.proof }}).'
    + lib.pod('client_pod_uid', '\nClient: pod ', '.')
    + lib.pod('server_pod_uid', '\nServer: pod ', '.'),
    '\nThe node has stopped reporting: what is shown is its last known state.'
  )];

  local now = [
    lib.with(
      lib.loopQuery('throttle_loop_progress_bytes_per_second'),
      '\nAcknowledged to the client: %s/s.' % lib.bytes
    ),
    lib.with(
      lib.loopQuery('throttle_loop_demand_bytes'),
      '\nWaiting to be written: %s.' % lib.bytes
    ),
  ];

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
      keepFiring: config.keepFiring.livelock,
      expr: worst(['signature']) + ' == 3\n',
      page: '{{ $labels.signature }}',
      summary: 'A server waits for its own client, and no byte moves.',
      description: [
        where + ' is in a deadlock ({{ $labels.signature }}).',
        'Tasks cannot write to the mount, and other clients of its server wait: it waits for dirty pages',
        'of its own client, which only it can write back. No byte has moved for half a minute.',
      ] + loop + now + careful,
    },
    {
      name: 'NfsLoopLivelock',
      severity: 'page',
      duration: config.durations.livelock,
      keepFiring: config.keepFiring.livelock,
      expr: worst(['signature']) + ' == 2\n  unless on (%s)\n' % lib.ends + worst() + ' > 2\n',
      page: '{{ $labels.signature }}',
      summary: 'A server waits for its own client, and its clients wait for it.',
      description: [
        where + ' is in a livelock ({{ $labels.signature }}).',
        'Tasks cannot write to the mount, and other clients of its server wait: it waits for dirty pages',
        'of its own client, which only it can write back.',
      ] + loop + now + careful,
    },
    {
      name: 'NfsLoopSuspected',
      severity: 'ticket',
      duration: config.durations.suspected,
      keepFiring: config.keepFiring.suspected,
      // A suspicion may change its signature, and is the same one still.
      expr: worst() + ' == 1\n',
      page: 'nfs-loop-suspected',
      summary: 'A server may be stalled by its own client.',
      description: [
        where + ' is suspected of a livelock.',
        'For %s three of the four conditions have held, and the fourth is false or unknown.'
        % config.durations.suspected,
        lib.with(
          lib.loopQuery('throttle_livelock_state', wrap='topk(1, %s > 0)'),
          '\nLikely signature: {{ .Labels.signature }}.'
        ),
      ] + loop + now,
    },
    {
      name: 'NfsLoopRecurring',
      severity: 'ticket',
      duration: '0s',
      expr: std.rstripChars(lib.byEnds('sum', 'increase(%s[1h])' % lib.series('throttle_livelock_detections_total')), '\n')
            + ' >= %d\n' % config.thresholds.recurring,
      page: 'nfs-loop-recurring',
      summary: 'A server stalls again and again on its own client.',
      description: [
        where + ' stalls again and again: {{ $value | printf "%.0f" }} livelocks were confirmed in the last hour.',
      ] + loop + [lib.with(
        lib.loopQuery('throttle_livelock_seconds_total', of='increase(%s[1h])', wrap='sum(%s) > 0'),
        '\nIn livelock for {{ .Value | humanizeDuration }} of the last hour.'
      )],
    },
    {
      name: 'NfsLoopCrossNamespace',
      severity: 'ticket',
      duration: config.durations.loop,
      expr: present('scope="cross-netns",exempt!="yes"'),
      page: 'nfs-loop',
      summary: 'The node is a client of its own server in another network namespace.',
      description: [
        where + ' is not stalled yet.',
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
      summary: 'The node is a client of its own server, which the kernel does not exempt.',
      description: [
        where + ' is not stalled yet.',
        'The server is not exempt from local dirty throttling, or not known to be:',
        'under a heavy load of buffered writes such a loop may stall within seconds. A server in userspace',
        'is exempt if it asks for it: give its container CAP_SYS_RESOURCE (nfs-ganesha asks from version 6',
        'on), or start it with throttle-monitor io-flusher -- COMMAND.',
      ] + loop + prevent,
    },
    {
      // Every loop that neither of the two above is about.
      name: 'NfsLoopPresent',
      severity: 'info',
      duration: config.durations.loop,
      expr: std.rstripChars(present('exempt="yes"'), '\n') + '\n  or\n' + present('server="nfsd",scope!="cross-netns"'),
      page: 'nfs-loop',
      summary: 'The node is a client of its own server.',
      description: [where + ' is not stalled.'] + loop,
    },
  ]
