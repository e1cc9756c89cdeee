"""Polls llama-server over HTTP."""
