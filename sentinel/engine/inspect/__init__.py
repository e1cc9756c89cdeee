"""The answers of status, why and metrics, read from the engine. Plain data."""
