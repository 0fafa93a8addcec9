// Where pages are dirty, and whether they move. Of many BDIs those ten that matter most
// in the range of the dashboard.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local bdi = 'bdi=~"$bdi"';
  local of(metric) = q.of(metric, bdi);
  local risen(metric) = 'topk(10, max by (bdi) (increase(%s)))' % q.during(metric, '$__range', bdi, ' @ end()');
  local held = 'max by (bdi) (%s + %s)' % [of('throttle_bdi_dirty_bytes'), of('throttle_bdi_writeback_bytes')];
  local rate(metric) = 'max by (bdi) (%s)' % q.rate(metric, bdi);

  [
    panel.timeseries(
      'Dirty pages of the node against the vmstat threshold',
      'Stacked: dirty, under writeback. Dashed: nr_dirty_threshold of /proc/vmstat, which lags the dirty limit at which the kernel throttles all writers, also nfsd. Bad: at it or above, mostly writeback, and flat.',
      [
        panel.range('max(%s)' % q.of('throttle_writeback_bytes'), 'under writeback'),
        panel.range('max(%s)' % q.of('throttle_dirty_bytes'), 'dirty'),
        panel.range('max(%s)' % q.of('throttle_dirty_limit_bytes'), 'vmstat threshold'),
      ],
      { unit: 'bytes' },
    ) + panel.stacked + panel.size(12, 8) + panel.overrides([
      panel.override('under writeback', panel.color('blue')),
      panel.override('dirty', panel.color('light-blue')),
      panel.override('vmstat threshold', panel.limit('text')),
    ]),

    panel.timeseries(
      'NFS: sent and acknowledged',
      'Bytes a second of WRITE calls that the client sent, and of those that the server acknowledged. They move together; bad: sent falls to zero after acknowledged did.',
      [
        panel.range('%s\nand on (bdi) %s' % [rate('throttle_nfs_write_sent_bytes_total'), risen('throttle_nfs_write_sent_bytes_total')], '{{bdi}} sent'),
        panel.range('%s\nand on (bdi) %s' % [rate('throttle_nfs_write_acked_bytes_total'), risen('throttle_nfs_write_sent_bytes_total')], '{{bdi}} acknowledged'),
      ],
      { unit: 'binBps', noValue: 'no NFS client has written here' },
    ) + panel.size(12, 8) + panel.overrides([
      panel.overrideRegexp('.* sent', panel.color('text') { 'custom.lineStyle': { fill: 'dash', dash: [6, 6] }, 'custom.fillOpacity': 0 }),
    ]),

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
