"""Follows log files, journals and the kernel log."""
