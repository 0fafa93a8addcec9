// The two dashboards, by the name of the file that each becomes.
{
  grafanaDashboards+:: {
    'throttle-monitor-node.json': (import 'node/node.libsonnet')($._config),
    'throttle-monitor-fleet.json': (import 'fleet/fleet.libsonnet')($._config),
  },
}
