// Who is throttled, where, and for how long.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local cause = 'cause=~"$cause"';
  local none = 'no task was throttled yet';
  local legend = '{{cause}} {{class}}';

  [
    panel.row('Waits: who is throttled, where, for how long'),

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
      'Throttled tasks',
      'Counted while they wait, so a wait without an end is seen. Causes nest (a sleep in reclaim is also reclaim): do not add them up. Bad: any of nfsd, server, target or loop_device that stays above zero.',
      [panel.range('sum by (cause, class) (%s)' % q.of('throttle_waiting_tasks', cause), legend)],
      { unit: 'short', decimals: 0, noValue: none },
    ) + panel.size(8, 8),

    panel.timeseries(
      'Oldest wait that has not ended',
      'Its age. Pauses go up and down; a line that rises with the clock is one task that does not resume. %d s (dashed) and more of nfsd is bad in any case.'
      % config.thresholds.longWaitSeconds,
      [panel.range('max by (cause, class) (%s)' % q.of('throttle_oldest_wait_seconds', cause), legend)],
      { unit: 's', noValue: none, thresholds: words.steps([['transparent', null], ['red', config.thresholds.longWaitSeconds]]) },
    ) + panel.line + panel.size(8, 8),

    panel.timeseries(
      'Throttled seconds a second',
      'Of waits that ended, by cause, class and BDI: how many tasks were waiting on average. At most the twelve that took most. Of waits without an end it shows nothing: see the two panels above. As many as there are nfsd threads is bad; user alone is ordinary throttling.',
      [panel.range(
        'sum by (cause, class, bdi) (%s)\nand on (cause, class, bdi) topk(12, sum by (cause, class, bdi) (increase(%s)))' % [
          q.rate('throttle_delay_seconds_sum', cause),
          q.during('throttle_delay_seconds_sum', '$__range', cause, ' @ end()'),
        ], legend + ' {{bdi}}'
      )],
      { unit: 'suffix:s/s', decimals: 2, noValue: none },
    ) + panel.size(8, 8),

    panel.heatmap(
      'How long waits took',
      'Waits that ended, by length; the colour is how many. A band at 0.1 s is congestion_wait or reclaim_throttle, one at 0.2 s the longest pause of balance_dirty_pages: many there, for minutes, is throttling at its hardest. Choose one cause: nested ones are counted in each.',
      'sum by (le) (increase(%s))' % q.during('throttle_delay_seconds_bucket', '$__rate_interval', cause),
      's',
      none,
    ) + panel.size(8, 8),

    panel.timeseries(
      "The kernel's reasons",
      "Waits a second in reclaim_throttle by the kernel's reason (Linux 5.16 and later), and times that nfsd got no pages for a request. Neither exists on every kernel. Bad: no_pages above zero with a congested client, that is request-starvation; writeback or noprogress of class nfsd.",
      [
        panel.range('sum by (class, reason) (%s)' % q.rate('throttle_reclaim_throttle_total'), 'reclaim_throttle {{class}} {{reason}}'),
        panel.range(q.rate('throttle_svc_alloc_arg_retries_total'), 'svc_alloc_arg without pages'),
      ],
      { unit: 'ops', noValue: 'none yet, or not on this kernel' },
    ) + panel.size(8, 8),
  ]
