"""Frozen data types that all other parts share. Standard library only."""
