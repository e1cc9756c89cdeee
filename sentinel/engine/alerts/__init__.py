"""The life of an alert, from pending to resolved, and which changes of it notify."""
