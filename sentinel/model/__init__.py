"""Frozen data that every other part speaks in. Standard library only."""
