// Panels that are text, and the page that all of them stand on, as HTML.
'use strict';

const { pathToFileURL } = require('node:url');
const tinycolor = require('tinycolor2');
const grafana = require('./grafana');
const charts = require('./charts');
const { name, text, theme } = require('./frames');
const { style } = require('./style');

// Text on a colour, by the rule of Grafana's own.
const contrast = (fill) => (tinycolor(fill).getBrightness() > 180 ? 'rgb(32, 34, 38)' : 'rgb(247, 248, 250)');

const escape = (value) => String(value).replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

// A width of 24 columns, rows of 30 pixels and gaps of 8, as Grafana has them.
const page = { width: 1680, row: 30, gap: 8, top: 88 };
const column = (page.width - page.gap) / 24;

const box = ({ x, y, w, h }) => ({
  left: page.gap + x * column,
  top: page.top + y * (page.row + page.gap),
  width: w * column - page.gap,
  height: h * (page.row + page.gap) - page.gap,
});

function legend(frames) {
  const items = frames.map((frame) => {
    const field = frame.fields[1];
    const dash = field.config.custom.lineStyle?.fill === 'dash' ? 'dashed' : 'solid';
    const paint = grafana.getFieldSeriesColor(field, theme).color;
    return `<span><i style="border-top:3px ${dash} ${paint}"></i>${escape(name(field, frame, frames))}</span>`;
  });
  return `<div class="legend">${items.join('')}</div>`;
}

const missing = (panel) => escape(panel.fieldConfig.defaults.noValue ?? 'No data');
const nothing = (panel) => `<div class="empty">${missing(panel)}</div>`;

function stat(panel, frames) {
  const field = frames[0]?.fields[1];
  if (!field) return `<div class="stat none">${missing(panel)}</div>`;
  const value = field.values[field.values.length - 1];
  const shown = text(field, value);
  const fill = field.display(value).color;
  const paint = {
    background: `background:${fill};color:${contrast(fill)}`,
    value: `color:${fill}`,
    none: `color:${theme.colors.text.primary}`,
  }[panel.options.colorMode];
  const size = Math.min(44, (1.5 * box(panel.gridPos).width) / Math.max(shown.length, 4));
  return `<div class="stat" style="font-size:${size}px;${paint}">${escape(shown)}</div>`;
}

function bars(panel, frames) {
  const values = frames.map((frame) => frame.fields[1].values.at(-1));
  const most = Math.max(...values, panel.fieldConfig.defaults.max ?? 1);
  const rows = frames.map((frame, i) => {
    const field = frame.fields[1];
    const paint = field.display(values[i]).color;
    return `<div class="bar"><span>${escape(name(field, frame, frames))}</span>
      <div><b style="width:${(100 * values[i]) / most}%;background:${paint}"></b></div>
      <em style="color:${paint}">${escape(text(field, values[i]))}</em></div>`;
  });
  return `<div class="bars">${rows.join('')}</div>`;
}

const side = (field) => {
  const { align } = field.config.custom;
  return align === 'auto' ? { number: 'right' }[field.type] ?? 'left' : align;
};

function cell(field, value) {
  if (value === undefined || value === null || value === '') return '<td></td>';
  const shown = field.display(value);
  const type = field.config.custom.cellOptions.type;
  const paint = {
    'color-background': `background:${shown.color};color:${contrast(shown.color)};`,
    'color-text': `color:${shown.color};`,
  }[type] ?? '';
  const content = escape(text(field, value));
  const inner = field.config.links?.length ? `<a>${content}</a>` : content;
  return `<td style="${paint}text-align:${side(field)}">${inner}</td>`;
}

function table(panel, frames) {
  const frame = frames[0];
  if (!frame?.length) return nothing(panel);
  const order = [...Array(frame.length).keys()];
  const by = panel.options.sortBy[0];
  const key = by && frame.fields.find((field) => name(field, frame, frames) === by.displayName);
  if (key) order.sort((a, b) => (key.values[a] < key.values[b] ? 1 : key.values[a] > key.values[b] ? -1 : 0));
  const head = frame.fields.map((field) => {
    const width = field.config.custom.width;
    const fixed = width ? `width:${width}px;` : '';
    return `<th style="${fixed}text-align:${side(field)}">${escape(name(field, frame, frames))}</th>`;
  });
  const rows = order.map((i) => `<tr>${frame.fields.map((field) => cell(field, field.values[i])).join('')}</tr>`);
  return `<table><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function content(panel, frames, t, regions) {
  if (panel.type === 'text') {
    return `<div class="markdown">${grafana.renderMarkdown(panel.options.content, { noSanitize: true })}</div>`;
  }
  if (panel.type === 'stat') return stat(panel, frames);
  if (panel.type === 'table') return table(panel, frames);
  if (frames.length === 0) return nothing(panel);
  if (panel.type === 'bargauge') return bars(panel, frames);
  const { width, height } = box(panel.gridPos);
  const size = { width: width - 16, height: height - 40 };
  if (panel.type === 'state-timeline') return charts.states(panel, frames, t, size);
  if (panel.type === 'heatmap') return charts.heatmap(panel, frames, t, size);
  if (panel.type === 'nodeGraph') return frames.every((frame) => frame.length > 0) ? charts.graph(frames, size) : nothing(panel);
  // As many lines of legend as its words need.
  const words = frames.map((frame) => 34 + 6.6 * name(frame.fields[1], frame, frames).length);
  const needed = Math.ceil((1.12 * words.reduce((a, b) => a + b, 0)) / size.width);
  const below = { ...size, height: size.height - 20 * needed - 2 };
  return charts.timeseries(panel, frames, t, below, regions) + legend(frames);
}

function place(panel, frames, t, regions) {
  const { left, top, width, height } = box(panel.gridPos);
  const at = `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
  if (panel.type === 'row') return `<h2 style="${at}">⌄ ${escape(panel.title)}</h2>`;
  return `<section style="${at}"><h3>${escape(panel.title)}</h3>${content(panel, frames, t, regions)}</section>`;
}

// drawn: [{panel, frames}]; regions: [{from, to, color}] of annotations.
function html(board, drawn, variables, t, regions) {
  const font = pathToFileURL(require.resolve('@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'));
  const chips = board.templating.list.filter((one) => one.type === 'query').map((one) => {
    const value = variables[one.name] === one.allValue ? 'All' : variables[one.name].replaceAll('\\', '');
    return `<span class="variable"><span>${escape(one.label)}</span><span>${escape(value)}</span></span>`;
  });
  const when = [t.start, t.end].map((at) => new Date(at * 1000).toISOString().slice(0, 16).replace('T', ' ')).join(' to ');
  const bottoms = board.panels.map((panel) => box(panel.gridPos)).map(({ top, height }) => top + height);
  const body = drawn.map(({ panel, frames }) => place(panel, frames, t, regions)).join('\n');
  return {
    width: page.width,
    height: Math.ceil(Math.max(...bottoms) + page.gap),
    text: `<!doctype html><meta charset="utf-8"><title>${escape(board.title)}</title><style>${style(font)}</style>
<header><small>${when} UTC · drawn by deploy/grafana/picture, which is not Grafana</small>
<b>${escape(board.title)}</b><p>${chips.join('')}</p></header>
${body}`,
  };
}

module.exports = { html };
