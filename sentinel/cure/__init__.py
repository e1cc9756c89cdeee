"""`sentinel cure`: restarts units for alerts that a restart ends, as often as they may be. A client of the socket."""
