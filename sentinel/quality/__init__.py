"""Is a model still what it was: the probabilities of the next token after fixed prefixes, kept and compared."""
