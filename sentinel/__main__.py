"""`python -m sentinel`."""

from sentinel.cli.main import program

program()
