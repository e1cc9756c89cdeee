"""Advice is for this build: every flag that a fix tells to type is accepted where the fix is shown, and said how to add."""

from __future__ import annotations

import pytest

from sentinel.llama.flags_in_text import builds, problems
from sentinel.model.alert import Fix
from sentinel.model.builds import BuildRange, common
from sentinel.model.entity import Value
from sentinel.model.rule import CaseDef, ExpectDef, FixDef
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.runner import run_case


def fix(do: str = "Do it", command: str = "", *, flags: str = "", low: int | None = None, high: int | None = None) -> FixDef:
    offered = None if low is None and high is None else BuildRange(low, high)
    return FixDef(do=do, command=command, flags=flags, builds=offered)


class TestWhatIsRejected:
    @pytest.mark.parametrize(
        ("advice", "says"),
        [
            (fix(flags="--mlock", low=10878), "'--mlock' is accepted by builds -b10867"),
            (fix("Start without --mlock", high=10883), "'--mlock' is accepted by builds -b10867"),
            (fix(flags="--load-mode mmap", low=8650), "'--load-mode' is accepted by builds b10434-"),
            (fix(flags="-fa on", low=4580), "'-fa' with a value is accepted by builds b6325-"),
            (fix(flags="-fa", low=8650), "'-fa' without a value is accepted by builds -b6324"),
            (fix(flags="--flash-attn --defrag-thold 0.1", low=8650), "'--flash-attn' without a value"),
            (fix("Give it more (add `--ctx-sise 8192` to the command line of llama-server)"), "did you mean '--ctx-size'"),
            (fix("Give it more with --ctx-sise, or less"), "'--ctx-sise' is no flag"),
            (fix(command="llama-server --list-device"), "did you mean '--list-devices'"),
            (fix(command="cmake -B build -DGGML_HIPBLAS=ON"), "write -DGGML_HIP"),
        ],
    )
    def test_a_flag_or_option_that_the_build_does_not_take(self, advice: FixDef, says: str) -> None:
        (found,) = problems(advice)
        assert says in found

    def test_flags_of_which_no_build_has_both(self) -> None:
        both = fix(flags="--mlock --kv-unified-per-slot 4096")
        assert builds(both) is None
        assert len(problems(both)) == 2


class TestWhatIsNot:
    @pytest.mark.parametrize(
        "advice",
        [
            fix(flags="-c {server.ctx_requested} -np 1"),
            fix("Halve the cache", flags="-ctk q8_0 -ctv q8_0 -fa on", low=6448),
            fix("Pass it through (add `--device /dev/kfd --group-add video` to the docker run command)"),
            fix("A word-with-hyphens, q8_0 - q4_0, 1-2 of them"),
            fix(command="sudo systemctl edit --full llama.service && sudo systemctl restart llama.service"),
            fix(command="cmake -B build -DGGML_HIP=ON -DGPU_TARGETS=gfx1100"),
            fix(command="journalctl -u llama-server -p warning --no-pager"),
            fix(command="lspci -nn -d ::0300"),
        ],
    )
    def test_what_is_accepted_or_belongs_to_another_program(self, advice: FixDef) -> None:
        assert problems(advice) == []

    def test_a_fix_without_a_range_gets_that_of_its_flags(self) -> None:
        assert builds(fix(flags="-ctk q8_0 -ctv q8_0 -fa on --n-cpu-moe 4")) == BuildRange(6325, None)
        assert builds(fix("Start without --mlock")) == BuildRange(None, 10867)
        assert builds(fix(flags="-c 4096")) is None


def test_ranges_meet_or_they_do_not() -> None:
    assert common([BuildRange(4580, None), BuildRange(None, 9650)]) == BuildRange(4580, 9650)
    assert common([BuildRange(9000, None), BuildRange(None, 8999)]) is None


_RULE = """
schema = 1
id = "tried-out"
message_id = "00000000000000000000000000000abc"
title = "t"
severity = "warning"
scope = "server"
[check]
so = "server.ctx_per_slot < 4096"
[alert]
when = "so"
clear = "!so"
summary = "s"
[[cause]]
id = "one"
text = "t"
[[cause.fix]]
do = "Ask for more"
flags = "-c {server.ctx_requested} --context-shift"
verify = "llama-server --list-devices"
"""
_TESTS = "".join(
    f"""
[[test]]
name = "{state}"
given = {{ {given} }}
at = "1s"
expect = {{ state = "{state}" }}
"""
    for state, given in (
        ("firing", '"server.ctx_per_slot" = 512'),
        ("quiet", '"server.ctx_per_slot" = 8192'),
        ("unknown", '"server.unit" = ""'),
    )
)


def told(**facts: Value) -> Fix | None:
    """The fix of the rule above, as it is reported about a server of which these facts are known; None if it is not."""
    _, events, _ = read([shipped()])
    ruleset, found = load({"tried-out.toml": (_RULE + _TESTS).encode()}, events)
    assert ruleset is not None, found
    given = {f"server.{name}": value for name, value in facts.items()}
    case = CaseDef("", 1.0, ExpectDef("firing"), given={"server.ctx_per_slot": 512, "server.ctx_requested": 8192, **given})
    fixes = run_case(ruleset.rules["tried-out"], case, ruleset).transitions[-1].fixes
    return fixes[0] if fixes else None


def advice(**facts: Value) -> Fix:
    fix = told(**facts)
    assert fix is not None
    return fix


class TestHowItIsTold:
    def test_a_server_that_a_person_starts_gets_a_line_for_the_shell(self) -> None:
        found = advice(unit="", build=10434)
        assert found.do == "Ask for more (add `-c 8192 --context-shift` to the command line of llama-server)"
        assert found.command == ""

    def test_a_unit_gets_a_drop_in(self) -> None:
        found = advice(unit="my llama.service", build=10434)
        assert "at the end of the command line of llama-server in my llama.service" in found.do
        assert found.command.startswith(
            "sudo systemctl edit 'my llama.service' && sudo systemctl restart 'my llama.service'   # "
        )
        assert "ExecStart= with nothing behind it" in found.command
        assert found.command.endswith("with the old command line and -c 8192 --context-shift at its end")

    def test_a_unit_of_a_user_is_spoken_of_to_the_systemd_of_that_user(self) -> None:
        found = advice(unit="llama.service", user_unit=True, build=10434)
        assert found.command.startswith("systemctl --user edit llama.service && systemctl --user restart llama.service   # ")

    def test_a_build_that_lacks_the_flag_is_not_advised_to_use_it(self) -> None:
        """--context-shift came with b6206."""
        assert told(unit="", build=6170) is None
        assert "(for llama.cpp b6206 and newer; " in advice(unit="").do

    def test_a_check_that_the_build_cannot_run_is_left_out(self) -> None:
        assert advice(unit="", build=10434).verify == "llama-server --list-devices"
