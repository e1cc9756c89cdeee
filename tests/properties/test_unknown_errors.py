"""No error line of a log is passed over: what nobody understood is quoted in the answer, and is no 'no failure is named'.

The lines are made up in the manner of llama.cpp's, so that no pattern knows them. Where the table of its own messages is at hand
(`../shared/reference`), a sample of that is tried as well.
"""

from __future__ import annotations

import contextlib
import io
import random
import re
from pathlib import Path

import pytest
from effort import examples

from sentinel.cli.diagnose_screen import show
from sentinel.diagnose.answer import verdict
from sentinel.diagnose.diagnosis import diagnose
from sentinel.engine.rules.ruleset import RuleSet

#: Each with its level in builds that print one.
ERRORS = (
    "flange_init: failed to bend the flange (77)",
    "flange_init: error: the flange is bent",
    "ggml_flange_graph_bend: cannot bend node 7: fallback is off",
    "llama_flange: unable to reserve 17 flanges",
    "flange_plugin_load: could not find flange_entry in libflange.so",
    "gguf_flange: invalid flange magic 0x17, expected 0x18",
    "load_flange: unsupported flange version 9",
    "load_flange: flange type 4 is not supported by this backend",
    "llama_flange_set: n_flange must be a multiple of 32, got 33",
    "flange_cache: n_flange = 17 exceeds the maximum of 16",
    "flange_pool: out of flanges (asked for 64, have 3)",
    "flange_pool: not enough flanges for 3 slots",
    "flange_map: unknown flange 'left'",
    "flange_map: missing key flange.count",
    "flange_map: flange 'left' not found",
    "flange_bend: flange is too large for the bench (4096 > 1024)",
    "flange_bend: shape mismatch, 4 x 8 against 8 x 4",
    "flange_bend: insufficient torque for op BEND",
    "flange_bend: not implemented for type q9_9",
    "flange_io: permission denied: /dev/flange0",
    "flange_io: connection refused by 10.0.0.9:50052",
    "flange_io: no such device: flange7",
    "flange_io: unexpected end of the flange stream",
    "flange_check: the flange table is corrupted",
    "flange_check: incompatible flange rotation (3 instead of 4)",
    "flange_check: wrong flange tail (2 instead of 1)",
    "flange_check: bad flange header",
    "flange_check: duplicate flange 'left'",
    "flange_check: flange count does not match the bench",
    "flange_run: caught an exception: bent",
    "[bend_flange] error deserializing flange 3",
    "srv    load_flange: failed to get a flange for the bench",
    "slot  bend_flange: id  0 | task 10 | failed to bend, res = 3",
)
#: What is no error, in a healthy server's log.
HARMLESS = (
    "flange_init: flange 0 of 4 is bent",
    "flange_init: 0 of 4 flanges left",
    "flange_init: torque = 17.00 Nm, rotation = 3",
    "Warning: flange adapter invalid or not found.",
    "all slots are idle and system prompt is empty, clear the KV cache",
    "Image requires resizing: original size 1466 x 1792 scaling to max 1024 px",
)
HEADS = {
    "2024": "build: 3600 (0123abcd) with cc\nmain: loading model\n"
    "llama_model_loader: loaded meta data with 30 key-value pairs and 300 tensors from m.gguf\n",
    "2025": "build: 6800 (0123abcd) with cc\nmain: loading model\nsrv    load_model: loading model 'm.gguf'\n",
    "stamped": "0.00.001.000 I srv  llama_server: initializing ...\n0.00.002.000 I srv    load_model: loading model 'm.gguf'\n",
}
SERVES = "main: model loaded\nmain: server is listening on http://127.0.0.1:8080 - starting the main loop\n"
ASKED = "slot launch_slot_: id  0 | task 10 | processing task\n"
ANSWERED = "slot      release: id  0 | task 10 | stop processing: n_past = 485, truncated = 0\n"
GIVES_UP = "srv    load_model: failed to load model, 'm.gguf'\nmain: exiting due to model loading error\n"
#: What stands before and after the line.
PLACES = {
    "alone": ("", ""),
    "before the load": ("build: 6800 (0123abcd) with cc\n", ""),
    "last of a load": ("HEAD", ""),
    "in a load, then one line more": ("HEAD", "load_tensors: loading model tensors, this can take a while...\n"),
    "before the load is given up": ("HEAD", GIVES_UP),
    "an exception": ("HEAD", "terminate called after throwing an instance of 'std::runtime_error'\n  what():  bent\n"),
    "at a request": ("HEAD" + SERVES + ASKED, ANSWERED),
    "last of a server that serves": ("HEAD" + SERVES + ASKED, ""),
    "a segmentation fault": ("HEAD" + SERVES + ASKED, "Segmentation fault (core dumped)\n"),
}
#: Put before each line.
ENVELOPES = {
    "none": "",
    "docker compose": "llm-1  | ",
    "journal": "Nov 29 10:11:12 box llama-server[4711]: ",
}
PASSED_OVER = re.compile(r"no failure is named|the log ends while the model loads")


def answer(ruleset: RuleSet, log: str) -> tuple[str, str]:
    """The verdict and all that is said, in one line each."""
    found = diagnose(ruleset, [("server.log", log.encode())], [], {})
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show(found, files=True, kernel=False)
    return " ".join(verdict(found).split()), " ".join(out.getvalue().split())


def log_with(line: str, era: str, place: str, envelope: str = "") -> str:
    before, after = (part.replace("HEAD", HEADS[era]) for part in PLACES[place])
    stamped = f"0.00.700.100 E {line}" if era == "stamped" else line
    return "".join(f"{envelope}{one}\n" for one in (before + stamped + "\n" + after).splitlines())


@pytest.mark.parametrize("era", sorted(HEADS))
@pytest.mark.parametrize("place", sorted(PLACES))
def test_an_error_that_nobody_understood_is_quoted_and_not_passed_over(ruleset: RuleSet, era: str, place: str) -> None:
    for line in random.Random(f"{era} {place}").sample(ERRORS, min(len(ERRORS), examples(12))):
        said, whole = answer(ruleset, log_with(line, era, place))

        assert not PASSED_OVER.search(said), (line, said)
        assert "".join(line.split())[:60] in "".join(whole.split()), (line, whole)


@pytest.mark.parametrize("envelope", sorted(ENVELOPES))
@pytest.mark.parametrize("place", ["last of a load", "before the load is given up", "at a request"])
def test_so_it_is_behind_what_other_programs_put_before_it(ruleset: RuleSet, envelope: str, place: str) -> None:
    for line in ERRORS[::5]:
        said, whole = answer(ruleset, log_with(line, "2025", place, ENVELOPES[envelope]))

        assert not PASSED_OVER.search(said), (line, said)
        assert "".join(line.split())[:60] in "".join(whole.split()), (line, whole)


@pytest.mark.parametrize("place", ["last of a load", "alone"])
def test_the_verdict_itself_names_the_line(ruleset: RuleSet, place: str) -> None:
    for line in ERRORS[::4]:
        said, whole = answer(ruleset, log_with(line, "2025", place))

        assert " ".join(line.split()) in said
        assert "sentinel does not know" in said or "1 line reports an error" in said
        assert place == "alone" or "the newest build" in whole


@pytest.mark.parametrize("era", sorted(HEADS))
@pytest.mark.parametrize("line", HARMLESS)
def test_a_healthy_log_stays_quiet(ruleset: RuleSet, era: str, line: str) -> None:
    level = f"0.00.700.100 I {line}" if era == "stamped" else line
    said, _ = answer(ruleset, HEADS[era] + level + "\n" + SERVES + ASKED + level + "\n" + ANSWERED)

    assert said.startswith("no failure is named")


def test_a_start_that_stops_without_an_error_is_no_error(ruleset: RuleSet) -> None:
    said, _ = answer(ruleset, HEADS["2025"] + HARMLESS[0] + "\n")

    assert said == "the log ends while the model loads"


#: Macros of its table by which llama.cpp prints an error.
_ERROR_MACRO = re.compile(r"LOG_ERR|LOG_ERROR|SRV_ERR|SLT_ERR")
_FIELD = re.compile(r"%[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z|t|j)?[diuxXcpsfgeE%]")


@pytest.mark.corpus
def test_nor_is_any_of_llama_cpps_own_errors(ruleset: RuleSet, corpus: Path) -> None:
    table = corpus.parent / "reference" / "llama-server-format-strings.tsv"
    if not table.is_file():
        pytest.skip(f"no table of messages at {table}")
    rows = [row.split("\t") for row in table.read_text().splitlines() if not row.startswith(("#", "latest_location"))]
    errors = [row for row in rows if any(_ERROR_MACRO.search(cell) for cell in row[-2:])]
    assert len(errors) > 300
    number = min(len(errors), examples(40))
    for _, text, *cells in random.Random(7).sample(errors, number):
        line = _FIELD.sub(lambda found: "load_flange" if found[0][-1] == "s" else "17", text).split("\\n")[0].strip()
        if len(line) < 8:
            continue
        macro = next(cell for cell in reversed(cells) if cell != "-")
        line = f"srv    load_flange: {line}" if macro.startswith("SRV") else line
        # What a request handler says: before a model is loaded there is no request.
        of_requests = line.endswith("got exception: load_flange")
        for place in ("at a request",) if of_requests else ("last of a load", "before the load is given up", "at a request"):
            said, _ = answer(ruleset, log_with(line, "stamped", place))
            assert not PASSED_OVER.search(said), (line, place, said)
