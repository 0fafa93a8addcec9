// What the guard may do, has changed, and did.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local off = 'the guard is off';

  [
    panel.row('The guard: what it changed on this node'),

    panel.stat(
      'Guard',
      'What the guard may do (--guard.mode). Off, the default: nothing. Advise: it says what it would do. Prevent: it limits the client of a loop before, or at the first sign of, a standstill, and breaks what it could not prevent. Break: it gets a loop that stands still going again. Not good: break on a node whose loop nobody means to keep.',
      'max(%s)' % q.of('throttle_guard_mode'),
      words.guard { unit: 'short', noValue: 'no data' },
    ) + panel.quiet + panel.size(4, 4),

    panel.states(
      'Changed, and not yet put back',
      "A row for each setting while it is another than before: strict_limit and max_ratio of the BDI of the loop's client, strict_limit of the one that its server writes to, and the node's background limit (dirty_background_bytes) and dirty limit (dirty_bytes). Ordinary with prevent. With break it lasts as long as somebody writes to the loop, and 30 s more, but dirty_bytes no longer than there is no room; one that stays for hours without a load wants a look at the log.",
      [panel.range('max by (loop, measure) (%s)' % q.of('throttle_guard_active', 'loop=~"$loop"'), '{{loop}} {{measure}}')],
      { mappings: words.changed, thresholds: words.steps([['orange', null]]), noValue: 'nothing is changed' },
    ) + panel.size(10, 7),

    panel.timeseries(
      'Actions',
      'What it did, or did not, by what came of it. Bad: any failed (a value was refused, or the helper does not answer); refused, for then a loop stands still and is not helped. left_alone: somebody else has set the value meanwhile, and it stays. One livelock that is broken is two actions or more.',
      [panel.range(
        'sum by (action, result) (increase(%s)) > 0' % q.during('throttle_guard_actions_total', '$__rate_interval'),
        '{{action}} {{result}}'
      )],
      { unit: 'short', decimals: 0, noValue: off + ', or has done nothing' },
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
      'Whether the process that sets limits for the guard answers (prevent and break only). Bad: no, for then nothing is changed, whatever stands still.',
      'max(%s)' % q.of('throttle_guard_helper_up'),
      words.yes('green', 'red') { unit: 'short', noValue: 'not wanted' },
    ) + panel.quiet + panel.size(4, 3),
  ]
