// Where pages are dirty, and whether they move. Of many BDIs those ten that matter most
// in the range of the dashboard.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local bdi = 'bdi=~"$bdi"';
  local of(metric) = q.of(metric, bdi);
  local most(metric) = 'topk(10, max by (bdi) (max_over_time(%s)))' % q.during(metric, '$__range', bdi, ' @ end()');
  local risen(metric) = 'topk(10, max by (bdi) (increase(%s)))' % q.during(metric, '$__range', bdi, ' @ end()');
  local held = 'max by (bdi) (%s + %s)' % [of('throttle_bdi_dirty_bytes'), of('throttle_bdi_writeback_bytes')];
  local fullest = |||
    topk(10,
      max by (bdi) (max_over_time(%s))
      + max by (bdi) (max_over_time(%s))
    )
  ||| % [
    q.during('throttle_bdi_dirty_bytes', '$__range', bdi, ' @ end()'),
    q.during('throttle_bdi_writeback_bytes', '$__range', bdi, ' @ end()'),
  ];
  local rate(metric) = 'max by (bdi) (%s)' % q.rate(metric, bdi);

  [
    panel.row('Pages and devices (BDIs): what is dirty, what moves'),

    panel.timeseries(
      'Dirty pages of the node against the vmstat threshold',
      'Stacked: dirty, under writeback. Dashed: nr_dirty_threshold of /proc/vmstat, which lags the dirty limit at which the kernel throttles all writers, also nfsd. Bad: at it or above, mostly writeback, and flat.',
      [
        panel.range('max(%s)' % q.of('throttle_writeback_bytes'), 'under writeback'),
        panel.range('max(%s)' % q.of('throttle_dirty_bytes'), 'dirty'),
        panel.range('max(%s)' % q.of('throttle_dirty_limit_bytes'), 'vmstat threshold'),
      ],
      { unit: 'bytes' },
    ) + panel.stacked + panel.size(8, 8) + panel.overrides([
      panel.override('under writeback', panel.color('blue')),
      panel.override('dirty', panel.color('orange')),
      panel.override('vmstat threshold', panel.limit('red')),
    ]),

    panel.timeseries(
      'Dirty and writeback of BDIs against their shares',
      'What each holds, and its share of the dirty limit (dashed). The share follows the speed of the device: a stalled one loses it. Bad: an NFS mount that is full and flat, while the disk that its server writes to holds next to nothing.',
      [
        panel.range('%s\nand on (bdi) %s' % [held, fullest], '{{bdi}}'),
        panel.range('max by (bdi) (%s)\nand on (bdi) %s' % [of('throttle_bdi_dirty_threshold_bytes'), fullest], '{{bdi}} share'),
      ],
      { unit: 'bytes' },
    ) + panel.size(8, 8) + panel.overrides([
      panel.overrideRegexp('.* share', {
        'custom.lineStyle': { fill: 'dash', dash: [6, 6] },
        'custom.fillOpacity': 0,
      }),
    ]),

    panel.timeseries(
      'Written by BDIs',
      'Bytes a second written back. Of a disk: for all its users. Bad: all at zero while pages are dirty.',
      [panel.range('%s\nand on (bdi) %s' % [rate('throttle_bdi_written_bytes_total'), risen('throttle_bdi_written_bytes_total')], '{{bdi}}')],
      { unit: 'binBps' },
    ) + panel.size(8, 8),

    panel.timeseries(
      'NFS: sent and acknowledged',
      'Bytes a second of WRITE calls that the client sent, and of those that the server acknowledged. They move together; bad: sent falls to zero after acknowledged did.',
      [
        panel.range('%s\nand on (bdi) %s' % [rate('throttle_nfs_write_sent_bytes_total'), risen('throttle_nfs_write_sent_bytes_total')], '{{bdi}} sent'),
        panel.range('%s\nand on (bdi) %s' % [rate('throttle_nfs_write_acked_bytes_total'), risen('throttle_nfs_write_sent_bytes_total')], '{{bdi}} acknowledged'),
      ],
      { unit: 'binBps', noValue: 'no NFS client has written here' },
    ) + panel.size(8, 8),

    panel.timeseries(
      'NFS: sent and not acknowledged',
      'Bytes of WRITE calls without an answer, since the daemon started: calls in flight, and those that failed. It rises and falls under load. Bad: a plateau of mebibytes, while nothing is acknowledged.',
      [panel.range(
        'max by (bdi) (%s - %s)\nand on (bdi) %s' % [
          of('throttle_nfs_write_sent_bytes_total'),
          of('throttle_nfs_write_acked_bytes_total'),
          most('throttle_nfs_write_sent_bytes_total'),
        ], '{{bdi}}'
      )],
      { unit: 'bytes', noValue: 'no NFS client has written here' },
    ) + panel.size(8, 8),

    panel.states(
      'Congested BDIs',
      'Red: the BDI is congested, by the rule of its file system; tasks that reclaim memory then wait for it. In a stall an NFS mount stays red; where WRITEs go through it comes and goes.',
      [panel.range(
        'max by (bdi) (%s)\nand on (bdi) %s' % [
          of('throttle_bdi_congested'),
          risen('throttle_bdi_congested_seconds_total'),
        ], '{{bdi}}'
      )],
      words.yes('red'),
    ) + panel.size(8, 8),

    panel.table(
      'BDIs now',
      'What is mounted from which BDI, and how full it is. Bad: an NFS mount over its share of the dirty limit, congested and writing nothing.',
      [
        'max by (bdi, fstype, device) (%s)' % of('throttle_bdi_info'),
        'max by (bdi) (%s)' % of('throttle_bdi_dirty_bytes'),
        'max by (bdi) (%s)' % of('throttle_bdi_writeback_bytes'),
        'max by (bdi) (%s)' % of('throttle_bdi_dirty_threshold_bytes'),
        'clamp_min(%s - max by (bdi) (%s), 0)' % [held, of('throttle_bdi_dirty_threshold_bytes')],
        'max by (bdi) (%s)' % of('throttle_bdi_congested'),
        rate('throttle_bdi_written_bytes_total'),
      ],
      [
        ['device', 'Mounted', panel.width(200)],
        ['bdi', 'BDI', panel.width(80)],
        ['fstype', 'Type', panel.width(70)],
        ['Value #B', 'Dirty', { unit: 'bytes', decimals: 1 }],
        ['Value #C', 'Writeback', { unit: 'bytes', decimals: 1 }],
        ['Value #D', 'Share', { unit: 'bytes', decimals: 1 }],
        ['Value #E', 'Over its share', {
          unit: 'bytes',
          decimals: 1,
          thresholds: words.steps([['text', null], ['orange', 1]]),
          'custom.cellOptions': { type: 'color-text' },
        }],
        ['Value #F', 'Congested', panel.colored(words.yes('red', 'text'))],
        ['Value #G', 'Written', { unit: 'binBps', decimals: 1 }],
      ],
      sortBy='Over its share',
    ) + panel.size(14, 8),

    panel.states(
      'Related: similar to a livelock, but not one',
      'Orange while it holds; of each kind, and of its BDI. dirty-throttling, slow-disk and disk-saturated are ordinary; look into dirty-limit-held, nfs-server-not-responding, server-not-responding, hung-file-system and memory-starvation: docs/related.md.',
      [
        panel.range(
          'max by (kind) (%s)\nor 0 * max by (kind) (%s)'
          % [q.of('throttle_related_condition'), q.of('throttle_related_conditions_total')], '{{kind}}'
        ),
        panel.range('max by (kind, bdi) (%s)' % q.of('throttle_related_condition', 'bdi!=""'), '{{kind}} {{bdi}}'),
      ],
      words.yes('orange'),
    ) + panel.size(10, 8),
  ]
