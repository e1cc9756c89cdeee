"""The polkit rule that lets the service's user restart the units of the configuration, and nothing else (polkit(8))."""

from __future__ import annotations

import json
from collections.abc import Iterable

#: systemd/sentinel-cure.service runs as this user.
USER = "sentinel-cure"
PLACE = "/etc/polkit-1/rules.d/50-sentinel-cure.rules"


def rules(units: Iterable[str]) -> str:
    """The file's text. systemd passes unit and verb as details of its action manage-units (org.freedesktop.systemd1(5))."""
    names = json.dumps(sorted(set(units)))
    return f"""\
// Made by `sentinel cure --polkit`: make it again after a change of the configuration.
polkit.addRule(function(action, subject) {{
    if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "{USER}"
            && action.lookup("verb") == "restart" && {names}.indexOf(action.lookup("unit")) >= 0) {{
        return polkit.Result.YES;
    }}
}});
"""
