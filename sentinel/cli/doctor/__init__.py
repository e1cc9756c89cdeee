"""`sentinel doctor` and its probes."""
