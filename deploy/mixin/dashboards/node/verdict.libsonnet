// What is wrong, on which loop, since when.
local panel = import '../lib/panel.libsonnet';
local words = import '../lib/words.libsonnet';

function(config, q)
  // %s takes an `@`.
  local state = 'throttle_livelock_state{%s, loop=~"$loop"}%%s' % q.selector;
  local worst = 'max(%s)' % state;
  local loops = q.of('throttle_loop_info', 'loop=~"$loop"');
  local build = q.of('throttle_monitor_build_info');
  local blind = q.of('throttle_monitor_probe_state', 'signal="balance_dirty_pages", state="unavailable"');
  local runbook = config.runbookURL % '${__value.text}';

  local named = 'max by (loop, client_bdi, server, server_bdi, proof, scope, exempt, localio%s) (%s)';
  local mounted = |||
    %s
    or on (loop) %s
  ||| % [
    named % [
      ', device',
      '%s * on (client_bdi) group_left (device) label_replace(%s, "client_bdi", "$1", "bdi", "(.+)")'
      % [loops, q.of('throttle_bdi_info')],
    ],
    named % ['', loops],
  ];

  [
    panel.stat(
      'Verdict',
      'The worst state of the loops that are chosen. Livelock: a server of this node waits for dirty pages that only it can write back, and writes are stalled. Deadlock: no byte moved for another 30 s. Both seldom end by themselves: open the runbook. "no loop" is good: this node serves no device to itself. Not good: "blind", balance_dirty_pages is not attached and nothing is ever suspected; "stuck", the last tick is over %d s old; "no data", the monitor is not scraped.'
      % config.thresholds.stuckSeconds,
      |||
        %s > 0
        or -3 * max((%s) > bool %d) < 0
        or -2 * max(%s)
        or %s
        or -max(%s)
      ||| % [
        worst % '',
        q.tickAge,
        config.thresholds.stuckSeconds,
        blind,
        worst % '',
        build,
      ],
      words.state { unit: 'short', noValue: 'no data' },
    ) + panel.size(4, 4),

    panel.stat(
      'In that state for',
      'Time since the worst state was another one; at most the range of the dashboard, so widen it if both are the same. During a livelock tasks cannot write to the mount, and clients of the server wait.',
      q.held(worst),
      words.plain { unit: 'dtdurations', decimals: 0, noValue: 'no loop' },
    ) + panel.uncolored + panel.size(5, 4),

    panel.stat(
      'Time in livelock',
      'Time in livelock or deadlock within the range of the dashboard, added up over the loops that are chosen. Anything but zero was a stall.',
      'sum(increase(%s))\nor 0 * max(%s) unless on () %s'
      % [q.during('throttle_livelock_seconds_total', '$__range', 'loop=~"$loop"'), build, blind],
      { thresholds: words.steps([['green', null], ['red', 1]]), unit: 's', decimals: 1, noValue: 'unknown' },
    ) + panel.size(4, 4),

    panel.stat(
      'Oldest wait',
      'The longest wait that has not ended, of any task in any cause. A pause takes at most 0.2 s; a writer on a slow disk may wait for some seconds. One that grows with the clock is a task that does not resume.',
      'max(%s)' % q.of('throttle_oldest_wait_seconds'),
      { thresholds: words.steps([['green', null], ['yellow', config.thresholds.longWaitSeconds], ['red', config.thresholds.endlessWaitSeconds]]), unit: 's', decimals: 1, noValue: 'none yet' },
    ) + panel.size(4, 4),

    panel.stat(
      'nfsd throttled or blocked',
      "Share of nfsd's threads that are throttled, or blocked in an uninterruptible sleep, usually on a lock that a throttled one holds. In a livelock it is all that have work. Servers in userspace are not counted here.",
      'sum(%s) / sum(%s)'
      % [q.of('throttle_nfsd_threads', 'state=~"throttled|blocked"'), q.of('throttle_nfsd_threads')],
      { thresholds: words.steps([['green', null], ['yellow', 0.25], ['red', 0.5]]), unit: 'percentunit', decimals: 0, noValue: 'no nfsd' },
    ) + panel.size(3, 4),

    panel.stat(
      'Over the vmstat threshold',
      "By how much the node's dirty pages and those under writeback exceed nr_dirty_threshold of /proc/vmstat. When memory gets short that threshold falls at once, and the dirty limit at which writers are throttled follows it slowly. Above zero writers are throttled; it is a livelock only if a loop's client holds the pages and the server's disk is idle.",
      'clamp_min(%s + %s - %s, 0)' % [
        q.of('throttle_dirty_bytes'),
        q.of('throttle_writeback_bytes'),
        q.of('throttle_dirty_limit_bytes'),
      ],
      { thresholds: words.steps([['green', null], ['orange', 1]]), unit: 'bytes', decimals: 1, noValue: 'no data' },
    ) + panel.size(4, 4),

    panel.table(
      'Loops',
      'The NFS mounts that this node serves to itself. Each can livelock; those whose server is not exempt from local dirty throttling stall within seconds of a heavy load, as between two network namespaces. Livelock and deadlock are emergencies: follow the signature to its runbook.',
      [
        mounted,
        // Each loop, and the signature of those in trouble.
        'max by (loop, signature) (%s > 0)\nor on (loop) max by (loop) (%s)' % [state % '', state % ''],
        q.held('max by (loop) (%s)' % state),
        'max by (loop) (%s)' % q.of('throttle_loop_demand_bytes', 'loop=~"$loop"'),
        'max by (loop) (%s)' % q.of('throttle_loop_progress_bytes_per_second', 'loop=~"$loop"'),
        'max by (loop) (%s)' % q.of('throttle_loop_blockage_ratio', 'loop=~"$loop"'),
      ],
      [
        ['Value #B', 'State', panel.cell(words.state) + panel.width(110)],
        ['device', 'Mounted'],
        ['loop', 'Loop', panel.width(140)],
        ['Value #C', 'In state for', { unit: 'dtdurations', decimals: 0 } + panel.width(130)],
        ['signature', 'Signature', panel.linked('Runbook', runbook) + panel.width(150)],
        ['client_bdi', 'Client BDI', panel.width(90)],
        ['server', 'Server', panel.width(120)],
        ['server_bdi', 'Server BDI', panel.width(95)],
        ['scope', 'Scope', panel.colored({ mappings: words.scope }) + panel.width(110)],
        ['exempt', 'Exempt', panel.colored({ mappings: words.exempt }) + panel.width(90)],
        ['proof', 'Proof', panel.width(80)],
        ['localio', 'LOCALIO', panel.width(85)],
        ['Value #D', 'Demand', { unit: 'bytes', decimals: 1 } + panel.width(95)],
        ['Value #E', 'Progress', { unit: 'binBps', decimals: 1 } + panel.width(105)],
        ['Value #F', 'Blockage', { unit: 'percentunit', decimals: 0 } + panel.width(85)],
      ],
      sortBy='State',
    ) + panel.size(24, 5),

    panel.states(
      'State of each loop',
      'Yellow: suspected, three of four conditions hold. Red: livelock, all four held for 5 s. Purple: deadlock. Short yellow beside green is a slow disk or a burst of writes; red seldom ends by itself.',
      [
        // Of very many loops the worst.
        panel.range(
          'max by (loop) (%s)\nand on (loop) topk(20, max by (loop) (max_over_time(throttle_livelock_state{%s, loop=~"$loop"}[$__range] @ end())))'
          % [state % '', q.selector],
          '{{loop}}'
        ),
      ],
      words.state { noValue: 'no loop' },
    ) + panel.size(16, 7),

    panel.text(
      'Not in the metrics',
      |||
        Throttled tasks with kernel stacks, the programs that write, and the reason of each condition. On the node:

        ```
        throttle-monitor explain --url http://127.0.0.1:9746
        curl -s 127.0.0.1:9746/api/v1/verdicts
        ```

        How busy the server's disk is: node_exporter has it (idle in a livelock, busy if it is just slow).

        Runbooks: %s
      ||| % std.join(' · ', ['[%s](%s)' % [s, config.runbookURL % s] for s in words.signatures])
    ) + panel.size(8, 7),
  ]
