// What the guard has changed, and whether the monitor itself is reliable.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q) [
  panel.states(
    'Changed, and not rolled back yet',
    "A row for each limit while it is changed: strict_limit and max_ratio of the BDI of the loop's client, strict_limit of the one that its server writes to, and the node's background limit (dirty_background_bytes) and dirty limit (dirty_bytes). Ordinary with prevent. With break it lasts as long as there is demand on the loop, and 30 s more, but dirty_bytes no longer than there is no room. If it stays for hours without a load, look at the log.",
    [panel.range('max by (loop, measure) (%s)' % q.of('throttle_guard_active', 'loop=~"$loop"'), '{{loop}} {{measure}}')],
    { mappings: words.changed, thresholds: words.steps([['orange', null]]), noValue: 'nothing is changed' },
  ) + panel.size(10, 7),

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
]
