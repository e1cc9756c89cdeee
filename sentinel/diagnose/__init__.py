"""Offline evaluation of saved log files."""
