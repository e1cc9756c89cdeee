"""Restarts of a unit for an alert, by the reason of their transition."""

#: For people. Imports nothing: a command that shows an alert pays for all that it loads.
RESTART_WORDS = {
    "restart": "its unit is restarted for it",
    "restart-failed": "restarting its unit for it was refused",
    "restart-limit": "its unit was restarted as often as it may be, and is left alone",
}
