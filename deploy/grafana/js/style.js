// What the page looks like: the colours are those of Grafana's dark theme.
'use strict';

const { theme } = require('./frames');

const { background, border, text, primary } = theme.colors;

const style = (font) => `
@font-face { font-family: Inter; src: url(${font}); font-weight: 100 900; }
* { box-sizing: border-box; }
body { margin: 0; background: ${background.canvas}; color: ${text.primary}; font: 14px/1.5 Inter, sans-serif; }

header { padding: 10px 16px 0; }
header b { font-size: 16px; font-weight: 500; }
header p { margin: 6px 0 0; }
header small { color: ${text.secondary}; float: right; }
.variable { margin-right: 10px; }
.variable span { border: 1px solid ${border.medium}; padding: 4px 8px; background: ${background.secondary}; }
.variable span + span { background: ${background.canvas}; margin-left: -1px; }

section, h2 { position: absolute; overflow: hidden; }
section { background: ${background.primary}; border: 1px solid ${border.weak}; border-radius: 2px; padding: 0 8px; }
h2 { font-size: 16px; font-weight: 500; margin: 0; padding: 2px 4px; }
h3 { font-size: 14px; font-weight: 500; margin: 5px 0; }
h3, th, td, .bar span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }

.stat { position: absolute; inset: 32px 0 0 0; display: flex; align-items: center; justify-content: center; }
.stat { font-weight: 500; white-space: nowrap; }
.stat.none { color: ${text.secondary}; font-size: 20px; }
.empty { color: ${text.secondary}; font-size: 15px; text-align: center; padding-top: 28px; }

table { border-collapse: collapse; width: 100%; table-layout: fixed; font-size: 13px; }
th { color: ${primary.text}; font-weight: 500; }
th, td { padding: 4px 6px; height: 29px; border: solid ${border.weak}; border-width: 0 1px 1px 0; }
td a { text-decoration: underline; text-underline-offset: 3px; color: inherit; }

.legend { font-size: 12px; line-height: 20px; }
.legend span { margin-right: 12px; white-space: nowrap; }
.legend i { display: inline-block; width: 14px; margin: 0 6px 4px 0; }

.bars { position: absolute; inset: 36px 10px 8px; display: flex; flex-direction: column; gap: 6px; }
.bars { justify-content: space-evenly; }
.bar { display: flex; align-items: center; gap: 8px; font-size: 13px; flex: 1; max-height: 36px; }
.bar span { width: 42%; text-align: right; }
.bar div { flex: 1; background: ${background.secondary}; height: 80%; }
.bar b { display: block; height: 100%; min-width: 2px; opacity: .85; }
.bar em { font-style: normal; width: 36px; }

.markdown { font-size: 13px; }
.markdown p { margin: 4px 0; }
.markdown pre { background: ${background.canvas}; padding: 6px 8px; margin: 6px 0; font-size: 12px; }
.markdown a { color: ${text.link}; }
`;

module.exports = { style };
