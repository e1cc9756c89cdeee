"""`sentinel serve`: a page, metrics and JSON for browsers, Prometheus and home dashboards. A client of the daemon's socket."""
