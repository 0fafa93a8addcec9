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

    // Where the person who is paged can read docs/runbooks; %s is the page.
    runbookURL: 'https://example.com/throttle-monitor/docs/runbooks/%s.md',

    // Where the Node dashboard can be opened, for the links of alerts; empty for none.
    grafanaURL: '',

    // Severities as the site routes them.
    severity: {
      page: 'critical',
      ticket: 'warning',
    },

    // How long a state lasts before an alert fires. A livelock was confirmed by the
    // daemon already: no more waiting here.
    durations: {
      livelock: '0s',
      suspected: '5m',
      dirtyLimitHeld: '1m',
      loop: '10m',
      blind: '5m',
      stuck: '1m',
      absent: '5m',
      losesEvents: '15m',
      guardHelper: '5m',
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
      // Events lost within 10 minutes, more than this.
      lostEvents: 0,
    },

    // While a node does not answer scrapes, as a stalled one may not, its loops keep their
    // last reported state for this long. Longer than durations.absent.
    lastKnown: '10m',

    // A loop that is no longer reported counts as present for this long. Shorter than
    // durations.loop, or a short mount fires.
    loopGone: '5m',

    // How often the rules are evaluated: the states of loops are worth each scrape.
    intervals: {
      alerts: '15s',
      rules: '30s',
    },

    // Dashboards.
    tags: ['throttle-monitor', 'nfs'],
    nodeDashboardUID: 'throttle-monitor-node',
    fleetDashboardUID: 'throttle-monitor-fleet',
    refresh: '15s',
  },
}
