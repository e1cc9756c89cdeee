"""Libraries without what they bring along and the daemon has no use for.

structlog loads rich for its development renderer where that is installed, and cel always brings it along: 82 modules, 4.8 MB.
asyncio and hashlib load OpenSSL where it is there: 5 MB for a daemon that speaks over unix sockets and the loopback, and
hashes with BLAKE2, which is Python's own (all measured). Each of them is prepared for these not to be installed.
zoneinfo, which apscheduler brings, reads all that is known of how Python was built to find where time zones are: 0.7 MB, for a
daemon that schedules in UTC. PYTHONTZPATH answers that question; it is there for the import alone.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

#: A Python that was built without hashes of its own (RHEL's) needs OpenSSL's, and says so loudly.
_OWN_HASHES = all(find_spec(name) for name in ("_md5", "_blake2")) and any(find_spec(name) for name in ("_sha256", "_sha2"))
_UNWANTED = ("rich", "ssl", "_hashlib") if _OWN_HASHES else ("rich", "ssl")
#: where CPython looks by default (configure --with-tzpath)
_TZPATH = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
_HIDDEN = [name for name in _UNWANTED if name not in sys.modules]
for name in _HIDDEN:
    # None makes an import of it fail as if it were not installed.
    sys.modules[name] = None  # type: ignore[assignment]

import asyncio as asyncio  # noqa: E402
import hashlib as hashlib  # noqa: E402

import structlog as structlog  # noqa: E402

_ASKED = "PYTHONTZPATH" not in os.environ
if _ASKED:
    os.environ["PYTHONTZPATH"] = _TZPATH
import zoneinfo as zoneinfo  # noqa: E402

if _ASKED:
    del os.environ["PYTHONTZPATH"]

for name in _HIDDEN:
    del sys.modules[name]
