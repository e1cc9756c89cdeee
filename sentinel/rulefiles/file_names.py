"""What the name of a rule file says of it."""

from __future__ import annotations

#: Tests of ``x.toml`` may stand in ``x.test.toml`` beside it; ``bases.toml`` serves tests alone. The daemon reads neither.
TESTS = ".test.toml"
BASES = "bases.toml"


def of_tests(file: str) -> bool:
    """Nothing in this file is part of an active rule."""
    return file.endswith(TESTS) or file == BASES or file.endswith(f"/{BASES}")


def beside(file: str) -> str:
    """The test file of a rule file, or the rule file of a test file."""
    return f"{file.removesuffix(TESTS)}.toml" if file.endswith(TESTS) else f"{file.removesuffix('.toml')}{TESTS}"
