// Dashboards are not written yet.
{ grafanaDashboards+:: {} }
