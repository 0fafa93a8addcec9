// The dashboards, by their file's name under deploy/grafana. Run by ./render.
local dashboards = (import 'mixin.libsonnet').grafanaDashboards;
local file(name) = if std.endsWith(name, '.json') then name else name + '.json';

{ [file(name)]: dashboards[name] for name in std.objectFields(dashboards) }
