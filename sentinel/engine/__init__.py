"""Readings in, transitions out. Pure and synchronous: no clock, no I/O, no locks, no logging."""
