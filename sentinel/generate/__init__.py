"""Generated files: reference, journal catalog, manual page. For development."""
