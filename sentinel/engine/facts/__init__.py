"""The present state: the signal catalogue, the last value of each signal, windows over time, events."""
