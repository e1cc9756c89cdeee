"""Bytes to lines to envelope to named events. Pure: no I/O, no clock."""
