"""Opens files that others name: regular ones only, and only what the process that named them could open."""
