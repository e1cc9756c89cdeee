"""The child that asks a server: `python -m sentinel.quality.daily.errand`, with an order on standard input and an `Outcome` on
standard output. Its memory is gone when it ends, and what a hostile server does to it ends there."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from sentinel.files.atomic import write_atomically
from sentinel.gguf.header import GgufError
from sentinel.gguf.imatrix import read
from sentinel.quality.answer import Answer
from sentinel.quality.asking import Plan, answers, in_order, plan
from sentinel.quality.comparison import FEWEST, Comparison, breakage, compare
from sentinel.quality.daily.guard import Guard, GuardedClient, Stopped, busy_slots
from sentinel.quality.daily.order import Order
from sentinel.quality.daily.outcome import Counted, Distance, Outcome, taken
from sentinel.quality.experts import FEWEST as FEWEST_USES
from sentinel.quality.experts import Incomparable, layers_of, whole
from sentinel.quality.http import Address, Trouble
from sentinel.quality.measurement import Measurement
from sentinel.quality.prefixes import VERSION, digest
from sentinel.quality.reference import MOST_BYTES, NotReference, decode, encode
from sentinel.sources.fs import Roots

#: Passes that make a reference, and those of a check: a second one only where the first found a shift.
LEARNED, CHECKED = 3, 2
_MOST_ORDER = 64 << 10
_OTHER_TOKENS = "the same model file makes other tokens of the same texts: the tokenizer changed"
_LARGER = "give its slots more context"
#: An answer that shows nothing: its prefix is not asked again.
_NOTHING = Answer(())
#: linux/prctl.h
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4


def main() -> int:
    """Do what the order says; exit code 0 whenever there is an outcome."""
    _shed_rights()
    with suppress(OSError):
        os.nice(10)
    order = taken(Order, json.loads(sys.stdin.buffer.read(_MOST_ORDER)))
    sys.stdout.write(json.dumps(asdict(Errand(order).run())))
    return 0


def count_experts() -> int:
    """Compare two importance matrices, whose paths are the arguments."""
    try:
        before, now = (read(path) for path in sys.argv[2:4])
        if not before.counts or not now.counts:
            raise Incomparable("one of them is of the older form, which keeps no counts", "llama-imatrix --output-format gguf")
        abandoned, judged, apart = whole(layers_of(before.counts, now.counts))
        found = Counted(abandoned=abandoned, judged=judged, divergence=apart)
        if not judged:
            found = Counted(f"no expert would be used {FEWEST_USES:g} times in that text", "make both with more --chunks")
    except GgufError as error:
        found = Counted(str(error), "make both with llama-imatrix, from the same text")
    except Incomparable as error:
        found = Counted(error.why, error.remedy)
    sys.stdout.write(json.dumps(asdict(found)))
    return 0


def _shed_rights() -> None:
    """The daemon's capabilities come with it through exec (capabilities(7), ambient): they are for reading /proc and logs, and
    who reads a stranger's answers needs none. Once cleared, another exec is without them. capset(2) is not allowed in the unit.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = next((line.split()[1] for line in status.splitlines() if line.startswith("CapAmb:")), "0")
    if os.geteuid() != 0 and int(held, 16) and ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0) == 0:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - itself


class Errand:
    """One check of one server."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._client = GuardedClient(Address(order.host, order.port), order.key, order.seconds)
        self._began = time.monotonic()
        self._spent = 0
        self._passes: list[dict[str, Answer]] = []
        self._plan: Plan | None = None
        self._past = self._read(order.past)

    def run(self) -> Outcome:
        """Ask, compare, keep; whatever goes wrong is in the outcome."""
        order = self._order
        guard = Guard(self._client, order.pid, order.ticks, order.parent, order.patience, Roots(proc=Path(order.proc)))
        try:
            self._require_idle()
            guard.start()
            outcome = self._asked()
        except Stopped as stopped:
            outcome = Outcome(stopped.end, str(stopped))
        except Trouble as error:
            outcome = Outcome("trouble", error.why, error.remedy)
        except OSError as error:
            outcome = Outcome("trouble", f"its answers cannot be kept: {error.strerror}", "look at the state folder")
        finally:
            guard.over.set()
        partial = outcome.end in ("request", "budget") and self._keep_partial()
        return replace(outcome, tokens=self._spent, seconds=round(time.monotonic() - self._began, 1), partial=partial)

    def _require_idle(self) -> None:
        """Before anything is asked that costs. Raises Stopped and Trouble."""
        status, props = self._client.get("/props")
        if status == 200 and isinstance(props, Mapping) and props.get("is_sleeping") is True:
            raise Stopped("asleep", "it has put its model away (--sleep-idle-seconds), and is not woken for this")
        if busy_slots(self._client):
            raise Stopped("busy", "a slot works")

    def _asked(self) -> Outcome:
        flags = tuple(self._order.flags.split(", ")) if self._order.flags not in ("", "none") else ()
        planned = self._plan = plan(self._client, flags, estimated=False)
        if len(planned.asked) < FEWEST:
            raise Trouble(f"only {len(planned.asked)} prefixes fit into its context of {planned.subject.context} tokens", _LARGER)
        past = self._past
        if past is not None and (past.prefix_version, past.prefixes) != (VERSION, digest()):
            # A newer sentinel asks other prefixes.
            past = None
        if past is not None and past.subject.vocabulary != planned.subject.vocabulary:
            if self._order.same_model:
                return self._described(planned, Distance("shifted", _OTHER_TOKENS, size="very large"))
            past = None
        measured, found = self._compared(planned, past)
        if found is not None:
            return self._held_against_better(self._described(planned, _distance(found)), measured)
        outcome = self._held_against_better(self._described(planned, _of_itself(measured)), measured)
        if outcome.past.verdict == "broken":
            return outcome
        made = replace(measured, made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        write_atomically(Path(self._order.past), encode(made).encode())
        return replace(outcome, learned=True)

    def _compared(self, planned: Plan, past: Measurement | None) -> tuple[Measurement, Comparison | None]:
        """The passes that are needed, and what they show; nothing is compared where they make the reference."""
        measured = self._measured(planned, 1)
        if past is not None:
            found = compare(past, measured)
            if found.verdict == "shifted":
                # Whatever disturbed one pass does not disturb two: the second has to show it by itself.
                both = self._measured(planned, CHECKED)
                second = replace(both, passes=both.passes[1:])
                found = compare(past, second)
                measured, found = (both, compare(past, both)) if found.verdict == "shifted" else (second, found)
            if found.verdict != "not comparable":
                return measured, found
            if len(set(past.answered()) & set(measured.answered())) < FEWEST:
                raise Trouble(found.why, _LARGER)
        return self._measured(planned, LEARNED), None

    def _described(self, planned: Plan, past: Distance) -> Outcome:
        return Outcome("done", build=planned.subject.build, weights=planned.subject.quantization, past=past)

    def _measured(self, planned: Plan, passes: int) -> Measurement:
        """So many passes, those of a check that was stopped among them. Raises Stopped and Trouble."""
        before = self._read(self._order.partial) if self._order.resume and not self._passes else None
        if before is not None and before.subject == planned.subject:
            self._passes = [dict(one) for one in before.passes]
        for number in range(passes):
            if number == len(self._passes):
                self._passes.append({})
            there = self._passes[number]
            for name, answer in answers(self._client, planned, number, skip=frozenset(there), before=self._before):
                there[name] = _NOTHING if answer is None else answer
        shown = [in_order(self._client, planned, _telling(found)) for found in self._passes[:passes]]
        return Measurement(planned.subject, tuple(shown), VERSION, digest(), tokens=self._spent)

    def _before(self, tokens: int) -> None:
        """Before each question. Raises Stopped."""
        if self._spent + tokens > self._order.budget:
            raise Stopped("budget", "the day's tokens are spent")
        if time.monotonic() - self._began > self._order.left:
            raise Stopped("budget", "the day's seconds are spent")
        if busy_slots(self._client):
            raise Stopped("request", "a slot works")
        self._spent += tokens

    def _keep_partial(self) -> bool:
        """For the next try with the same process; answers that show nothing are asked again."""
        passes = tuple(telling for found in self._passes if (telling := _telling(found)))
        if self._plan is None or not passes:
            return False
        with suppress(OSError):
            write_atomically(
                Path(self._order.partial), encode(Measurement(self._plan.subject, passes, VERSION, digest())).encode()
            )
            return True
        return False

    def _read(self, path: str) -> Measurement | None:
        """One of our own files; what cannot be read counts as not there."""
        try:
            with open(path, "rb") as stream:  # noqa: PTH123
                return decode(stream.read(MOST_BYTES + 1))
        except (OSError, NotReference):
            return None

    def _held_against_better(self, outcome: Outcome, measured: Measurement) -> Outcome:
        """The same with what the reference shows that the configuration names."""
        if self._order.reference_fd < 0:
            return outcome
        try:
            with os.fdopen(self._order.reference_fd, "rb") as stream:
                before = decode(stream.read(MOST_BYTES + 1))
        except (OSError, NotReference) as error:
            return replace(outcome, better=Distance("none", f"the reference {error}"))
        named = before.name or before.subject.model
        if before.subject.quantization:
            named += f" ({before.subject.quantization})"
        return replace(outcome, better=_distance(compare(before, measured)), better_name=named)


def _telling(found: Mapping[str, Answer]) -> dict[str, Answer]:
    return {name: answer for name, answer in found.items() if answer is not _NOTHING}


def _distance(found: Comparison) -> Distance:
    whole_ = found.whole
    numbers = {}
    if whole_ is not None:
        numbers = {
            "divergence": whole_.divergence.value,
            "low": whole_.divergence.low,
            "high": whole_.divergence.high,
            "noise": found.noise,
            "same_first": whole_.same_first.value,
            "change": whole_.change.value,
        }
    return Distance(found.verdict, found.why, found.broken, found.size.partition(":")[0], **numbers)


def _of_itself(measured: Measurement) -> Distance:
    """Of a first measurement: whether it works at all."""
    if (found := breakage(measured)) is not None:
        return Distance("broken", found.why, found.kind)
    return Distance("learned", "")


if __name__ == "__main__":
    sys.exit(count_experts() if sys.argv[1:2] == ["experts"] else main())
