"""Checks of rule files, beyond their form."""
