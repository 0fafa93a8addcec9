// The alert of a related condition: only of the one that makes everything on the node wait.
// The others are the business of whoever owns the server, the disk or the memory.
function(config, lib)
  local node = '{{ $labels.%s }}' % config.nodeLabel;

  [
    {
      name: 'DirtyLimitHeld',
      severity: 'page',
      duration: config.durations.dirtyLimitHeld,
      expr: |||
        max by (%s, bdi) (
          %s)
      ||| % [
        lib.node,
        lib.lastKnown('throttle_related_condition', 'kind="dirty-limit-held"'),
      ],
      page: 'dirty-limit-held',
      summary: 'One device fills the dirty limit and does not move: writers to other devices wait.',
      description: [
        'Tasks on %s cannot write, although their own disks are idle and nearly clean.' % node,
        'The pages of BDI {{ $labels.bdi }} fill the dirty limit of the node, and none of them is written.',
        lib.with(
          lib.query('throttle_bdi_info', ['bdi']),
          '\nOn it is {{ .Labels.device }} ({{ .Labels.fstype }}).'
        ),
        lib.with(
          lib.query('throttle_bdi_dirty_bytes', ['bdi']),
          '\nDirty: %s.' % lib.bytes
        ),
        lib.with(
          lib.query('throttle_bdi_writeback_bytes', ['bdi']),
          '\nUnder writeback: %s.' % lib.bytes
        ),
        lib.with(
          lib.query('throttle_dirty_limit_bytes'),
          '\nThe limit of the node: %s.' % lib.bytes
        ),
        'Who waits is in related at /api/v1/verdicts. Do not touch what is mounted from this device: no ls, df or sync.',
      ],
    },
  ]
