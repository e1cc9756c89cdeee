"""What status, why and metrics answer, read from the engine. Plain data."""
