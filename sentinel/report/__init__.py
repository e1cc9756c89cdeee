"""One self-contained HTML page: what happened, alerts over plots, what to do. Made of data that others fetched; the daemon
never imports it."""
