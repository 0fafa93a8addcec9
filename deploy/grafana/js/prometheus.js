// A client of Prometheus' HTTP API: as little as is needed.
'use strict';

// Nothing can be asked there: as against a query that fails.
class Unreachable extends Error {}

class Prometheus {
  constructor(url) {
    this.url = url.replace(/\/+$/, '');
  }

  async ask(api, parameters) {
    const body = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters)) body.append(name, value);
    const get = api.startsWith('label/');
    const address = `${this.url}/api/v1/${api}`;
    let response;
    try {
      response = get ? await fetch(`${address}?${body}`) : await fetch(address, { method: 'POST', body });
    } catch (error) {
      throw new Unreachable(`no answer from ${this.url}: ${error.cause?.message ?? error.message}. Is Prometheus there?`);
    }
    const text = await response.text();
    let answer;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Unreachable(`${address} is no API of Prometheus: HTTP ${response.status}, ${text.slice(0, 80)}`);
    }
    if (answer.status !== 'success') throw new Error(answer.error ?? `HTTP ${response.status}`);
    return answer.data;
  }

  // At the end of the range: [{metric, values: [[time, value]]}].
  async instant(query, t) {
    const data = await this.ask('query', { query, time: t.end });
    if (data.resultType === 'scalar') return [{ metric: {}, values: [data.result] }];
    return data.result.map(({ metric, value }) => ({ metric, values: [value] }));
  }

  async range(query, t) {
    // On whole steps, as Grafana asks.
    const start = Math.floor(t.start / t.step) * t.step;
    return (await this.ask('query_range', { query, start, end: t.end, step: t.step })).result;
  }

  async labelValues(label, series, t) {
    return this.ask(`label/${label}/values`, { 'match[]': series, start: t.start, end: t.end });
  }
}

module.exports = { Prometheus, Unreachable };
