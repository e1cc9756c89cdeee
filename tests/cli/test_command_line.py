"""Every verb explains itself, and answers a mistake with one sentence and the exit code that README promises."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import structlog
from places import REPO

from sentinel.cli.main import main
from sentinel.cli.parser import _examples, parser
from sentinel.cli.verbs import VERBS

OK, CRITICAL, UNKNOWN = 0, 2, 3


def verbs(top: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each verb as the words that call it."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield (*before, name)
                yield from verbs(verb, (*before, name))


@pytest.fixture
def own_log() -> Iterator[None]:
    """`sentinel run` sets up sentinel's own log for the whole process."""
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("words", [(), *verbs(parser())], ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])

    assert ended.value.code == OK
    assert capsys.readouterr().out.startswith(f"usage: sentinel {' '.join(words)}".rstrip())


def test_every_example_is_a_command_that_exists() -> None:
    """`ssh -t host sentinel top` was once shown as a verb of sentinel."""
    for verb in VERBS.values():
        commands = [line.split() for line in _examples(verb.examples).splitlines() if line.startswith("  sentinel ")]
        assert all(words[1] in VERBS for words in commands), commands


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])

    number = capsys.readouterr().out.split()[1]
    assert number == metadata.version("llama-sentinel")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_fits_a_terminal(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixteen verbs had lines of up to 123 columns, broken in the midst of a word. A long command stays whole."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([verb, "--help"])

    assert not [line for line in capsys.readouterr().out.splitlines() if len(line) > 80 and not line.startswith("  sentinel ")]


@pytest.mark.parametrize("argv", [[], ["statsu"], ["status", "--jsno"], ["why"], ["rules"], ["diagnose"], ["rules", "show"]])
def test_what_argparse_refuses_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    assert ended.value.code == CRITICAL
    assert "error:" in capsys.readouterr().err


def options(words: tuple[str, ...]) -> set[str]:
    """What the verb takes."""
    at = parser()
    for word in words:
        (choices,) = [action.choices for action in at._actions if isinstance(action, argparse._SubParsersAction)]
        at = choices[word]
    return {option for action in at._actions for option in action.option_strings}


#: Verbs without a form for programs: a daemon, a screen, a page, a shell's script, and those whose output is such a form.
_PLAIN = {
    ("run",),
    ("top",),
    ("report",),
    ("serve",),
    ("mcp",),
    ("exec",),
    ("completion",),
    ("rules",),
    ("quality",),
    ("experts",),
    ("rules", "schema"),
    ("rules", "override"),
    ("rules", "new"),
    ("service",),
    ("service", "install"),
    ("service", "uninstall"),
}
#: What each verb that asks the daemon needs beside its name.
_ASKING = {
    ("status",): [], ("alerts",): ["--all"], ("why",): ["cpu-fallback"], ("watch",): [], ("reload",): [],
    ("silence",): ["load-oom", "--for", "2h", "--reason", "a test"], ("unsilence",): ["3"], ("record",): [],
    ("ack",): ["start-failed"], ("forget",): ["llama.service"],
}  # fmt: skip


def test_every_verb_with_output_has_it_as_json_too() -> None:
    assert {words for words in verbs(parser()) if "--json" not in options(words)} == _PLAIN


#: They go on without a daemon, or have tests of their own.
_ASKING_OTHERWISE = ("doctor", "exec", "top", "report", "notify", "cure", "quality", "serve", "mcp")


def test_every_verb_that_asks_the_daemon_is_tried_without_one() -> None:
    assert {words for words in verbs(parser()) if "--socket" in options(words) and words[0] not in _ASKING_OTHERWISE} == set(
        _ASKING
    )


@pytest.mark.parametrize("json_too", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("argv", [[*words, *more] for words, more in _ASKING.items()], ids=" ".join)
def test_without_a_daemon_one_sentence_says_how_to_start_it(
    argv: list[str], json_too: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sentinel.sock"

    code = main([*argv, *json_too, "--socket", str(path)])

    said = capsys.readouterr()
    assert code == UNKNOWN
    assert said.out == ""
    assert said.err.splitlines() == [f"sentinel: no daemon at {path}; start it with `sentinel run` or `systemctl start sentinel`"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["alerts", "--since", "yesterday"], "write a duration (2h, 3d) or a date"),
        (["diagnose", "NOWHERE"], "NOWHERE cannot be read: No such file or directory"),
        (["diagnose", "FOLDER"], "is a folder: name the log file in it"),
        (["diagnose", "LOG", "--kernel-log", "NOWHERE"], "NOWHERE cannot be read"),
        (["diagnose", "LOG", "--argv", "llama-server -m 'a"], "--argv is not a command line"),
        (["diagnose", "LOG", "--rules", "NOWHERE"], "NOWHERE: is not there; give a rule file or a folder"),
        (["rules", "show", "cpu-fallbak"], "did you mean 'cpu-fallback'"),
        (["rules", "list", "NOWHERE"], "NOWHERE: is not there"),
        (["rules", "test", "RULE"], "is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_on_standard_error_and_ends_with_2(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"NOWHERE": tmp_path / "NOWHERE", "FOLDER": tmp_path, "LOG": tmp_path / "a.log", "RULE": tmp_path / "a.toml"}
    files["LOG"].write_text("x\n", encoding="utf-8")
    files["RULE"].write_text('schema = 1\nid = "a"\n', encoding="utf-8")

    code = main([str(files.get(word, word)) for word in argv])

    told = capsys.readouterr()
    assert code == CRITICAL
    assert told.out == ""
    assert said in told.err
    assert "Traceback" not in told.err


def test_lint_names_file_place_and_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = tmp_path / "mine.toml"
    rule.write_text('schema = 1\nid = "mine"\nseverty = "warning"\ntitle = 7\n', encoding="utf-8")

    code = main(["rules", "lint", str(rule)])

    told = capsys.readouterr().out.splitlines()
    assert code == CRITICAL
    assert all(str(rule) in line for line in told[:-1])
    assert any("severty" in line and "did you mean 'severity'" in line for line in told)
    assert any("title" in line for line in told)


@pytest.mark.usefixtures("own_log")
def test_run_reports_every_mistake_of_its_configuration_and_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sentinel.toml"
    config.write_text("sockt = 'a'\n[intervals]\nhost = '1ms'\n", encoding="utf-8")

    code = main(["run", "--config", str(config)])

    told = capsys.readouterr().err.splitlines()
    assert code == CRITICAL
    assert any("sockt" in line and "did you mean 'socket'" in line for line in told)
    assert any("intervals.host" in line and "too short" in line for line in told)


@pytest.mark.usefixtures("own_log")
def test_run_without_its_configuration_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", "--config", str(tmp_path / "none.toml")])

    assert code == CRITICAL
    assert capsys.readouterr().err == f"sentinel: {tmp_path / 'none.toml'}: cannot be read: No such file or directory\n"


def test_a_file_that_is_no_log_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it: zeros, bytes that are no text, no line end."""
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(range(256)) * 40)

    code = main(["diagnose", str(file)])

    assert code == UNKNOWN
    assert "nothing can be said: none of the" in capsys.readouterr().out


def test_diagnose_as_json_is_an_object_a_line_that_ends_with_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    log = REPO / "tests/fixtures/logs/b10434-cpu-moe-lv4.log"

    code = main(["diagnose", str(log), "--argv", "llama-server -m moe.gguf -ngl 99", "--json"])

    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == CRITICAL
    assert [one["rule"] for one in objects[:-1] if one["state"] == "firing"] == ["routing-noise", "cpu-fallback"]
    assert set(objects[-1]) == {"unknown", "verdict", "runs"}


def test_every_target_that_make_help_names_is_there() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    told = subprocess.run(["make", "-C", str(REPO), "help"], capture_output=True, text=True, check=True).stdout
    targets = [words[1] for line in told.splitlines() if len(words := line.split()) > 1 and words[0] == "make"]

    missing = [
        t for t in targets if subprocess.run(["make", "-C", str(REPO), "-n", t], capture_output=True, check=False).returncode
    ]

    assert {"demo", "test", "lint", "install"} <= set(targets)
    assert not missing


def test_threads_that_search_do_not_abort_the_end_of_the_program() -> None:
    """A worker may be in RE2 when the daemon stops. Python's own end aborted (SIGABRT) in most runs of this."""
    program = (
        "import sys, threading, time, re2\n"
        "from sentinel.cli.main import program\n"
        "pattern, text = re2.compile('(a|b)*c'), 'ab' * 20000 + 'd'\n"
        "def search():\n"
        "    while True: pattern.search(text)\n"
        "for _ in range(8): threading.Thread(target=search, daemon=True).start()\n"
        "sys.argv = ['sentinel', 'completion', 'bash']\n"
        "program()\n"
    )
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False, cwd=REPO)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.rstrip().endswith("complete -o bashdefault -F _shtab_sentinel sentinel")
