"""structlog, without rich: its development renderer loads that where it is installed, and cel always brings it along.

The daemon does not render with it, and it costs 82 modules and 4.8 MB of memory (measured).
"""

from __future__ import annotations

import sys

_HIDDEN = "rich" not in sys.modules
if _HIDDEN:
    # None makes an import of it fail as if it were not installed, which structlog is prepared for.
    sys.modules["rich"] = None  # type: ignore[assignment]

import structlog as structlog  # noqa: E402

if _HIDDEN:
    del sys.modules["rich"]
