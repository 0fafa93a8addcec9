// The words and colours that mean the same in every panel: green is well, yellow is worth a
// look, orange is at risk, red stalls, dark red is worse. Blue and grey mean nothing.
local steps(list) = {
  mode: 'absolute',
  steps: [{ color: s[0], value: s[1] } for s in list],
};

local values(list) = [{
  type: 'value',
  options: {
    [std.toString(list[i][0])]: { index: i, text: list[i][1], color: list[i][2] }
    for i in std.range(0, std.length(list) - 1)
  },
}];

// Text cells that are coloured by what they say.
local texts(list) = [{
  type: 'value',
  options: {
    [list[i][0]]: { index: i, color: list[i][1] }
    for i in std.range(0, std.length(list) - 1)
  },
}];

{
  // throttle_livelock_state, in the words of the page. Below zero is ours: no loop, or no verdict.
  state: {
    mappings: values([
      [-3, 'stuck', 'dark-orange'],
      [-2, 'blind', 'orange'],
      [-1, 'no loop', 'green'],
      [0, 'ok', 'green'],
      [1, 'suspected', 'yellow'],
      [2, 'livelock', 'red'],
      [3, 'deadlock', 'dark-red'],
    ]),
    thresholds: steps([['green', null], ['yellow', 1], ['red', 2], ['dark-red', 3]]),
  },

  ring: {
    mappings: values([[0, 'at risk', 'orange'], [1, 'stalled', 'red']]),
    thresholds: steps([['orange', null], ['red', 1]]),
  },

  yes(bad, good='green'): {
    mappings: values([[0, 'no', good], [1, 'yes', bad]]),
    thresholds: steps([[good, null], [bad, 1]]),
  },

  probe: texts([['attached', 'green'], ['degraded', 'yellow'], ['unavailable', 'red']]),
  scope: texts([['same-netns', 'text'], ['cross-netns', 'text'], ['unknown', 'text']]),
  exempt: texts([['yes', 'green'], ['no', 'orange'], ['partly', 'orange'], ['unknown', 'text']]),

  known: texts([['observed', 'orange'], ['guess', 'text']]),

  // throttle_guard_mode, and throttle_guard_active, which is 1 or absent.
  guard: {
    mappings: values([
      [0, 'off', 'text'],
      [1, 'advise', 'text'],
      [2, 'prevent', 'blue'],
      [3, 'break', 'blue'],
    ]),
    thresholds: steps([['text', null], ['blue', 2]]),
  },
  changed: values([[1, 'changed', 'orange']]),

  // Whether a node's monitor can be trusted; the numbers are fleet/health.libsonnet's.
  health: {
    mappings: values([
      [0, 'sees', 'green'],
      [1, 'limited', 'yellow'],
      [2, 'blind', 'orange'],
      [3, 'stuck', 'dark-orange'],
      [4, 'scrape fails', 'red'],
      [5, 'gone', 'dark-red'],
    ]),
    thresholds: steps([['green', null], ['yellow', 1], ['orange', 2], ['dark-orange', 3], ['red', 4], ['dark-red', 5]]),
  },

  steps: steps,

  // A count of which any is bad.
  none(bad='red'): { thresholds: steps([['green', null], [bad, 1]]) },
  plain: { thresholds: steps([['text', null]]) },

  signatures: ['dirty-throttle', 'reclaim-congestion', 'commit-wait', 'request-starvation', 'loop-device'],
}
