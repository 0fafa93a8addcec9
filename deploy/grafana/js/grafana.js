// Grafana's own library of data frames, units, colours and transformations. It is meant
// for a browser and looks for one when it is loaded.
'use strict';

globalThis.window ??= globalThis;
globalThis.navigator ??= { userAgent: 'Node.js', language: 'en-GB', languages: ['en-GB'] };
globalThis.location ??= { search: '' };
module.exports = require('@grafana/data');
