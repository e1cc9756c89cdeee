"""Who may say what in a server's log. Pure.

A log speaks for its server, but not every line is the server's: llama-server prints text of its clients. A grammar that it cannot
parse goes to stderr word for word (src/llama-grammar.cpp, fprintf), line ends, forged stamps and all; at a raised verbosity so do
prompts. Clients can have nothing printed before the server serves. So, for a server that serves and whose process is watched:

- a line that ends the process, or that fails a load, waits until the process has ended; it is dropped if the process lives on;
- the first line of a new run waits, with all that follows it, until the new process is seen;
- an unstamped line in a stamped log is no event;
- for a second after a grammar that was refused, only lines about requests are events.

In a saved log the process is not seen: there the unstamped lines right after a refused grammar are no events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sentinel.engine.facts.requests import TAKEN
from sentinel.engine.facts.state import EngineState
from sentinel.engine.log.claims import Matched
from sentinel.model.entity import Entity
from sentinel.model.event import EventDef
from sentinel.model.input_limits import MOST_WAITING_LINES
from sentinel.model.reading import Claim, ClaimedLines, LogLines

#: The event that announces a client's text.
CLIENT_TEXT = "grammar_refused"
#: Lines with which a process ends, or that only a start prints, beside those that set server.state to failed.
_ENDS = frozenset(
    {
        "gpu_error", "gpu_error_place", "sycl_error", "exception_text", "runtime_aborted", "split_missing", "projector_refused",
        "projector_as_model", "mtp_missing", "download_error", "model_not_fetched", "template_error", "no_cpu_backend",
        "model_rejected", "model_file_missing", "server_stopping",
    }
)  # fmt: skip
#: Those of them that come before a core dump.
_DEATHS = frozenset(
    {
        "gpu_error", "gpu_error_place", "gpu_fault", "sycl_error", "exception_thrown", "exception_text", "aborted",
        "runtime_aborted", "shell_told_end",
    }
)  # fmt: skip
#: What the runtime or a driver prints by itself, past llama.cpp's logger and so without a stamp, while the server goes on.
_BARE = frozenset({"gpu_submission_refused", "hip_no_code"})
_STOPPING = "server_stopping"
_LOADS = "model_loading"
_ASKED = "request_started"
#: Seconds after a refused grammar in which the text of a client may stand.
_RAW = 1.0
#: Lines of a saved log in which it may stand.
_RAW_LINES = 200
#: A start, or the failure of one, is dropped when the process was sampled alive this long after it. Seconds.
_OUTLIVED = 5.0
#: Anything else, and any line while no sample comes (the scan hangs), after this: a core dump of a large process takes as long.
_LONGEST = 60.0
#: A server that was asked to stop may finish long answers first. Seconds.
_LONGEST_STOP = 600.0
#: Read from /proc/PID for the very process: a newer one proves that it lives.
_PROOF = "server.rss_bytes"

#: The state before anything was read, for recordings made before it existed.
NOTHING_SAID: Mapping[str, Any] = MappingProxyType({"voices": [], "waiting": [], "catching_up": False})

Judgement = Literal["take", "wait", "drop"]
_NEVER = float("-inf")


@dataclass(slots=True)
class _Voice:
    stamped: bool = False
    served: bool = False
    #: when and at which line a client's text began
    raw_at: float = _NEVER
    raw_line: int = 0
    #: its log shows that it starts, and not yet that it serves
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line that is not accepted yet: the reading that it came in, with this line alone."""

    happened: float
    lines: ClaimedLines
    starts: bool

    def row(self) -> list[Any]:
        """Plain data for a snapshot."""
        one, claim = self.lines, self.lines.claims[0]
        said = [claim.event, claim.pattern_index, claim.elapsed, claim.wall, claim.port, dict(claim.fields), claim.text]
        kept = [one.at, one.source, one.kind, one.first, one.backlog, one.elapsed_base]
        return [self.happened, self.starts, kept, said]


class Authorship:
    """Judges each line of a server that a pattern claimed."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._voices: dict[Entity, _Voice] = {}
        self._waiting: dict[Entity, list[Waiting]] = {}
        #: after a restart of the daemon the log shows what happened meanwhile: starts in it are old
        self._catching_up: float | None = None

    def resumed(self) -> None:
        """State of an earlier run was loaded."""
        self._catching_up = float("-inf")

    def judge(self, entity: Entity, definition: EventDef, match: Matched, reading: LogLines | ClaimedLines) -> Judgement:
        """What becomes of this line."""
        voice = self._voices.get(entity)
        if voice is None:
            voice = self._voices[entity] = _Voice()
        if definition.name == CLIENT_TEXT:
            if voice.starts:
                # It has no clients yet: it is the grammar of its own command line, and what follows is its own as well. Taken for
                # a client's, the exception with which b10434 then ends was dropped (measured: in one of three ends).
                return "drop"
            voice.raw_at, voice.raw_line = reading.at, reading.first + match.line_index
            return "take"
        judged = self._judged(entity, voice, definition, match, reading)
        if judged == "take":
            # A start in the text of a client of a server that serves waits, and is none.
            if definition.starts_run:
                voice.starts = True
            elif voice.starts:
                voice.starts = not _says_ready(definition) and definition.name != _ASKED
        return judged

    def _judged(
        self, entity: Entity, voice: _Voice, definition: EventDef, match: Matched, reading: LogLines | ClaimedLines
    ) -> Judgement:
        stamped = match.stamped
        run = self._state.runs.get(entity)
        if run is None or not run.watched or run.gone:
            return self._of_saved(voice, match, reading, stamped=stamped)
        old = reading.backlog or self._is_catching_up(reading.at)
        if old and definition.starts_run:
            voice.served = voice.stamped = False
        elif voice.served or self._serves(entity):
            unsigned = not stamped and voice.stamped and not self._fronted(entity)
            if self._starts_waiting(entity):
                return "wait"
            if self._is_last_word(entity, definition):
                return "drop" if definition.name == _STOPPING and unsigned else "wait"
            if definition.starts_run and not old:
                return "wait"
            if definition.name not in TAKEN and (
                reading.at - voice.raw_at <= _RAW or (unsigned and definition.name not in _BARE)
            ):
                return "drop"
        voice.stamped = voice.stamped or stamped
        voice.served = voice.served or _says_ready(definition)
        return "take"

    def _of_saved(self, voice: _Voice, match: Matched, reading: LogLines | ClaimedLines, *, stamped: bool) -> Judgement:
        if stamped:
            voice.stamped, voice.raw_at = True, _NEVER
            return "take"
        if not voice.stamped or voice.raw_at == _NEVER:
            return "take"
        return "drop" if 0 <= reading.first + match.line_index - voice.raw_line <= _RAW_LINES else "take"

    def _is_catching_up(self, at: float) -> bool:
        if self._catching_up is None:
            return False
        if self._catching_up == float("-inf"):
            self._catching_up = at + 10.0
        if at > self._catching_up:
            self._catching_up = None
            return False
        return True

    def _serves(self, entity: Entity) -> bool:
        state = self._state.facts.last(entity, "server.state")
        return state is not None and state.value in ("ready", "sleeping")

    def _is_last_word(self, entity: Entity, definition: EventDef) -> bool:
        # A server that wakes loads its model again.
        return ends(definition) or (definition.name == _LOADS and self._serves(entity))

    def _fronted(self, entity: Entity) -> bool:
        """A front end prints its own lines, without stamps, between those of its llama-server."""
        front_end = self._state.facts.last(entity, "server.front_end")
        return front_end is not None and bool(front_end.value)

    def _starts_waiting(self, entity: Entity) -> bool:
        waiting = self._waiting.get(entity)
        return waiting is not None and any(one.starts for one in waiting)

    # --- lines that wait ---

    def wait(self, entity: Entity, claim: Claim, happened: float, reading: LogLines | ClaimedLines, *, starts: bool) -> None:
        """Keep a line until it is known whether the process has ended."""
        waiting = self._waiting.setdefault(entity, [])
        if len(waiting) >= MOST_WAITING_LINES:
            self._state.cuts.add(entity, f"lines about an end of the process, beyond {MOST_WAITING_LINES} while it lives")
            return
        first = reading.first + claim.line_index
        alone = Claim(0, claim.event, claim.pattern_index, claim.elapsed, claim.wall, claim.port, claim.fields, claim.text)
        lines = ClaimedLines(
            reading.at, reading.source, entity, 0, (alone,), reading.kind, first, reading.backlog, reading.elapsed_base
        )
        waiting.append(Waiting(happened, lines, starts))

    def ended(self, entity: Entity) -> tuple[list[Waiting], list[Waiting]]:
        """The process has ended: the lines of its run, and those of the next one, which count now."""
        self._voices.pop(entity, None)
        waiting = self._waiting.pop(entity, [])
        first = next((i for i, one in enumerate(waiting) if one.starts), len(waiting))
        return waiting[:first], waiting[first:]

    def said_before(self, entity: Entity) -> list[Waiting]:
        """A start counts at once: all that waited is of the run before it."""
        return self._waiting.pop(entity, [])

    def outlived(self, at: float) -> list[Waiting]:
        """Drop what the life of a process has refuted. Returns lines about requests that waited behind a start that never was."""
        free: list[Waiting] = []
        for entity, waiting in list(self._waiting.items()):
            proof = self._state.facts.last(entity, _PROOF)
            kept = [one for one in waiting if not _refuted(one, at, proof.at if proof is not None else float("-inf"))]
            gone = [one for one in waiting if one not in kept]
            if not gone:
                continue
            asked = [one for one in gone if one.lines.claims[0].event in TAKEN]
            free += asked
            if len(gone) > len(asked):
                what = "lines of its log about an end or a new start, while its process lives on"
                self._state.cuts.add(entity, what, len(gone) - len(asked))
            if kept:
                self._waiting[entity] = kept
            else:
                del self._waiting[entity]
        return free

    def forget(self, entity: Entity) -> None:
        """An entity was dropped."""
        self._voices.pop(entity, None)
        self._waiting.pop(entity, None)

    def dump(self) -> dict[str, Any]:
        """Plain data for a snapshot."""
        return {
            "voices": [
                [e.scope, e.name, v.stamped, v.served, None if v.raw_at == float("-inf") else v.raw_at, v.raw_line, v.starts]
                for e, v in self._voices.items()
            ],
            "waiting": [[e.scope, e.name, [one.row() for one in waiting]] for e, waiting in self._waiting.items()],
            "catching_up": self._catching_up if self._catching_up not in (None, float("-inf")) else self._catching_up is not None,
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned."""
        self._voices = {
            # `starts` is not in the state of before.
            Entity(scope, name): _Voice(stamped, served, float("-inf") if raw is None else raw, line, *starts)
            for scope, name, stamped, served, raw, line, *starts in data["voices"]
        }
        self._waiting = {}
        for scope, name, rows in data["waiting"]:
            entity = Entity(scope, name)
            self._waiting[entity] = [_waiting(entity, row) for row in rows]
        until = data["catching_up"]
        self._catching_up = until if isinstance(until, float) else float("-inf") if until else None


def ends(definition: EventDef) -> bool:
    """A line that a living server which has served cannot have printed of itself, or only as its last."""
    return definition.const.get("server.state") in ("failed", "stopping") or definition.name in _ENDS


def _says_ready(definition: EventDef) -> bool:
    return definition.const.get("server.state") == "ready"


def _refuted(one: Waiting, at: float, sampled: float) -> bool:
    name = one.lines.claims[0].event
    if name == _STOPPING:
        return at - one.lines.at >= _LONGEST_STOP
    # A process that dumps its core is still sampled.
    dies = name in _DEATHS
    return at - one.lines.at >= _LONGEST or (not dies and sampled - one.lines.at >= _OUTLIVED)


def _waiting(entity: Entity, row: Iterable[Any]) -> Waiting:
    happened, starts, (at, source, kind, first, backlog, base), said = row
    event, pattern, elapsed, wall, port, fields, text = said
    claim = Claim(0, event, pattern, elapsed, wall, port, fields, text)
    return Waiting(happened, ClaimedLines(at, source, entity, 0, (claim,), kind, first, backlog, base), starts)
