"""The figures of llama-fit-params beside ours. Its outputs are recorded of a b11434."""

from __future__ import annotations

from sentinel.llama.settings import HOST, Item, Settings
from sentinel.preflight.fit_params import Estimate, differences, is_comparable, parse, words_for

MIB = 1 << 20
#: gemma-3-270m, -c 32768
RECORDED = (
    "0.00.045.374 I llama_fit_params: printing estimated memory in MiB to stdout (device, model, context, compute) ...\n"
    "Host 222 111 551 \n"
)


def item(kind: str, low: int, high: int | None = None) -> Item:
    return Item(HOST, kind, low * MIB, low * MIB, (low if high is None else high) * MIB)  # type: ignore[arg-type]


def test_its_output_is_read_by_device() -> None:
    assert parse(RECORDED) == (Estimate(HOST, 222 * MIB, 111 * MIB, 551 * MIB),)
    two = parse("ROCm0 22016 1024 520 \nHost 100 0 12 \n")
    assert [one.place for one in two] == ["ROCm0", HOST]
    assert parse("error: invalid argument: -kvu\n") == ()


def test_what_agrees_is_not_reported_and_what_differs_is() -> None:
    items = [item("weights", 235), item("kv", 111), item("compute", 512, 1170)]

    assert differences(parse(RECORDED), items, with_cache=True) == []
    (why,) = differences(parse(RECORDED), [item("weights", 235), item("kv", 300), item("compute", 512, 1170)], with_cache=True)
    assert why.text == "llama-fit-params expects 111 MiB of cache on host, sentinel 300 to 300 MiB"
    assert why.effect == "note"


def test_a_cache_of_other_slots_is_not_compared() -> None:
    assert not is_comparable(Settings())
    assert is_comparable(Settings(parallel=1))
    assert is_comparable(Settings(parallel=4, kv_unified=False))
    assert differences(parse(RECORDED), [item("weights", 222), item("compute", 551), item("kv", 9999)], with_cache=False) == []


def test_only_what_is_about_memory_is_passed_on() -> None:
    words = [
        ("-m", ("a",)),
        ("--port", ("80",)),
        ("-c", ("9",)),
        ("--metrics", ()),
        ("--no-kv-offload", ()),
        ("--api-key", ("x",)),
    ]

    assert words_for(words) == ["-m", "a", "-c", "9", "--no-kv-offload"]
