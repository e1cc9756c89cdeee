"""`sentinel exec`: starts a llama-server, keeps what it prints, and reports how it ended."""
