"""The live screen, driven as a person would, by the library's own pilot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

textual = pytest.importorskip("textual", reason="needs the extra: pip install 'llama-sentinel[top]'")

from textual.pilot import Pilot  # noqa: E402
from top_daemon import GIB, Said, alert, server  # noqa: E402

from sentinel.cli.top.app import Top  # noqa: E402

#: As a person sees it: the rows of the terminal.
Screen = list[str]
ADDRESSES = [f"127.0.0.1:{8080 + n}" for n in range(60)]


def shown(app: Top) -> Screen:
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


def drive(
    said: Said, steps: Callable[[Pilot[int], Top], Awaitable[None]] | None = None, size: tuple[int, int] = (80, 24)
) -> Screen:
    """The screen after the steps."""

    async def run() -> Screen:
        app = Top(said, every=0.05)
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: all_there(shown(app), said))
            if steps is not None:
                await steps(pilot, app)
            return shown(app)

    return asyncio.run(run())


def all_there(screen: Screen, said: Said) -> bool:
    """Every part has its first text."""
    marks = ("●", "✓", "*", "+")
    rows = sum(row.startswith(marks) for row in screen)
    return on(screen, "open alert") and rows >= min(1, len(said.servers)) + min(1, len(said.alerts))


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        await pilot.pause(0.02)
    pytest.fail("\n".join(["not within 8 s; shown:", *shown(pilot.app)]))  # type: ignore[arg-type]


def on(screen: Screen, *words: str) -> bool:
    return any(all(word in row for word in words) for row in screen)


def test_one_server_with_an_alert_says_on_80x24_what_is_wrong_and_what_to_do() -> None:
    screen = drive(Said([server(3)], [alert(3)]))
    assert len(screen) == 24
    assert on(screen[:1], "1 server", "1 critical")
    assert on(screen, "● gemma-3-3b :8083", "cpu-fallback", "70.6", "98%", "4.0G", "3.0G")
    assert on(screen, "GPU", "4.00 GiB of 16.0 GiB", "-ngl 99")
    assert on(screen, "memory", "2.00 GiB of 9.00 GiB")
    assert on(screen, "#0*", "1200/4096", "#1", "4000/4096")
    assert on(screen, "CRITICAL cpu-fallback", "since")
    assert on(screen, "gemma-3-3b :8083 answers from the CPU although -ngl 99")
    assert on(screen, "why this build has no GPU backend")
    assert on(screen, "fix Install a build with one")
    assert on(screen, "$ apt install llama")
    assert on(screen, "Radeon RX 7900 XTX", "15.0 GiB of 24.0 GiB", "97%", "301W", "71C")


def test_no_server_is_a_sentence_and_no_alert_is_one() -> None:
    screen = drive(Said())
    assert on(screen, "no llama-server runs here")
    assert on(screen[:1], "✓ no alert")


def test_a_server_that_is_known_by_its_log_alone_counts_as_one() -> None:
    """`0 servers` stood above its row."""
    screen = drive(Said([server(1, running=False, process_seen=False), server(2, running=False)]))
    assert on(screen[:1], "1 server", "no alert")


def test_a_load_has_its_progress_the_time_left_and_the_forecast() -> None:
    said = Said([server(1, state="loading", load_share=0.45, need_bytes=12 * GIB, contexts=[], ctx_per_slot=None)])
    said.seconds_left = {ADDRESSES[1]: 83.0}
    screen = drive(said)
    assert on(screen, "gemma-3-1b", "loading 45%")
    assert on(screen, "loading", "45% of 5.00 GiB", " left")
    assert on(screen, "memory", "2.00 GiB of 9.00 GiB", "needs 12.0 GiB: too much")
    assert on(screen, "context", "not known yet")


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (200, 60), (60, 20)])
def test_fifty_servers_fit_every_terminal(size: tuple[int, int]) -> None:
    said = Said([server(n) for n in range(50)], [alert(30), alert(7, "context-collapse", "warning")])

    async def last(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("end")
        await until(pilot, lambda: on(shown(app), "gemma-3-49b", "pid 4049") or on(shown(app), "gemma-3-49b :8129"))

    first, end = drive(said, size=size), drive(said, last, size=size)
    for screen in (first, end):
        assert len(screen) == size[1]
        assert {len(row) for row in screen} == {size[0]}
    rows = [row for row in first if row.startswith(("●", "✓"))]
    assert rows[0].startswith("● gemma-3-30b :8110 "), "two servers of one model differ by where they listen"
    # The worst first: what is chosen at the beginning is what one came for.
    assert "cpu-fallback" in rows[0]
    assert "context-coll" in rows[1]


def test_what_is_chosen_stays_chosen_when_others_come_and_go() -> None:
    said = Said([server(1), server(2), server(3)])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("down")
        await until(pilot, lambda: on(shown(app), "gemma-3-2b :8082 · pid 4002"))
        said.servers = [server(0), server(2), server(9)]
        await until(pilot, lambda: on(shown(app), "gemma-3-9b"))
        assert on(shown(app), "gemma-3-2b :8082 · pid 4002")
        said.servers = [server(9)]
        await until(pilot, lambda: on(shown(app), "gemma-3-9b :8089 · pid 4009"))

    drive(said, steps)


def test_a_daemon_that_goes_is_said_and_one_that_comes_back_is_shown() -> None:
    said = Said([server(1)])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        said.fault = "no daemon at /run/sentinel/sentinel.sock; start it with `sentinel run` or `systemctl start sentinel`"
        await until(pilot, lambda: on(shown(app)[:1], "NO DAEMON: no daemon at /run/sentinel/sentinel.sock"))
        whole = " ".join(line.strip() for line in shown(app)[:3])
        assert whole.endswith("or `systemctl start sentinel`; asking again every 2 s (below: what was last known)")
        assert on(shown(app), "gemma-3-1b")
        said.fault = ""
        said.servers = [server(2)]
        await until(pilot, lambda: on(shown(app)[:1], "1 server") and on(shown(app), "gemma-3-2b"))

    drive(said, steps)


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("w", ("why", "cpu-fallback", ADDRESSES[3])),
        ("enter", ("why", "cpu-fallback", ADDRESSES[3])),
        ("p", ("preflight", "--pid", "4003")),
        ("h", ("alerts", "--since", "24h")),
    ],
)
def test_a_key_opens_what_a_command_prints_and_escape_closes_it(key: str, asked: tuple[str, ...]) -> None:
    said = Said([server(3)], [alert(3)])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        await pilot.press(key)
        await until(pilot, lambda: on(shown(app), "line 2"))
        assert on(shown(app)[:1], f"sentinel {' '.join(asked)}")
        await pilot.press("escape")
        await until(pilot, lambda: on(shown(app), "CRITICAL cpu-fallback"))

    drive(said, steps)
    assert said.asked == [asked]


def test_an_alert_is_silenced_for_as_long_as_was_chosen() -> None:
    said = Said([server(3)], [alert(3), alert(3, "context-collapse", "warning")])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("tab")
        await pilot.press("down")
        await pilot.press("s")
        await until(pilot, lambda: on(shown(app), "Silence context-collapse on gemma-3-3b :8083 for"))
        await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: said.asked)
        await until(pilot, lambda: on(shown(app), "Silenced context-collapse"))

    drive(said, steps)
    assert said.asked == [("silence", "context-collapse", ADDRESSES[3], "2h")]


def test_a_silence_that_is_not_wanted_is_none() -> None:
    said = Said([server(3)], [alert(3)])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("s")
        await until(pilot, lambda: on(shown(app), "30 minutes"))
        await pilot.press("escape")
        await until(pilot, lambda: not on(shown(app), "30 minutes"))

    drive(said, steps)
    assert said.asked == []


def test_the_filter_shows_servers_and_alerts_of_a_name_and_escape_shows_all() -> None:
    said = Said([server(n) for n in range(12)], [alert(3), alert(11)])

    async def steps(pilot: Pilot[int], app: Top) -> None:
        await pilot.press("slash", *"3-11b")
        await until(pilot, lambda: not on(shown(app), "gemma-3-3b"))
        assert on(shown(app), "1 open alert")
        await pilot.press("enter")
        await until(pilot, lambda: on(shown(app), "gemma-3-11b :8091 · pid 4011"))
        # Keys are keys again, not letters of a name.
        await pilot.press("escape")
        await until(pilot, lambda: on(shown(app), "2 open alerts"))

    drive(said, steps)


def test_keys_without_anything_to_act_on_say_so() -> None:
    async def steps(pilot: Pilot[int], app: Top) -> None:
        for key, words in (("w", "No open alert is chosen"), ("s", "No open alert is chosen"), ("p", "No running server")):
            await pilot.press(key)
            await until(pilot, lambda words=words: on(shown(app), words))  # type: ignore[misc]

    drive(Said(), steps)


HOSTILE = "[red]boo[/red] \x1b[31m\x1b]0;title\x07 [@click=app.quit]x[/] \u202eevil \x9b2J 日本語日本語日本語日本語"


@pytest.mark.parametrize("size", [(80, 24), (120, 30)])
def test_hostile_names_are_inert(size: tuple[int, int]) -> None:
    bad: dict[str, Any] = dict.fromkeys(("name", "user", "gpu_layers_asked", "memory_left_where"), HOSTILE) | {"called": ""}
    entity = {"scope": "server", "name": HOSTILE}
    fixes = [{"do": HOSTILE, "command": f"echo {HOSTILE}\n{HOSTILE}", "risk": "", "verify": ""}]
    cause = {"id": "x", "text": HOSTILE, "confidence": "low"}
    loud = alert(1, entity=entity, called="", summary=HOSTILE, cause=cause, fixes=fixes)
    said = Said([server(1, **bad)], [loud])
    said.answer = HOSTILE
    said.fault = ""

    async def steps(pilot: Pilot[int], app: Top) -> None:
        for key in ("w", "escape", "s", "escape"):
            await pilot.press(key)
            await pilot.pause(0.1)
        said.fault = HOSTILE
        await until(pilot, lambda: on(shown(app)[:1], "NO DAEMON"))

    for screen in (drive(said, size=size), drive(said, steps, size=size)):
        text = "\n".join(screen)
        assert "[red]boo[/red]" in text
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
        said.fault = ""


def test_without_colour_the_state_is_in_the_signs_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = drive(Said([server(3), server(4)], [alert(3)]))
    assert on(screen, "● gemma-3-3b", "cpu-fallback")
    assert on(screen, "✓ gemma-3-4b", "ok")


def test_a_terminal_without_unicode_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    screen = drive(Said([server(3)], [alert(3)]))
    # The scroll bar is the library's.
    assert all(row[:-1].isascii() for row in screen)
    assert on(screen, "* gemma-3-3b", "cpu-fallback")
