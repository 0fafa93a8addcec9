// Whether the monitor itself is reliable.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q) [
  panel.row('The monitor itself'),

  panel.table(
    'Signals',
    'How each is attached. unavailable is also what this kernel does not have, or a module that is not loaded: /api/v1/probes says which. Bad in any case: balance_dirty_pages unavailable, for then nothing is ever suspected; on a node with loops nfs_client_writes or nfsd_writes, for then nothing is confirmed.',
    ['max by (signal, strategy, state) (%s)' % q.of('throttle_monitor_probe_state')],
    [
      ['signal', 'Signal'],
      ['state', 'State', panel.colored({ mappings: words.probe })],
      ['strategy', 'Attached by'],
    ],
    sortBy='State',
  ) + panel.size(8, 10),

  panel.bars(
    'Lost, of this range',
    'Records and waits that were not counted, by reason. Should be zero; if not, the numbers above are too low.',
    [panel.instant('sum by (reason) (increase(%s))' % q.during('throttle_monitor_lost_events_total', '$__range'), '{{reason}}')],
    words.none() { unit: 'short', decimals: 0 },
  ) + panel.size(4, 5),

  panel.timeseries(
    'Tick',
    'Time of reading and judging, once a second: mean and 99th percentile. Usually a few milliseconds; from half a second (dashed) on it falls behind.',
    [
      panel.range('%s / %s' % [q.rate('throttle_monitor_tick_duration_seconds_sum'), q.rate('throttle_monitor_tick_duration_seconds_count')], 'mean'),
      panel.range('histogram_quantile(0.99, sum by (le) (%s))' % q.rate('throttle_monitor_tick_duration_seconds_bucket'), '99 %'),
    ],
    { unit: 's', thresholds: words.steps([['transparent', null], ['red', 0.5]]) },
  ) + panel.line + panel.size(6, 5),

  panel.timeseries(
    'Age of the last tick, at the scrape',
    'A second and a bit. From 5 s (dashed) on the daemon is not ready (/-/ready), from %d s on the alert calls it stuck: its values are old, whether the node or the daemon is stalled.'
    % config.thresholds.stuckSeconds,
    [panel.range(q.tickAge, 'age')],
    { unit: 's', thresholds: words.steps([['transparent', null], ['red', 5]]) },
  ) + panel.line + panel.size(6, 5),

  panel.bars(
    'Left out of /metrics',
    'Series that a scrape did not show since their family was at its limit (256). Should be zero; if not, what is left out is the least important of the family.',
    [panel.instant('sum(%s)' % q.of('throttle_monitor_dropped_series'), 'series')],
    words.none('yellow') { unit: 'short', decimals: 0 },
  ) + panel.size(4, 5),

  panel.timeseries(
    'Memory',
    'Resident, all of it locked. At most 12 MiB (dashed) and flat: one that grows is a bug.',
    [panel.range('max(%s)' % q.of('process_resident_memory_bytes'), 'resident')],
    { unit: 'bytes', thresholds: words.steps([['transparent', null], ['orange', 12582912]]) },
  ) + panel.line + panel.size(6, 5),

  panel.timeseries(
    'CPU',
    'Of one core, in userspace: what eBPF programs cost is not in it. Measured: 0.08 %, idle and at 35,000 waits a second, on two processors; 1 % (dashed) is too much.',
    [panel.range(q.rate('process_cpu_seconds_total'), 'of one core')],
    { unit: 'percentunit', thresholds: words.steps([['transparent', null], ['orange', 0.01]]) },
  ) + panel.line + panel.size(6, 5),
]
