// The alerts: of loops, of the guard, and of the monitor's own health. What a site may want to
// change is in config.libsonnet; who is notified of what, in ../alertmanager.
{
  local config = $._config,
  local lib = (import 'lib.libsonnet')(config),

  local rules(name, rules) = {
    name: name,
    [if config.intervals.alerts != '' then 'interval']: config.intervals.alerts,
    rules: rules,
  },
  local group(name, alerts, records=[]) = rules(name, records + [lib.alert(of) for of in alerts]),

  local cycles = (import 'alerts/cycles.libsonnet')(config, lib),

  prometheusAlerts+:: {
    groups+: [
      group(
        'throttle-monitor-loops',
        (import 'alerts/loops.libsonnet')(config, lib) + (import 'alerts/related.libsonnet')(config, lib),
        (import 'alerts/identity.libsonnet')(config, lib),
      ),
      rules('throttle-monitor-across-risk', cycles.risk),
      rules('throttle-monitor-across', cycles.blocked + (import 'alerts/across.libsonnet')(config, lib)),
      group('throttle-monitor-guard', (import 'alerts/guard.libsonnet')(config, lib)),
      group('throttle-monitor', (import 'alerts/monitor.libsonnet')(config, lib)),
    ],
  },
}
