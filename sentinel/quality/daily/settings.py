"""What the configuration says of the daily check. Without `check` nothing else of this folder is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: A pass evaluates 4,800 tokens with gemma's tokenizer: this pays for three passes to learn, and one to check on the same day.
TOKENS_A_DAY = 20_000
#: One long prefix has 600 tokens; with less than a pass a day a check takes days, which is allowed.
LEAST_TOKENS_A_DAY = 1_000
DAY = 86_400.0
#: Seconds of a day that checks of one server may take: 2 %. A pass needs that much where it reads under three tokens a second.
SECONDS_A_DAY = 0.02 * DAY
IDLE, LEAST_IDLE = 300.0, 5.0
#: Seconds between two checks: more often is not "once a day", and costs more than is said of it.
LEAST_EVERY = 3_600.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is set for one server, named as `sentinel status` names it or by its port."""

    name: str = ""
    port: int = 0
    #: true or false for this one, whatever holds for the others
    check: bool | None = None
    #: a file whose first line is the server's API key
    api_key_file: Path | None = None
    #: a measurement of better weights, as `sentinel quality learn -o` writes it
    reference: Path | None = None
    #: importance matrices: of better weights, and of those that it serves
    experts: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class Daily:
    """All settings. Off unless `check` is set here, for all servers, or for one of them."""

    check: bool = False
    every: float = DAY
    #: a server that did nothing for so long is idle. Seconds
    idle: float = IDLE
    tokens_a_day: int = TOKENS_A_DAY
    servers: tuple[Chosen, ...] = ()

    @property
    def is_on(self) -> bool:
        """Some server is checked."""
        return self.check or any(one.check for one in self.servers)
