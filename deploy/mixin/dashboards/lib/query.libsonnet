// Queries: every selector of a dashboard is made here, from the configuration and the
// dashboard's variables.
function(config, node='%s="$instance"') {
  local q = self,

  // What picks the daemon's series of the cluster and node that were chosen. "All"
  // clusters is ".*", which matches series that have no such label, too.
  jobs:: 'job=~"$job"',
  cluster:: '%s, %s=~"$cluster"' % [q.jobs, config.clusterLabel],
  instance:: node % config.nodeLabel,
  selector:: q.cluster + ', ' + q.instance,

  // The labels that tell one node from another, for `by` and `on`.
  nodes:: '%s, %s' % [config.clusterLabel, config.nodeLabel],

  // A metric of the chosen nodes; `also` are further matchers.
  of(metric, also='')::
    '%s{%s%s}' % [metric, q.selector, if also == '' then '' else ', ' + also],

  // A recorded series, which has no job.
  recorded(metric, also='')::
    '%s{%s=~"$cluster"%s}' % [metric, config.clusterLabel, if also == '' then '' else ', ' + also],

  // The same with what may be between the selector and its end: [5m], offset, @.
  during(metric, range, also='', at=''):: '%s[%s]%s' % [q.of(metric, also), range, at],

  rate(metric, also='')::
    'rate(%s)' % q.during(metric, '$__rate_interval', also),

  // The seconds since `worst`, an aggregate of throttle_livelock_state, last had another
  // value than at the end of the range; at most the range. %s in it takes an `@`.
  held(worst)::
    local now = worst % '';
    |||
      time() - (
        max_over_time((time() * (%(now)s != bool %(end)s))[$__range:$__interval]) > 0
        or min_over_time((0 * %(now)s + time())[$__range:$__interval])
      )
    ||| % { now: now, end: worst % ' @ end()' },

  // Ages are as of the sample: else the time since the scrape would count, too.
  tickAge::
    local last = q.of('throttle_monitor_tick_last_success_timestamp_seconds');
    'timestamp(%s) - %s' % [last, last],

  // Of the loops, with the label `bdi` being what the loop calls client_bdi or server_bdi.
  // One series a loop, whatever is known of it.
  loopsByBdi(end, also='')::
    'max by (%s, loop, bdi) (label_replace(%s, "bdi", "$1", "%s", "(.+)"))'
    % [q.nodes, q.of('throttle_loop_info', also), end],

  // Adds the cluster as the Node dashboard's variable takes it: All where there is no label.
  inCluster(expr):: |||
    label_replace(
      label_replace(
        %s,
        "in", "All", "%s", ""
      ), "in", "$1", "%s", "(.+)"
    )
  ||| % [expr, config.clusterLabel, config.clusterLabel],

  // Where the runbook of a cell's text is. The daemon serves it: `addressed` adds its address,
  // as a column.
  runbook:: if config.runbookUrl != '' then config.runbookUrl + '/${__value.text}'
  else config.scheme + '://${__data.fields.Daemon}/runbooks/${__value.text}',
  addressed(expr):: |||
    label_replace(
      label_replace(
        %s,
        "address", "$1:%d", "%s", "(.+)"
      ), "address", "$1", "%s", "(.+:[0-9]+)"
    )
  ||| % [expr, config.port, config.nodeLabel, config.nodeLabel],
  address:: ['address', 'Daemon', { 'custom.width': 150 }],

  // The Node dashboard, of the node that a cell names.
  node:: '/d/%s?var-datasource=${datasource}&var-cluster=${__data.fields.Cluster}&var-instance=${__value.raw}&${__url_time_range}'
         % config.nodeDashboardUID,
}
