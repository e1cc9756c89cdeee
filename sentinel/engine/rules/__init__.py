"""Compiled rules: expressions, templates, verdicts."""
