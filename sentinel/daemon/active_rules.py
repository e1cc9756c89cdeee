"""The active rules, and the problems of their files."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import structlog

from sentinel.daemon.malloc import give_back
from sentinel.daemon.override_drift import Upgrades
from sentinel.daemon.supervisor import Supervisor
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.history import History
from sentinel.rulefiles.files import Loaded
from sentinel.rulefiles.override_age import sentence

#: By then every source has polled once, its readings are evaluated and the first checkpoint is made. Seconds.
SETTLED = 7.0
log = structlog.get_logger("sentinel")


class ActiveRules:
    """The last rule set loaded without mistakes. `use` hands it to the engine."""

    def __init__(self, loaded: Loaded, use: Callable[[RuleSet], None], supervisor: Supervisor, history: History) -> None:
        self.loaded = loaded
        #: every override, with what an upgrade changed in its rule
        self.overrides: list[dict[str, Any]] = []
        self._use = use
        self._supervisor = supervisor
        self._upgrades = Upgrades(history)

    def take(self, loaded: Loaded) -> None:
        """Use the loaded rules; with mistakes in them the old ones stay active."""
        if loaded.ruleset is not None:
            self.loaded = loaded
            self._use(loaded.ruleset)
            log.info("rules loaded", rules=len(loaded.ruleset.rules))
        self.report(loaded)
        # Not now: the caller of the reload still compares the new rules with the old.
        asyncio.get_running_loop().call_later(SETTLED, tidy)

    def report(self, loaded: Loaded) -> None:
        """Report problems of the rule files, in the status and in the log."""
        errors = [str(problem) for problem in loaded.errors]
        if errors:
            stay = f"judged without {', '.join(loaded.left_out)}" if loaded.left_out else "the old rules stay active"
            more = f" (and {len(errors) - 1} more: `sentinel rules lint`)" if len(errors) > 1 else ""
            # The supervisor logs a change of it too.
            self._supervisor.note("rules", "failed", f"{stay}: {errors[0]}{more}")
            for error in errors[1:]:
                log.warning(error)
        else:
            self._supervisor.note("rules", "up")
        if loaded.ruleset is not None:
            self.overrides = self._upgrades.look(loaded.ruleset.overrides)
            for one in self.overrides:
                if one["changed"]:
                    log.warning(sentence(one))


def tidy() -> None:
    """Collect garbage: checking the rules leaves 2 MB in reference cycles that nothing else collects for hours (measured)."""
    gc.collect()
    give_back()
