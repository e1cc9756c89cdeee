"""How hard property tests look: `make properties` sets SENTINEL_EXAMPLES, a factor for the number of examples of each.

With it each run draws others. Without it they are always the same (tests/conftest.py), and many of them find no more than few:
`make test` tries two fifths, `make test FULL=1` all.
"""

from __future__ import annotations

import os

_FACTOR = float(os.environ.get("SENTINEL_EXAMPLES") or (1.0 if os.environ.get("FULL") else 0.4))


def examples(number: int) -> int:
    """So many, times the factor."""
    return max(1, round(number * _FACTOR))
