// The generated rules, by their path under deploy/. Run by ./render.
local mixin = import 'mixin.libsonnet';

local rules(source, groups) = |||
  # Generated from deploy/mixin/%s and config.libsonnet by deploy/mixin/render:
  # change those, not this. deploy/prometheus/README.md says how, and how to do without.
||| % source + std.manifestYamlDoc(groups);

{
  'prometheus/alerts.yml': rules('alerts.libsonnet', mixin.prometheusAlerts),
  'prometheus/rules.yml': rules('rules.libsonnet', mixin.prometheusRules),
}
