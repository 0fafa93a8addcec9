// Alerts of related conditions: a page for the one that makes everything on the node wait, and
// for information what lasts long enough to be looked at. The other kinds are the business of
// whoever owns the disk or the memory.
function(config, lib)
  local node = '{{ $labels.%s }}' % config.nodeLabel;
  local bdi = lib.node + ', bdi';

  // By what is mounted; where that is not known, by the device's number.
  local byMount(expr) = |||
    max by (%(node)s, mount) (
      (%(expr)s)
        * on (%(bdi)s) group_left (mount)
      (%(seen)s ^ 0)
        or on (%(bdi)s)
      label_replace(%(expr)s, "mount", "$1", "bdi", "(.+)")
    )
  ||| % { node: lib.node, bdi: bdi, seen: lib.bdiSeen, expr: std.stripChars(expr, '\n ') };

  // A mount by which a stalled ring of nodes is closed has its page, NfsLivelockAcrossNodes.
  local alone(expr) = '%s\n  unless on (%s)\n%s' % [std.stripChars(expr, '\n '), bdi, lib.stalledMount];

  // A metric of the alert's own device.
  local query(metric) = 'printf `%s and on (%s) %s{%s}` %s | query' % [
    lib.series(metric, '%s=%%q,%s=%%q' % lib.nodeLabels),
    bdi,
    lib.bdiSeen,
    std.join(',', ['%s=%%q' % label for label in lib.nodeLabels + ['mount']]),
    std.join(' ', ['$labels.' + label for label in lib.nodeLabels + lib.nodeLabels + ['mount']]),
  ];
  local device = lib.with(
    query('throttle_bdi_info'), '\nIt is BDI {{ .Labels.bdi }} ({{ .Labels.fstype }}).'
  );
  local held(metric, words) = lib.with(query(metric), '\n%s: %s.' % [words, lib.bytes]);

  local untouched = 'Do not touch what is mounted from it: no ls, df or sync.';

  [
    {
      name: 'DirtyLimitHeld',
      severity: 'page',
      duration: config.durations.dirtyLimitHeld,
      keepFiring: config.keepFiring.dirtyLimitHeld,
      expr: byMount(alone('(%s)' % lib.lastKnown('throttle_related_condition', 'kind="dirty-limit-held"'))),
      page: 'dirty-limit-held',
      summary: 'One device fills the dirty limit and does not move: writers to other devices wait.',
      description: [
        'Tasks on %s cannot write, although their own disks are idle and nearly clean.' % node,
        'The pages of {{ $labels.mount }} fill the dirty limit of the node, and none of them is written.',
        device,
        held('throttle_bdi_dirty_bytes', 'Dirty'),
        held('throttle_bdi_writeback_bytes', 'Under writeback'),
        lib.with(
          lib.query('throttle_dirty_limit_bytes'),
          '\nThe limit of the node: %s.' % lib.bytes
        ),
        'Who waits is in related at /api/v1/verdicts. ' + untouched,
      ],
    },
    {
      name: 'ServerNotResponding',
      severity: 'info',
      duration: config.durations.related,
      expr: byMount(alone(lib.series('throttle_related_condition', 'kind=~"(.+-)?server-not-responding"'))),
      page: 'server-not-responding',
      summary: 'A server of a mount does not respond.',
      description: [
        'The server of {{ $labels.mount }} has not responded to %s for %s.' % [node, config.durations.related],
        'It is not a livelock of this node: look at that server, and at the network in between.',
        device,
        untouched,
      ],
    },
    {
      name: 'HungFileSystem',
      severity: 'info',
      duration: config.durations.related,
      expr: byMount(lib.series('throttle_related_condition', 'kind="hung-file-system"')),
      page: 'hung-file-system',
      summary: 'A file system keeps the threads of nfsd waiting.',
      description: [
        'Threads of nfsd on %s have waited within the file system of {{ $labels.mount }} for %s.' % [node, config.durations.related],
        'It is not a livelock of a loop: look at its disk, and at the stacks of the threads.',
        device,
        untouched,
      ],
    },
  ]
