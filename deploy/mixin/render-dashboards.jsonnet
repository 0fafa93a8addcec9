// The dashboards, by their file's name under deploy/grafana. Run by ./render.
local dashboards = (import 'mixin.libsonnet').grafanaDashboards;
local file(name) =
  // By this ./render knows its own files from others beside them.
  assert std.startsWith(name, 'throttle-monitor-') : 'a dashboard has to be called throttle-monitor-...: ' + name;
  if std.endsWith(name, '.json') then name else name + '.json';

{ [file(name)]: dashboards[name] for name in std.objectFields(dashboards) }
