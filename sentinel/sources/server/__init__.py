"""A llama-server asked over HTTP."""
