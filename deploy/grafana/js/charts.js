// The panels that have a time axis, as SVG by Apache ECharts.
'use strict';

const echarts = require('echarts');
const grafana = require('./grafana');
const { color, name, text, theme } = require('./frames');

const font = 'Inter, sans-serif';
const faint = theme.colors.text.secondary;
const lines = theme.colors.border.weak;

function clock(ms, span) {
  const [date, time] = new Date(ms).toISOString().split('T');
  return span > 36 * 3600e3 ? date.slice(5) : time.slice(0, span < 600e3 ? 8 : 5);
}

function svg(option, { width, height }) {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  chart.setOption({ animation: false, textStyle: { fontFamily: font }, ...option });
  const drawn = chart.renderToSVGString();
  chart.dispose();
  return drawn;
}

function timeAxis(t, width) {
  const span = (t.end - t.start) * 1000;
  return {
    type: 'time',
    min: t.start * 1000,
    max: t.end * 1000,
    splitNumber: Math.max(2, Math.floor(width / 110)),
    axisLabel: { color: faint, fontSize: 12, hideOverlap: true, formatter: (ms) => clock(ms, span) },
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { show: true, lineStyle: { color: lines } },
  };
}

// Dashed lines where a threshold is, in its colour.
function thresholdLines(panel) {
  const { custom, thresholds } = panel.fieldConfig.defaults;
  if (custom.thresholdsStyle.mode === 'off') return [];
  return thresholds.steps.slice(1).map(({ value, color: step }) => ({
    yAxis: value,
    lineStyle: { color: color(step), type: 'dashed', width: 1, opacity: 0.8 },
  }));
}

// Shades while an annotation's query has a value, and a bar on top.
function annotationAreas(regions) {
  return regions.map(({ from, to, color: shade }) => [
    { xAxis: from, itemStyle: { color: color(shade), opacity: 0.13 } },
    { xAxis: to },
  ]);
}

function timeseries(panel, frames, t, size, regions) {
  const fields = frames.map((frame) => ({ frame, time: frame.fields[0], field: frame.fields[1] }));
  const series = fields.map(({ frame, time, field }) => {
    const custom = field.config.custom;
    const paint = grafana.getFieldSeriesColor(field, theme).color;
    const stacked = custom.stacking.mode === 'normal';
    return {
      name: name(field, frame, frames),
      type: 'line',
      data: time.values.map((at, i) => [at, field.values[i]]),
      stack: stacked ? custom.stacking.group : undefined,
      step: custom.lineInterpolation === 'stepAfter' ? 'end' : false,
      symbol: 'none',
      connectNulls: false,
      lineStyle: { color: paint, width: custom.lineWidth, type: custom.lineStyle?.fill === 'dash' ? [8, 6] : 'solid' },
      itemStyle: { color: paint },
      areaStyle: custom.fillOpacity ? { color: paint, opacity: custom.fillOpacity / 100 } : undefined,
    };
  });
  const marks = {
    type: 'line',
    data: [],
    symbol: 'none',
    markLine: { silent: true, symbol: 'none', label: { show: false }, data: thresholdLines(panel) },
    markArea: { silent: true, data: annotationAreas(regions) },
  };
  const any = fields[0].field;
  const top = any.config.max ?? (Math.max(...stackTops(series), 0) || 1);
  const interval = tickInterval(top, size.height / 42, any.config);
  // As Grafana: as many decimals as the ticks need, its own choice where they are whole.
  const decimals = interval < 1 ? -Math.floor(Math.log10(interval)) : undefined;
  return svg({
    grid: { left: 4, right: 10, top: 10, bottom: 4, containLabel: true },
    xAxis: timeAxis(t, size.width),
    yAxis: {
      type: 'value',
      min: any.config.min ?? ((extent) => Math.min(extent.min, 0)),
      max: any.config.max ?? interval * Math.ceil(top / interval),
      interval,
      axisLabel: { color: faint, fontSize: 12, formatter: (value) => text(any, value, decimals) },
      splitLine: { lineStyle: { color: lines } },
    },
    series: [...series, marks],
  }, size);
}

// The highest point of each stack, and of each line that is in none.
function stackTops(series) {
  const tops = [];
  const stacks = {};
  for (const { stack, data } of series) {
    if (!stack) tops.push(...data.map(([, value]) => value ?? 0));
    else data.forEach(([, value], i) => { (stacks[stack] ??= [])[i] = (stacks[stack][i] ?? 0) + (value ?? 0); });
  }
  return [...tops, ...Object.values(stacks).flat()];
}

// The distance of ticks: at a power of two for bytes, else 1, 2 or 5 times one of ten.
function tickInterval(top, count, { unit, decimals }) {
  const least = top / count;
  if (['bytes', 'binBps'].includes(unit)) return 2 ** Math.ceil(Math.log2(least));
  const ten = 10 ** Math.floor(Math.log10(least));
  const nice = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= least * 0.999);
  return decimals === 0 ? Math.max(nice, 1) : nice;
}

// Rows of boxes over time: `all` are [from, to, row, fill, label, thickness].
function boxes(names, all, t, size, unit = (row) => row) {
  const longest = Math.max(...names.map((one) => unit(one).length));
  return svg({
    grid: { left: Math.min(14 + 6.8 * longest, size.width / 2), right: 10, top: 6, bottom: 26 },
    xAxis: { ...timeAxis(t, size.width), splitLine: { show: false } },
    yAxis: {
      type: 'category',
      data: names,
      axisLabel: { color: theme.colors.text.primary, fontSize: 12, formatter: unit },
      axisLine: { show: false },
      axisTick: { show: false },
    },
    series: [{
      type: 'custom',
      encode: { x: [0, 1], y: 2 },
      data: all,
      renderItem(parameters, api) {
        const [x, y] = api.coord([api.value(0), api.value(2)]);
        const [end] = api.coord([api.value(1), api.value(2)]);
        const [, fill, label, thick] = all[parameters.dataIndex].slice(2);
        const height = api.size([0, 1])[1] * thick;
        const gap = thick === 1 && end - x > 4 ? 1 : 0;
        const shape = { x, y: y - height / 2, width: Math.max(end - x - gap, 0.5), height: height - gap };
        const children = [{ type: 'rect', shape, style: { fill } }];
        if (label && shape.width > label.length * 7 + 10) {
          children.push({ type: 'text', style: { text: label, x: x + 6, y, fill: '#111217', font: `12px ${font}`, textVerticalAlign: 'middle' } });
        }
        return { type: 'group', children };
      },
    }],
  }, size);
}

// A row a series; what has the same value is one box.
function states(panel, frames, t, size) {
  const names = frames.map((frame) => name(frame.fields[1], frame, frames));
  const all = [];
  frames.forEach((frame, row) => {
    const [time, field] = frame.fields;
    let begin = 0;
    for (let i = 1; i <= frame.length; i += 1) {
      if (i < frame.length && field.values[i] === field.values[begin]) continue;
      const value = field.values[begin];
      if (value !== null) {
        const till = Math.min(time.values[i] ?? t.end * 1000, t.end * 1000);
        const from = Math.max(time.values[begin], t.start * 1000);
        all.push([from, till, row, field.display(value).color, text(field, value), panel.options.rowHeight]);
      }
      begin = i;
    }
  });
  // Grafana's first row is the uppermost.
  const last = names.length - 1;
  return boxes([...names].reverse(), all.map(([from, to, row, ...rest]) => [from, to, last - row, ...rest]), t, size);
}

function heatmap(panel, frames, t, size) {
  const values = frames.flatMap((frame) => frame.fields[1].values);
  const most = Math.max(...values, 0) || 1;
  const { exponent } = panel.options.color;
  // From little to much, as the scheme that is named in Grafana's dark theme.
  const scheme = echarts.color;
  const ends = ['#7f2704', '#d94801', '#fd8d3c', '#fdd0a2', '#fff5eb'];
  const all = [];
  frames.forEach((frame, row) => {
    const [time, field] = frame.fields;
    field.values.forEach((value, i) => {
      if (!(value > panel.options.filterValues.le)) return;
      const fill = scheme.lerp((value / most) ** exponent, ends);
      const from = Math.max(time.values[i] - t.step * 1000, t.start * 1000);
      all.push([from, Math.min(time.values[i], t.end * 1000), row, fill, '', 1]);
    });
  });
  const unit = grafana.getValueFormat(panel.options.yAxis.unit);
  const bound = (le) => (le === '+Inf' ? 'more' : grafana.formattedValueToString(unit(Number(le))));
  return boxes(frames.map((frame) => frame.fields[1].labels.le), all, t, size, bound);
}

// Who is connected to whom: nodes on a circle, with what Grafana shows in and under them.
function graph([vertices, edges], size) {
  const rows = (frame) => Array.from({ length: frame.length }, (_, i) =>
    Object.fromEntries(frame.fields.map((field) => [field.name, field.values[i]])));
  const label = { show: true, color: theme.colors.text.primary, fontSize: 11 };
  return svg({
    series: [{
      type: 'graph',
      layout: 'circular',
      circular: { rotateLabel: false },
      top: 60,
      bottom: 60,
      symbolSize: 58,
      edgeSymbol: ['none', 'arrow'],
      edgeSymbolSize: 9,
      data: rows(vertices).map((one) => ({
        name: one.id,
        itemStyle: { color: theme.colors.background.primary, borderColor: color(one.color), borderWidth: 4 },
        label: { ...label, formatter: `${one.mainstat}\n\n${one.title}` },
      })),
      links: rows(edges).map((one) => ({
        source: one.source,
        target: one.target,
        lineStyle: { color: color(one.color), width: 2, opacity: 1, curveness: 0.15 },
      })),
    }],
  }, size);
}

module.exports = { timeseries, states, heatmap, graph };
