"""`sentinel top`: the live screen. Its library, Textual, is an extra of its own."""
