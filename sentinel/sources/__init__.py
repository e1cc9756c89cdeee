"""Readers of the world. One file a source; the reading beside its pure parse function; none of them decides anything."""
