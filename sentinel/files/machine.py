"""The name of this machine."""

from __future__ import annotations

import os

from sentinel.model.text import escape


def host_name() -> str:
    """As the kernel has it (uname(2)): it stands in every alert's JSON, for those who collect the alerts of several machines."""
    return escape(os.uname().nodename)
