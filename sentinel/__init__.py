"""sentinel: a daemon that knows how llama-server fails."""

__version__ = "0.1.0"
