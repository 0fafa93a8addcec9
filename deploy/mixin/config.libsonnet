// Everything that a site may want to change, in one place. Override it as in
// README.md; never edit the generated files.
{
  _config+:: {
    // Picks the monitor's own series. The job is the one of ../prometheus/scrape.yml
    // and of the PodMonitor.
    selector: 'job="throttle-monitor"',

    // The label that names a node, one value for each daemon, and the one that names a
    // cluster: empty values are fine where there is but one.
    nodeLabel: 'instance',
    clusterLabel: 'cluster',

    // Where the person who is paged reads the runbook. Empty: from the daemon of the alert's own
    // node, at SCHEME://INSTANCE/runbooks/NAME. Else a base such as
    // https://wiki.example.org/runbooks, to which /NAME is added.
    runbookUrl: '',
    // How the daemon is reached: https with --web.config.file. The port is for a node label
    // without one.
    scheme: 'http',
    port: 9746,

    // Where Grafana is, for the dashboard_url of alerts, such as https://grafana.example.org.
    // Empty: alerts have none.
    grafanaUrl: '',

    // Severities as the site routes them. Info requires no action by itself.
    severity: {
      page: 'critical',
      ticket: 'warning',
      info: 'info',
    },

    // How long a state lasts before an alert fires. A livelock was confirmed by the
    // daemon already: no more waiting here.
    durations: {
      livelock: '0s',
      suspected: '5m',
      dirtyLimitHeld: '1m',
      related: '10m',
      loop: '10m',
      blind: '5m',
      stuck: '1m',
      absent: '5m',
      reload: '10m',
      losesEvents: '15m',
      guardHelper: '5m',
    },

    // How long an alert goes on firing after its condition ended: a loop that stalls again within
    // that time is the same alert still, and not a second page. 0s for none.
    keepFiring: {
      livelock: '5m',
      suspected: '5m',
      dirtyLimitHeld: '5m',
    },

    thresholds: {
      // A tick is due once an --interval of the daemon, at most 5 s. The alert and both
      // dashboards call a daemon stuck from here on; /-/ready says no earlier.
      stuckSeconds: 60,
      // Age of the oldest wait, on both dashboards. A writer on a slow disk waits for
      // seconds; a livelock is confirmed within 10 s.
      longWaitSeconds: 10,
      endlessWaitSeconds: 60,
      // Livelocks of one loop within the hour: it comes back.
      recurring: 3,
      // An address that a node has had within so many days may come back to it.
      failoverDays: 7,
      // A server that more NFS servers than so many mount is no half of a pair.
      failoverPeers: 2,
      // Events lost within 10 minutes, more than this.
      lostEvents: 0,
    },

    // While a node does not answer scrapes, as a stalled one may not, its loops keep their
    // last reported state for this long. Longer than durations.absent.
    lastKnown: '10m',

    // A loop that is no longer reported counts as present for this long. Shorter than
    // durations.loop, or a short mount fires.
    loopGone: '5m',

    // How often the rules are evaluated. Empty: as Prometheus is configured to
    // (evaluation_interval).
    intervals: {
      alerts: '',
      rules: '',
      // What may happen at a failover: nothing that is urgent.
      failover: '1m',
    },

    // Dashboards.
    tags: ['throttle-monitor', 'nfs'],
    nodeDashboardUID: 'throttle-monitor-node',
    fleetDashboardUID: 'throttle-monitor-fleet',
    refresh: '15s',
  },
}
