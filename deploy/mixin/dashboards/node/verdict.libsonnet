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

  local named = 'max by (loop, client_bdi, server, server_bdi, proof, scope, exempt%s) (%s)';
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
    ) + panel.size(8, 6),

    panel.stat(
      'In that state for',
      'Time since the worst state was another one; at most the range of the dashboard, so widen it if both are the same. During a livelock tasks cannot write to the mount, and clients of the server wait.',
      q.held(worst),
      words.plain { unit: 'dtdurations', decimals: 0, noValue: 'no loop' },
    ) + panel.uncolored + panel.size(8, 6),

    panel.stat(
      'Oldest wait of a server',
      'The longest wait that has not ended of a thread that serves: nfsd, a server in userspace, a kernel target or a loop device. A pause takes at most 0.2 s. One that grows with the clock is a thread that does not resume.',
      'max(%s)' % q.of('throttle_oldest_wait_seconds', 'class=~"nfsd|server|target|loop_device"'),
      { thresholds: words.steps([['green', null], ['yellow', config.thresholds.longWaitSeconds], ['red', config.thresholds.endlessWaitSeconds]]), unit: 's', decimals: 1, noValue: 'none yet' },
    ) + panel.quiet + panel.size(8, 6),

    panel.table(
      'Loops',
      'The devices that this node serves to itself. Each can livelock; those whose server is not exempt from local dirty throttling stall within seconds of a heavy load, as between two network namespaces. Livelock and deadlock are emergencies: follow the signature to its runbook.',
      [
        mounted,
        // Each loop, and the signature of those in trouble.
        q.addressed('(max by (%s, loop, signature) (%s > 0) or on (loop) max by (%s, loop) (%s))' % [config.nodeLabel, state % '', config.nodeLabel, state % '']),
        q.held('max by (loop) (%s)' % state),
        'max by (loop) (%s)' % q.of('throttle_loop_demand_bytes', 'loop=~"$loop"'),
        'max by (loop) (%s)' % q.of('throttle_loop_progress_bytes_per_second', 'loop=~"$loop"'),
      ],
      [
        ['Value #B', 'State', panel.cell(words.state) + panel.width(110)],
        ['device', 'Mounted'],
        ['loop', 'Loop', panel.width(140)],
        ['Value #C', 'In state for', { unit: 'dtdurations', decimals: 0 } + panel.width(130)],
        ['signature', 'Signature', panel.linked('Runbook', q.runbook) + panel.width(150)],
        q.address,
        ['client_bdi', 'Client BDI', panel.width(90)],
        ['server', 'Server', panel.width(120)],
        ['scope', 'Scope', panel.colored({ mappings: words.scope }) + panel.width(110)],
        ['exempt', 'Exempt', panel.colored({ mappings: words.exempt }) + panel.width(90)],
        ['proof', 'Proof', panel.width(80)],
        ['Value #D', 'Demand', { unit: 'bytes', decimals: 1 } + panel.width(95)],
        ['Value #E', 'Progress', { unit: 'binBps', decimals: 1 } + panel.width(105)],
      ],
      sortBy='State',
    ) + panel.size(24, 5),

    panel.states(
      'State of each loop',
      'Yellow: suspected, three of four conditions hold. Red: livelock, all four held for 5 s. Dark red: deadlock. Short yellow beside green is a slow disk or a burst of writes; red seldom ends by itself.',
      [
        // Of very many loops the worst.
        panel.range(
          'max by (loop) (%s)\nand on (loop) topk(20, max by (loop) (max_over_time(throttle_livelock_state{%s, loop=~"$loop"}[$__range] @ end())))'
          % [state % '', q.selector],
          '{{loop}}'
        ),
      ],
      words.state { noValue: 'no loop' },
    ) + panel.size(24, 5),
  ]
