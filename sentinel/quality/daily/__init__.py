"""The daily check of each server, in the daemon: when it is due, a child process that asks, and what is kept of it."""
