// The four conditions of docs/verdict.md. All four at once for 5 s are a livelock.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  local of(metric) = q.of(metric, 'loop=~"$loop"');
  local held(end) = 'sum by (loop) (%s * on (%s, bdi) group_right () %s)' % [
    '(%s + %s)' % [q.of('throttle_bdi_dirty_bytes'), q.of('throttle_bdi_writeback_bytes')],
    q.nodes,
    q.loopsByBdi(end, 'loop=~"$loop"'),
  ];
  local dirty = 'scalar(%s + %s)' % [q.of('throttle_dirty_bytes'), q.of('throttle_writeback_bytes')];

  [
    panel.timeseries(
      '1. Demand: the client has pages to write',
      'Bytes that the client of each loop holds dirty or under writeback. Holds from 1 MiB (dashed) on. High is ordinary under load; high and flat beside no progress is bad.',
      [panel.range('max by (loop) (%s)' % of('throttle_loop_demand_bytes'), '{{loop}}')],
      { unit: 'bytes', noValue: 'no loop', thresholds: words.steps([['transparent', null], ['orange', 1048576]]) },
    ) + panel.line + panel.size(6, 8),

    panel.timeseries(
      '2. No progress: writes are stalled',
      "Bytes a second acknowledged to each client, and written by nfsd for all clients. Under 768 KiB/s (dashed), or 1 % of the loop's best second, both count as none. At zero with demand every writer is stalled.",
      [
        panel.range('max by (loop) (%s)' % of('throttle_loop_progress_bytes_per_second'), '{{loop}} acknowledged'),
        panel.range(q.rate('throttle_nfsd_written_bytes_total'), 'nfsd wrote, for all clients'),
      ],
      { unit: 'binBps', noValue: 'no loop', thresholds: words.steps([['transparent', null], ['red', 786432]]) },
    ) + panel.line + panel.size(6, 8) + panel.overrides([
      panel.override('nfsd wrote, for all clients', panel.color('text') { 'custom.fillOpacity': 0 }),
    ]),

    panel.timeseries(
      "3. Blockage: the server's busy threads wait",
      "Share of the busy server threads' time spent throttled, or blocked behind a throttled one. Holds from a half (dashed) on; in livelocks it is 1.",
      [panel.range('max by (loop) (%s)' % of('throttle_loop_blockage_ratio'), '{{loop}}')],
      { unit: 'percentunit', noValue: 'no loop', max: 1, thresholds: words.steps([['transparent', null], ['red', 0.5]]) },
    ) + panel.line + panel.size(6, 8),

    panel.timeseries(
      '4. Closing edge: whose pages they wait for',
      "The edge itself has no series (/api/v1/verdicts has it); this is what dirty-throttle rests on. Bad: a client holds nearly all dirty pages and the server's own device next to nothing, while the node is over its vmstat threshold. If the server's device holds as much as the client, it is a slow disk. For the other signatures see the runbook, and the row of waits.",
      [
        panel.range('%s / %s' % [held('client_bdi'), dirty], '{{loop}} client, of all dirty'),
        panel.range('%s / %s' % [held('server_bdi'), dirty], '{{loop}} server, of all dirty'),
      ],
      { unit: 'percentunit', max: 1 },
    ) + panel.size(6, 8) + panel.overrides([
      panel.overrideRegexp('.* server, of all dirty', panel.color('text') { 'custom.lineStyle': { fill: 'dash', dash: [6, 6] }, 'custom.fillOpacity': 0 }),
    ]),
  ]
