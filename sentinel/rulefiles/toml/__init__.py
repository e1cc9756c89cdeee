"""TOML documents with the position of each key, and tables that collect every mistake."""
