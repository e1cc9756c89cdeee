"""Sources: one file each, the I/O beside its pure parse function. They report readings and decide nothing."""
