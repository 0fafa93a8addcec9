// The options that ./check and ./picture have in common: which Prometheus, which node,
// which time.
'use strict';

const { parseArgs } = require('node:util');

function fail(what, remedy) {
  console.error(`${what}\n  ${remedy}`);
  process.exit(2);
}

function number(text, name, otherwise) {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!(value > 0)) fail(`--${name} ${text} is not a number of seconds.`, 'Give one above zero.');
  return value;
}

// A time in seconds since 1970: a number, or what Date reads.
function time(text) {
  if (text === undefined) return Math.floor(Date.now() / 1000);
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  if (Number.isNaN(value)) fail(`--end ${text} is not a time.`, 'Give seconds since 1970, or 2026-01-31T12:00:00Z.');
  return value;
}

function options(more = {}) {
  const string = { type: 'string' };
  let values;
  try {
    ({ values } = parseArgs({ options: {
      prometheus: string, node: string, cluster: string, end: string, range: string, 'scrape-interval': string, ...more,
    } }));
  } catch (error) {
    fail(error.message, 'Options: see deploy/grafana/README.md.');
  }
  for (const name of ['prometheus', 'node']) {
    if (!values[name]) fail(`--${name} is missing.`, 'For example: --prometheus http://127.0.0.1:9090 --node 127.0.0.1:9746');
  }
  const end = time(values.end);
  return {
    ...values,
    end,
    start: end - number(values.range, 'range', 3600),
    scrape: number(values['scrape-interval'], 'scrape-interval', 15),
  };
}

module.exports = { options };
