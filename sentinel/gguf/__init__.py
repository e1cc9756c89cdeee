"""Reads GGUF files: header, metadata, tensor types. Bounded in bytes and counts."""
