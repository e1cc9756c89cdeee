"""Checks that a cause says no more than is known, and that a guess does not begin with what cannot be undone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentinel.engine.rules.template import Template, TemplateError
from sentinel.model.rule import CauseDef, FixDef, RuleDef
from sentinel.rulefiles.toml.tables import Findings

#: The words of a cause that says that it is none.
_ADMITS = re.compile(r"\bsentinel (?:knows no|has no cause|does not know|found no reason)\b")
#: What takes hours, removes something or changes the machine: nobody does that for a guess.
_DRASTIC = re.compile(
    r"\bre-?install|\bdownload|\bfetch\b.{0,40}\bagain\b|\bcmake\b|\brm -|\bsysctl\b|\bdrop_caches\b|\breset the GPU|\breboot\b"
    r"|^(?:Install|Update|Remove)\b.{0,40}\bdriver\b|^Take another file\b",
    re.IGNORECASE,
)


def check_claims(rule: RuleDef, findings: Findings) -> None:
    """Note each cause that claims too much, and each guess whose first advice is drastic."""
    for i, cause in enumerate(rule.causes):
        if not cause.when and len(rule.causes) > 1 and cause.confidence == "high" and not _quotes(cause.text):
            what = "stands for whatever no other cause fits: with confidence 'high' its text has to show a value that proves it"
            findings.warning(("cause", i, "confidence"), what)
        if cause.also and cause.confidence == "high":
            what = "is certain (confidence 'high'), and names others that may be it: it is 'medium' at most"
            findings.warning(("cause", i, "confidence"), what)
        if cause.confidence == "low":
            drastic = next((fix.do for fix in _first(cause) if _DRASTIC.search(f"{fix.do}\n{fix.command}")), None)
            if drastic is not None:
                what = f"is a guess (confidence 'low') and first advises what takes hours or cannot be undone: {drastic[:60]!r}"
                findings.warning(("cause", i), f"{what}; begin with what shows whether that is true")
        elif _ADMITS.search(cause.text):
            findings.warning(("cause", i, "confidence"), "says that sentinel has no cause for it: then its confidence is 'low'")


def _first(cause: CauseDef) -> Iterator[FixDef]:
    """The fixes that may be shown first."""
    for fix in cause.fixes:
        if not fix.otherwise:
            yield fix
            if not fix.when and fix.builds is None:
                return


def _quotes(text: str) -> bool:
    try:
        return bool(Template.parse(text).names)
    except TemplateError:
        return False
