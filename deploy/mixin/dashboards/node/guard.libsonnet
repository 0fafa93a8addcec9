// What the guard may do, has changed, and did.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local off = 'the guard is off';

  [
    panel.row('The guard: what it changed on this node'),

    panel.stat(
      'Guard',
      'What the guard may do (--guard.mode). Off, the default: nothing. Advise: it logs what it would do. Prevent: it limits the client of a loop before a stall, or at its first sign, and breaks what it could not prevent. Break: it intervenes after a confirmed livelock.',
      'max(%s)' % q.of('throttle_guard_mode'),
      words.guard { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(4, 4),

    panel.states(
      'Changed, and not rolled back yet',
      "A row for each limit while it is changed: strict_limit and max_ratio of the BDI of the loop's client, strict_limit of the one that its server writes to, and the node's background limit (dirty_background_bytes) and dirty limit (dirty_bytes). Ordinary with prevent. With break it lasts as long as there is demand on the loop, and 30 s more, but dirty_bytes no longer than there is no room. If it stays for hours without a load, look at the log.",
      [panel.range('max by (loop, measure) (%s)' % q.of('throttle_guard_active', 'loop=~"$loop"'), '{{loop}} {{measure}}')],
      { mappings: words.changed, thresholds: words.steps([['orange', null]]), noValue: 'nothing is changed' },
    ) + panel.size(10, 7),

    panel.timeseries(
      'Actions',
      'Actions by result. Bad: any failed (a value was refused, or the helper does not answer); refused, for then a loop is stalled and is not mitigated. left_alone: another program changed the value meanwhile, and it stays. One livelock that is broken is two actions or more.',
      [panel.range(
        'sum by (action, result) (increase(%s)) > 0' % q.during('throttle_guard_actions_total', '$__rate_interval'),
        '{{action}} {{result}}'
      )],
      { unit: 'short', decimals: 0, noValue: off + ', or did not act' },
    ) + panel.stacked + panel.custom({ drawStyle: 'bars' }) + panel.size(10, 7) + panel.overrides([
      panel.overrideRegexp('.* failed', panel.color('red')),
      panel.overrideRegexp('.* refused', panel.color('orange')),
      panel.overrideRegexp('.* left_alone', panel.color('yellow')),
      panel.overrideRegexp('break done', panel.color('purple')),
      panel.overrideRegexp('undo done', panel.color('green')),
    ]),

    // Below the first: there is room.
    panel.stat(
      'Helper',
      'Whether the process that sets limits for the guard answers (prevent and break only). Bad: no, for then no limit is changed, also in a stall.',
      'max(%s)' % q.of('throttle_guard_helper_up'),
      words.yes('green', 'red') { unit: 'short', noValue: 'not needed' },
    ) + panel.quiet + panel.size(4, 3),
  ]
