"""What is known now: the signal catalogue, the last value of each signal, windows over time, events."""
