"""Replaying: the same bytes in every process, today's rules and patterns on an old recording, and what other rules would do."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flights import EPOCH, READY, START, UNIT, Run, fallback, text
from places import REPO

from sentinel import recording
from sentinel.cli.main import main
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, Reading, ServerFound, ServerGone, Tick
from sentinel.recording import Recording
from sentinel.recording.archive import lines
from sentinel.recording.replay import difference, replay
from sentinel.rulefiles.files import load_paths, shipped


@pytest.fixture
def incident(ruleset: RuleSet, tmp_path: Path) -> Path:
    """A fallback that comes, goes with its server, and comes again, as `sentinel record` saves it."""
    run = Run(ruleset, tmp_path / "recordings")
    run.feed(fallback(0, 30))
    run.feed([ServerGone(EPOCH + 31, "process", UNIT, 77), *(Tick(EPOCH + second) for second in range(32, 150))])
    run.feed(fallback(200, 30))
    path = tmp_path / "incident.jsonl.gz"
    path.write_bytes(b"".join(run.recorder.content()))
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the shipped rules, to be changed."""
    shutil.copytree(shipped(), tmp_path / "rules")
    return tmp_path / "rules"


def edit(file: Path, old: str, new: str) -> None:
    was = file.read_text(encoding="utf-8")
    assert old in was
    file.write_text(was.replace(old, new), encoding="utf-8")


def load(folder: Path) -> RuleSet:
    found, problems = load_paths([folder])
    assert found is not None, problems
    return found


def sentinel(*words: str, seed: str = "0") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "sentinel", *words],
        capture_output=True,
        check=False,
        cwd=REPO,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


def test_each_process_prints_the_same_bytes(incident: Path) -> None:
    """Sets of text are in another order in each process; nothing that is reported may depend on it."""
    printed = {(done.stdout, done.returncode) for done in (sentinel("replay", str(incident), "--json", seed=s) for s in "1234")}
    ((out, code),) = printed
    told = [json.loads(line) for line in out.splitlines()]
    assert [t["state"] for t in told if t["rule"] == "cpu-fallback"] == ["pending", "firing", "resolved", "pending", "firing"]
    assert code == 2


def test_the_same_rules_show_no_difference(incident: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(incident), "--diff", str(rules)]) == 0
    assert re.fullmatch(r"no difference in \d+ transitions\n", capsys.readouterr().out)


def test_a_longer_hold_is_shown_as_a_change_of_time(
    incident: Path, rules: Path, ruleset: RuleSet, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(rules / "cpu-fallback.toml", 'for = "5s"', 'for = "9s"')
    found = difference(replay(Recording(lines(str(incident))), ruleset), replay(Recording(lines(str(incident))), load(rules)))
    changed = [d for d in found if d.kind == "changed"]
    assert [d.before.at - EPOCH for d in changed if d.before and d.before.at] == [6, 206]
    assert [d.after.at - EPOCH for d in changed if d.after and d.after.at] == [10, 210]
    assert all(d.keys == ("at",) for d in changed)
    assert len(changed) == len(found)

    assert main(["replay", str(incident), "--diff", str(rules)]) == 0
    out = capsys.readouterr().out
    assert "~ 2026-11-24T06:00:06.000Z cpu-fallback pending -> firing (hold-elapsed) llama.service: " in out
    assert "    at: 2026-11-24T06:00:06.000Z -> 2026-11-24T06:00:10.000Z" in out
    assert out.endswith("2 changed\n")


def test_a_hold_that_is_never_over_removes_the_alert_and_a_new_rule_adds_its_own(
    incident: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(rules / "cpu-fallback.toml", 'for = "5s"', 'for = "3600s"')
    mine = (rules / "cpu-fallback.toml").read_text(encoding="utf-8")
    mine = mine.replace('id = "cpu-fallback"', 'id = "mine"').replace('for = "3600s"', 'for = "1s"')
    mine = re.sub(r'message_id = "\w+"', 'message_id = "0123456789abcdef0123456789abcdef"', mine)
    (rules / "mine.toml").write_text(mine, encoding="utf-8")
    shutil.copy(rules / "cpu-fallback.test.toml", rules / "mine.test.toml")
    assert main(["replay", str(incident), "--diff", str(rules), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    removed = [r["before"]["state"] for r in rows if r["difference"] == "removed"]
    added = [(r["after"]["rule"], r["after"]["state"]) for r in rows if r["difference"] == "added"]
    assert removed.count("firing") == 2
    assert added.count(("mine", "firing")) == 2
    assert all(r["before"] is None for r in rows if r["difference"] == "added")


def test_rules_that_were_changed_since_are_named(incident: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["replay", str(incident)])
    assert "other rules than then" not in capsys.readouterr().out
    edit(rules / "cpu-fallback.toml", 'for = "5s"', 'for = "6s"')
    main(["replay", str(incident), "--rules", str(rules)])
    assert "other rules than then: cpu-fallback\n" in capsys.readouterr().out


def test_an_alert_that_was_open_at_the_beginning_is_reported_and_goes_on(
    ruleset: RuleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(ruleset, tmp_path / "recordings", stretch=20)
    run.feed(fallback(0, 60))
    run.recorder._parts.popleft()
    run.feed([ServerGone(EPOCH + 61, "process", UNIT, 77), *(Tick(EPOCH + 62 + second) for second in range(60))])
    path = tmp_path / "late"
    path.write_bytes(b"".join(run.recorder.content()))
    found = replay(Recording(lines(str(path))), ruleset)
    assert "cpu-fallback" in [t.rule for t in found.standing]
    assert [(t.state, t.reason) for t in found.transitions if t.rule == "cpu-fallback"] == [("resolved", "server-gone")]
    main(["replay", str(path)])
    assert "open when it begins: critical cpu-fallback: llama.service runs on the CPU" in capsys.readouterr().out


def test_an_event_that_has_another_pattern_now_is_looked_for_in_what_was_kept(
    ruleset: RuleSet, rules: Path, tmp_path: Path
) -> None:
    """Yesterday's patterns missed a field; today's find it in the part of the line that evidence keeps."""
    old = tmp_path / "old"
    shutil.copytree(rules, old)
    events = next(f for f in (old / "events").glob("*.toml") if "llama_server: listening on" in f.read_text(encoding="utf-8"))
    assert "server.state" in events.read_text(encoding="utf-8")
    stale = re.sub(r'const = \{ "server.state" = "ready" \}', 'const = { "server.state" = "loading" }', events.read_text())
    events.write_text(stale, encoding="utf-8")
    run = Run(load(old), tmp_path / "recordings")
    told = run.feed(fallback(0, 30))
    path = tmp_path / "x"
    path.write_bytes(b"".join(run.recorder.content()))
    assert not [t for t in told if t.rule == "cpu-fallback" and t.state == "firing"]
    again = replay(Recording(lines(str(path))), ruleset)
    assert [t for t in again.transitions if t.rule == "cpu-fallback" and t.state == "firing"]
    assert text(replay(Recording(lines(str(path))), load(old)).transitions) == text(told)


def test_a_reload_is_in_the_recording_and_replays(ruleset: RuleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(ruleset, tmp_path / "recordings")
    before = run.feed(fallback(0, 20))
    run.recorder.rules_changed(ruleset, EPOCH + 21)
    during = run.engine.use(ruleset, EPOCH + 21)
    after = run.feed(Tick(EPOCH + 22 + second) for second in range(10))
    path = tmp_path / "x"
    path.write_bytes(b"".join(run.recorder.content()))
    assert text(replay(Recording(lines(str(path))), ruleset).transitions) == text([*before, *during, *after])
    main(["replay", str(path)])
    assert "rules were loaded at 2026-11-24T06:00:21.000Z" in capsys.readouterr().out


class TestMistakes:
    """Each is one sentence on standard error with the file, and exit code 2."""

    def refused(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert main(["replay", *words]) == 2
        streams = capsys.readouterr()
        assert streams.out == ""
        assert streams.err.count("\n") == 1
        return streams.err

    def test_a_file_that_is_not_there(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        said = self.refused(capsys, str(tmp_path / "none"))
        assert said == f"sentinel: {tmp_path / 'none'}: cannot be read: No such file or directory\n"

    def test_a_folder(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert "Is a directory" in self.refused(capsys, str(tmp_path))

    def test_a_log_instead_of_a_recording(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "server.log").write_bytes(START + READY)
        assert "server.log: line 1: this is no recording of sentinel" in self.refused(capsys, str(tmp_path / "server.log"))

    def test_a_hostile_name_and_content_reach_no_terminal(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "a\x1b[2Jb"
        path.write_bytes(b'{"sentinel_recording": 2}\n{"type": "\\u001b[2J", "at": 1}\n')
        said = self.refused(capsys, str(path))
        assert "\x1b" not in said
        assert "line 2: not a reading" in said

    def test_diff_of_a_pipe(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "give a file instead of -" in self.refused(capsys, "-", "--diff", "x")

    def test_rules_that_are_wrong(self, capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text("schema = ")
        assert "bad.toml" in self.refused(capsys, str(incident), "--diff", str(tmp_path / "bad.toml"))

    def test_a_recording_that_was_cut_is_judged_as_far_as_it_goes(
        self, capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path
    ) -> None:
        whole = gzip.decompress(incident.read_bytes()).splitlines(keepends=True)
        (tmp_path / "cut").write_bytes(b"".join(whole[:-30]))
        assert main(["replay", str(tmp_path / "cut")]) == 2
        streams = capsys.readouterr()
        assert "runs on the CPU" in streams.out
        assert streams.err == f"sentinel: {tmp_path / 'cut'}: the recording is cut short; what is there was judged\n"


def test_a_large_recording_costs_little_memory(ruleset: RuleSet, tmp_path: Path) -> None:
    """40 MB of readings, one process, less than 40 MB more than for a small one."""
    path = tmp_path / "large.gz"
    many = b"x\n" * 10
    story: list[Reading] = [*fallback(0, 20)]
    with gzip.open(path, "wb", 1) as stream:
        run = Run(ruleset, tmp_path / "r")
        run.feed(story)
        rows = gzip.decompress(b"".join(run.recorder.content())).splitlines(keepends=True)
        stream.write(b"".join(rows[:-1]))
        filler = recording.row(LogLines(EPOCH + 21, "server.log" * 20, UNIT, many))
        for _ in range(40_000_000 // len(filler)):
            stream.write(filler)
    code = (
        "import resource,sys; from sentinel.cli.main import main; main(['replay', sys.argv[1], '--json']); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )

    def peak(file: Path) -> int:
        done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, check=True, text=True, cwd=REPO)
        return int(done.stderr.splitlines()[-1])

    small = tmp_path / "small"
    small.write_bytes(b"".join(rows))
    assert peak(path) - peak(small) < 40_000


def _ticks() -> Iterator[Reading]:
    """Many servers with an open question, and ticks over ten thousand years."""
    yield from (ServerFound(EPOCH, "process", Entity("server", f"s{n}"), n, EPOCH, {}) for n in range(1_000))
    yield from (Tick(EPOCH + 3e7 * n) for n in range(10_000))


def _starts() -> Iterator[Reading]:
    """Lines that each begin a run, seven megabytes in one reading."""
    line = b"0.00.212.903 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
    yield from (LogLines(EPOCH + n, "server.log", UNIT, line * (7_000_000 // len(line))) for n in range(7))


_BOUNDED = """
import re, resource, sys
import sentinel.cli.replay as command
from sentinel.cli.main import main
command.MOST_SECONDS = 1.0
code = main(["replay", sys.argv[1], "--json"])
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: a child of a large process inherits that one's.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(code, used.ru_utime + used.ru_stime, int(peak[1]) // 1024)
"""


@pytest.mark.parametrize(("story", "packed"), [(_ticks, 40_000), (_starts, 200_000)])
def test_a_hostile_recording_is_refused_within_its_bounds(
    story: Callable[[], Iterator[Reading]], packed: int, tmp_path: Path
) -> None:
    """Packed they have some ten and some hundred kilobytes, and once took a minute, 26 minutes and 505 MB. The limit is a
    second here; what one reading may take comes on top."""
    path = tmp_path / "hostile.gz"
    with gzip.open(path, "wb", 9) as stream:
        stream.write(b'{"sentinel_recording": 2}\n')
        for reading in story():
            stream.write(recording.row(reading))
    assert path.stat().st_size < packed

    done = subprocess.run(
        [sys.executable, "-c", _BOUNDED, str(path)], capture_output=True, check=True, text=True, cwd=REPO, timeout=110
    )

    code, seconds, megabytes = map(float, done.stdout.split())
    assert code == 2
    assert "not replayed within 1 s, and no recording of a daemon takes as long" in done.stderr
    assert seconds < 15
    assert megabytes < 250


def test_a_silence_set_and_ended_in_between_replays(ruleset: RuleSet, tmp_path: Path) -> None:
    run = Run(ruleset, tmp_path / "recordings")
    told = run.feed(fallback(0, 3))
    made = run.engine.silences.add("cpu-fallback", "", EPOCH + 3, 3600.0, "maintenance", "me")
    run.recorder.silence_changed(made, run.engine, EPOCH + 3)
    told += run.engine.silence(made, EPOCH + 3)
    told += run.feed(fallback(4, 30))
    ended = run.engine.silences.end(made.id)
    assert ended is not None
    run.recorder.silence_changed(ended, run.engine, EPOCH + 40)
    told += run.engine.silence(ended, EPOCH + 40)
    told += run.feed(Tick(EPOCH + 41 + second) for second in range(5))
    path = tmp_path / "x"
    path.write_bytes(b"".join(run.recorder.content()))
    assert text(replay(Recording(lines(str(path))), ruleset).transitions) == text(told)
    assert [t.reason for t in told if t.rule == "cpu-fallback" and t.reason == "silence-ended"] == ["silence-ended"]
