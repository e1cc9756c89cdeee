"""Rule files: where they are, decoding, checking, testing."""
