"""Log files, journals and the kernel log, followed."""
