// The nodes of rings.js: what each serves of itself, as a daemon would.
'use strict';

const cluster = 'c';
const MiB = 2 ** 20;

// A node that serves at `addresses` and mounts what is at the addresses of `mounts`.
function node(number, addresses, mounts) {
  const lines = [
    'throttle_monitor_build_info{version="0",revision="0",kernel="0"} 1',
    `throttle_node_number ${number}`,
  ];
  for (const address of addresses) lines.push(`throttle_node_address{address="${address}",pod_uid=""} 1`);
  mounts.forEach(({ of, blocked = 0 }, i) => {
    const labels = `{bdi="0:${40 + i}",mount="/mnt/${of}",export="${of}:/export",server_address="${of}",pod_uid=""}`;
    lines.push(`throttle_remote_mount_held_bytes${labels} ${50 * MiB}`);
    lines.push(`throttle_remote_mount_blocked${labels} ${blocked}`);
  });
  return `${lines.join('\n')}\n`;
}

const always = (text) => () => text;

// First the one text, then the other.
function later(before, after, scrapes = 3) {
  let count = 0;
  return () => (count++ < scrapes ? before : after);
}

const pages = {
  // Two that are stalled, and three and four that may be.
  a: always(node(1, ['10.0.0.1'], [{ of: '10.0.0.2', blocked: 1 }])),
  b: always(node(2, ['10.0.0.2'], [{ of: '10.0.0.1', blocked: 1 }])),
  c: always(node(3, ['10.0.0.3'], [{ of: '10.0.0.4' }])),
  d: always(node(4, ['10.0.0.4'], [{ of: '10.0.0.5' }])),
  e: always(node(5, ['10.0.0.5'], [{ of: '10.0.0.3' }])),
  f: always(node(6, ['10.0.0.6'], [{ of: '10.0.0.7' }])),
  g: always(node(7, ['10.0.0.7'], [{ of: '10.0.0.8' }])),
  h: always(node(8, ['10.0.0.8'], [{ of: '10.0.0.9' }])),
  i: always(node(9, ['10.0.0.9'], [{ of: '10.0.0.6' }])),
  // An address that moves from j to k, and what mounts it.
  j: later(node(10, ['10.0.0.10', '10.0.1.1'], []), node(10, ['10.0.0.10'], [{ of: '10.0.1.1' }])),
  k: later(node(11, ['10.0.0.11'], []), node(11, ['10.0.0.11', '10.0.1.1'], [])),
  l: always(node(12, ['10.0.0.12'], [{ of: '10.0.1.1' }])),
};

module.exports = { cluster, pages };
