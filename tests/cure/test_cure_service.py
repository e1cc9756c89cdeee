"""What `sentinel cure` does with what the daemon says: it asks before it restarts, and a refusal is the end of it."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.cure.decide import Action
from sentinel.cure.service import Cure, Dry
from sentinel.model.json_form import iso

NOW = 1_796_000_000.0


def action(unit: str = "llama.service", per_hour: int = 2) -> Action:
    return Action(unit, frozenset({"server-wedged", "gpu-reset"}), frozenset(), unit, per_hour, 600.0, 0.0)


def alert(rule: str = "server-wedged", name: str = "llama.service", scope: str = "server") -> dict[str, Any]:
    return {
        "rule": rule, "entity": {"scope": scope, "name": name}, "cause": None, "fingerprint": f"{rule}/{name}", "state": "firing",
        "since": iso(NOW - 5),
    }  # fmt: skip


class FakeDaemon:
    """Keeps what is reported as the daemon does."""

    def __init__(self, *alerts: dict[str, Any], refuses: str = "") -> None:
        self.open = list(alerts)
        self.refuses = refuses
        self.past: list[dict[str, Any]] = []
        self.users: set[str] = set()

    def of_users(self) -> set[str]:
        return self.users

    def alerts(self) -> list[dict[str, Any]]:
        return self.open

    def history(self, since: float) -> list[dict[str, Any]]:
        return self.past

    def report(self, fingerprint: str, outcome: str) -> str:
        if not self.refuses:
            one = next(a for a in self.open if a["fingerprint"] == fingerprint)
            reason = {"begun": "restart", "failed": "restart-failed", "limit": "restart-limit"}[outcome]
            self.past.append({**one, "at": iso(NOW), "reason": reason})
        return self.refuses


class Lab:
    """A daemon, the units that were restarted, and what was said."""

    def __init__(self, daemon: FakeDaemon, *actions: Action, why: str = "") -> None:
        self.restarted: list[str] = []
        self.said: list[str] = []
        self.cure = Cure(actions, daemon, self._restart, lambda _, words: self.said.append(words), lambda: NOW)
        self._why = why

    def _restart(self, unit: str) -> str:
        self.restarted.append(unit)
        return self._why


def test_it_reports_first_restarts_once_and_looks_again() -> None:
    daemon = FakeDaemon(alert())
    lab = Lab(daemon, action())
    assert lab.cure.look() == 60.0
    assert lab.cure.look() == 60.0
    assert lab.restarted == ["llama.service"]
    assert [one["reason"] for one in daemon.past] == ["restart"]
    assert lab.said == ["restarts llama.service for server-wedged of llama.service"]


def test_what_the_daemon_refuses_is_not_done() -> None:
    lab = Lab(FakeDaemon(alert(), refuses="no alert fires"), action())
    lab.cure.look()
    lab.cure.look()
    assert lab.restarted == []
    assert lab.said == ["nothing is restarted for server-wedged of llama.service: no alert fires"]


def test_a_unit_of_a_user_with_the_name_of_one_of_roots_has_nothing_restarted() -> None:
    """His llama.service, while root's is stopped, is named as that one is: an alert about it started root's."""
    daemon = FakeDaemon(alert())
    daemon.users = {"llama.service"}
    lab = Lab(daemon, action())
    lab.cure.look()
    lab.cure.look()
    assert (lab.restarted, daemon.past) == ([], [])
    assert lab.said == [
        "nothing is restarted for server-wedged of llama.service: that server runs in a unit of a user's own systemd"
    ]


def test_of_a_users_own_cure_it_is_the_one() -> None:
    daemon = FakeDaemon(alert())
    daemon.users = {"llama.service"}
    restarted: list[str] = []

    def restart(unit: str) -> str:
        restarted.append(unit)
        return ""

    Cure([action()], daemon, restart, lambda *_: None, lambda: NOW, user=True).look()
    assert restarted == ["llama.service"]


@pytest.mark.parametrize("more", [{"silenced": 3}, {"state": "pending"}, {"since": None}])
def test_what_is_silenced_or_does_not_fire_is_left_alone(more: dict[str, Any]) -> None:
    lab = Lab(FakeDaemon({**alert(), **more}), action())
    lab.cure.look()
    assert lab.restarted == []


def test_a_refusal_of_systemd_is_reported_and_not_tried_again() -> None:
    daemon = FakeDaemon(alert())
    lab = Lab(daemon, action(), why="Access denied")
    lab.cure.look()
    lab.cure.look()
    assert lab.restarted == ["llama.service"]
    assert [one["reason"] for one in daemon.past] == ["restart", "restart-failed"]


def test_a_reset_of_a_gpu_restarts_each_unit_that_names_it() -> None:
    lab = Lab(FakeDaemon(alert("gpu-reset", "0000:03:00.0", "gpu")), action("a.service"), action("b.service"))
    lab.cure.look()
    assert lab.restarted == ["a.service", "b.service"]


def test_a_circle_is_stopped_and_reported_once() -> None:
    daemon = FakeDaemon(alert())
    daemon.past = [{**alert(), "fingerprint": f"earlier {n}", "at": iso(NOW - 1000 * n), "reason": "restart"} for n in (2, 1)]
    lab = Lab(daemon, action())
    lab.cure.look()
    lab.cure.look()
    assert lab.restarted == []
    (said,) = lab.said
    assert said.startswith("llama.service is not restarted for server-wedged of llama.service: it was 2 times in an hour")
    assert [one["reason"] for one in daemon.past[2:]] == ["restart-limit"]


def test_it_looks_again_when_the_pause_is_over() -> None:
    daemon = FakeDaemon(alert())
    daemon.past = [{**alert(), "fingerprint": "earlier", "at": iso(NOW - 570), "reason": "restart"}]
    assert Lab(daemon, action()).cure.look() == pytest.approx(30.0, abs=0.01)


def test_a_dry_run_reports_nothing_and_says_it_once() -> None:
    daemon = FakeDaemon(alert())
    said: list[str] = []
    cure = Cure([action()], Dry(daemon, lambda: NOW), lambda _: "", lambda _, words: said.append(words), lambda: NOW)
    cure.look()
    cure.look()
    assert said == ["restarts llama.service for server-wedged of llama.service"]
    assert daemon.past == []
