"""What sentinel believes now: the signal catalogue, the store of facts, windows over time."""
