// Who is throttled, where, and for how long.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local none = 'no task was throttled yet';
  local legend = '{{cause}} {{class}}';

  [
    panel.timeseries(
      'nfsd threads, by what they do',
      'Throttled: in a cause that the monitor watches. Blocked: asleep elsewhere, usually on a lock that a throttled one holds; the dashed line is those that are seen to wait for a lock. One sample flickers; red and orange bands that stay, with no idle and no running thread, are a stalled server.',
      [
        panel.range('sum by (state) (%s)' % q.of('throttle_nfsd_threads'), '{{state}}'),
        panel.range('max(%s)' % q.of('throttle_nfsd_blocked_behind_throttled'), 'blocked behind throttled'),
      ],
      { unit: 'short', decimals: 0, noValue: 'no nfsd here' },
    ) + panel.stacked + panel.size(8, 8) + panel.overrides([
      panel.override('idle', panel.color('#6e7077')),
      panel.override('running', panel.color('green')),
      panel.override('throttled', panel.color('red')),
      panel.override('blocked', panel.color('orange')),
      panel.override('blocked behind throttled', panel.limit('text')),
    ]),

    panel.timeseries(
      'Oldest wait that has not ended',
      'Its age. Pauses go up and down; a line that rises with the clock is one task that does not resume. %d s (dashed) and more of nfsd is bad in any case.'
      % config.thresholds.longWaitSeconds,
      [panel.range('max by (cause, class) (%s)' % q.of('throttle_oldest_wait_seconds'), legend)],
      { unit: 's', noValue: none, thresholds: words.steps([['transparent', null], ['red', config.thresholds.longWaitSeconds]]) },
    ) + panel.line + panel.size(8, 8),

    panel.heatmap(
      'How long waits took',
      'Waits that ended, by length; the colour is how many. A band at 0.1 s is congestion_wait or reclaim_throttle, one at 0.2 s the longest pause of balance_dirty_pages: many there, for minutes, is throttling at its hardest. Causes nest: a sleep in reclaim is counted in each.',
      'sum by (le) (increase(%s))' % q.during('throttle_delay_seconds_bucket', '$__rate_interval'),
      's',
      none,
    ) + panel.size(8, 8),
  ]
