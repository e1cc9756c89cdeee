"""How hard property tests look: `make properties` sets SENTINEL_EXAMPLES, a factor for the number of examples of each.

With it the examples are drawn anew in each run, without it they are the same (tests/conftest.py).
"""

from __future__ import annotations

import os

_FACTOR = float(os.environ.get("SENTINEL_EXAMPLES", "1"))


def examples(number: int) -> int:
    """So many, times the factor."""
    return max(1, round(number * _FACTOR))
