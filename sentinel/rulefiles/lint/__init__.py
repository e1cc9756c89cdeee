"""Checks of rule files beyond their syntax."""
