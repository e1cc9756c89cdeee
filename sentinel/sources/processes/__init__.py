"""llama-server processes: found, identified, sampled."""
