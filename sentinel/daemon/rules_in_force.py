"""The rules in force: taken when they were loaded, and what is wrong with their files."""

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
from sentinel.rulefiles.override import sentence

#: After every source has looked once, what it found has been judged and the first checkpoint was made. Seconds.
SETTLED = 7.0
log = structlog.get_logger("sentinel")


class RulesInForce:
    """The set that was loaded last without a mistake. `use` hands it to the engine."""

    def __init__(self, loaded: Loaded, use: Callable[[RuleSet], None], supervisor: Supervisor, history: History) -> None:
        self.loaded = loaded
        #: each override, with what an upgrade changed under it
        self.overrides: list[dict[str, Any]] = []
        self._use = use
        self._supervisor = supervisor
        self._upgrades = Upgrades(history)

    def take(self, loaded: Loaded) -> None:
        """Use what was loaded; a set with mistakes leaves the old one in force."""
        if loaded.ruleset is not None:
            self.loaded = loaded
            self._use(loaded.ruleset)
            log.info("rules loaded", rules=len(loaded.ruleset.rules))
        self.report(loaded)
        # Not at once: whoever asked for the reload still compares the new rules with the old.
        asyncio.get_running_loop().call_later(SETTLED, tidy)

    def report(self, loaded: Loaded) -> None:
        """What is wrong with the rule files, in the status and in the log."""
        errors = [str(problem) for problem in loaded.errors]
        if errors:
            stay = f"judged without {', '.join(loaded.left_out)}" if loaded.left_out else "the old rules stay in force"
            more = f" (and {len(errors) - 1} more: `sentinel rules lint`)" if len(errors) > 1 else ""
            # The supervisor logs it too, when it is news.
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
    """What checking the rules left in circles is 2 MB that nothing else collects for hours (measured)."""
    gc.collect()
    give_back()
