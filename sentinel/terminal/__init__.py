"""Text for people on a terminal: colour by state, wrapping, names, times, an alert. Light: `sentinel status` waits for it."""
