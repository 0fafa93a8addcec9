// Loops across nodes: one row of its own. Without panels the dashboard leaves the row out.
//
// `q.of(METRIC, MATCHERS)` selects series of the nodes that are chosen, `q.inCluster` and `q.node`
// make a column that opens the Node dashboard: see verdicts.libsonnet for a table that does.
function(config, q) []
