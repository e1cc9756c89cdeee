"""The daemon: its objects, their wiring and their shutdown."""
