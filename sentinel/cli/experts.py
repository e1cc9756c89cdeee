"""`sentinel experts compare`: how often each expert of a mixture is used, by two importance matrices."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sentinel.cli.main import CRITICAL, OK, WARNING
from sentinel.cli.output import emit, say, say_wrapped, style, warn
from sentinel.gguf.header import GgufError
from sentinel.gguf.imatrix import Imatrix, never_used, read
from sentinel.model.fault import Fault
from sentinel.model.text import clean, counted
from sentinel.quality.experts import FEWEST, Incomparable, Layer, layers_of, whole
from sentinel.terminal.sparkline import sparkline
from sentinel.terminal.style import BOLD, DIM, Style, wrap
from sentinel.terminal.table import table

#: Columns of the picture: experts side by side are drawn as one where there are more.
_COLUMNS = 32
_CAVEAT = (
    "Counts are those of the text that llama-imatrix was given: both files need the same text, chunks and context. "
    "An abandoned expert says that tokens went elsewhere, not that answers became worse."
)


class Mistake(Fault):
    """What was given cannot be compared."""


def main(arguments: argparse.Namespace) -> int:
    """Compare two files. Exit codes: 0 no expert is abandoned, 1 some are, 2 a mistake."""
    try:
        if not 0 < arguments.share < 100:
            raise Mistake(f"--share {arguments.share:g} is out of range", "write a percentage, for example 10")
        before, now = read(arguments.reference), read(arguments.current)
        if not before.counts:
            remedy = "make it as .gguf: llama-imatrix --output-format gguf"
            raise Mistake(f"{clean(before.path)} is of the older form, which keeps no counts", remedy)
        if not any(count >= FEWEST for counts in before.counts.values() for count in counts):
            said = f"nothing can be said: no expert was used {FEWEST:g} times in the text of {clean(before.path)}"
            raise Mistake(said, "make both with a longer text or more --chunks")
        if not now.counts:
            return _old(before, now, arguments)
        layers = layers_of(before.counts, now.counts, arguments.share / 100)
        if not whole(layers)[1]:
            raise Mistake(*_too_short(now))
    except (GgufError, Incomparable, Mistake) as error:
        warn(str(error))
        return CRITICAL
    if arguments.json:
        emit({**_to_dict(layers), **_chunks(before, now)})
    else:
        print("\n".join(_render(before, now, layers, arguments.share, style())))
    return WARNING if whole(layers)[0] else OK


def _old(before: Imatrix, now: Imatrix, arguments: argparse.Namespace) -> int:
    """The older form says only who was never used. Where fewer chunks were read, fewer uses are expected of each expert."""
    if set(before.counts) != set(now.old):
        raise Mistake("the two files have other layers: they are of two models")
    part = min(now.chunks / before.chunks, 1.0) if now.chunks and before.chunks else 1.0
    found: dict[int, list[int]] = {}
    judged = 0
    for number, counts in before.counts.items():
        expected = {at for at, count in enumerate(counts) if count * part >= FEWEST}
        judged += len(expected)
        found[number] = sorted(expected & never_used(now, number, len(counts)))
    if not judged:
        raise Mistake(*_too_short(now))
    abandoned = sum(len(one) for one in found.values())
    if arguments.json:
        layers = [{"layer": number, "abandoned": one} for number, one in found.items()]
        emit({"form": "old", "abandoned": abandoned, "judged": judged, "layers": layers, **_chunks(before, now)})
    else:
        look = style()
        say(look.paint(f"{abandoned} of {counted(judged, 'expert')} that should be used {FEWEST:g} times were never used", BOLD))
        for line in (*_named(found, look), *_unlike(before, now, look)):
            print(line)
        say_wrapped(f"{clean(now.path)} is of the older form, which keeps no counts: shares are not known. {_CAVEAT}", "")
    return WARNING if abandoned else OK


def _too_short(now: Imatrix) -> tuple[str, str]:
    said = f"nothing can be said: no expert would be used {FEWEST:g} times in the text of {clean(now.path)}"
    return said, "make both with a longer text or more --chunks"


def _unlike(before: Imatrix, now: Imatrix, look: Style) -> Iterator[str]:
    """What is known of two texts that cannot be the same."""
    if _differ(before.chunks, now.chunks) or _differ(before.tokens, now.tokens):
        said = f"They were not made alike, of {_text(before)} and of {_text(now)}: another text alone moves shares."
        yield from wrap(look.by_state(said, "warning"), look.prose, "  ", "  ")


def _differ(one: int | None, other: int | None) -> bool:
    return None not in (one, other) and one != other


def _text(matrix: Imatrix) -> str:
    return counted(matrix.chunks or 0, "chunk") + (f" of {matrix.tokens} tokens" if matrix.tokens else "")


def _named(abandoned: Mapping[int, Sequence[int]], look: Style) -> Iterator[str]:
    """By layer the numbers of its experts."""
    for number, experts in abandoned.items():
        if experts:
            yield from wrap(f"layer {number}: {', '.join(map(str, experts))}", look.prose, "  ", "    ")


def _chunks(before: Imatrix, now: Imatrix) -> dict[str, Any]:
    return {"chunks": {"before": before.chunks, "now": now.chunks}}


def _render(before: Imatrix, now: Imatrix, layers: dict[int, Layer], share: float, look: Style) -> Iterator[str]:
    abandoned, judged, apart = whole(layers)
    part = f" ({abandoned / judged:.1%})" if judged else ""
    yield look.paint(f"{abandoned} of {judged} experts{part} have less than {share:g} % of the share that they had", BOLD)
    yield from _named({number: one.abandoned for number, one in layers.items()}, look)
    yield f"  mean divergence of the shares {apart:.4f} bits, over {counted(len(layers), 'layer')}"
    yield from _unlike(before, now, look)
    yield ""
    rows = [("LAYER", "EXPERTS", "ABANDONED", "DIVERGENCE", "RANKS", "BEFORE, AND NOW")]
    for one in layers.values():
        ranks = "" if one.rank_correlation is None else f"{one.rank_correlation:.3f}"
        most = max(*_grouped(one.before), *_grouped(one.now))
        named = f"{len(one.abandoned)} of {one.judged}"
        rows.append(
            (str(one.number), str(len(one.before)), named, f"{one.divergence:.4f}", ranks, _picture(one.before, most, look))
        )
        rows.append(("", "", "", "", "", _picture(one.now, most, look)))
    for number, line in enumerate(table(rows, look, flexible=(5,), right=(0, 1, 2, 3, 4))):
        yield look.paint(line, DIM) if number == 0 else line
    yield ""
    yield from wrap(f"Ranks: Spearman's correlation of the shares, 1 is the same order. {_CAVEAT}", look.prose)


def _picture(shares: tuple[float, ...], most: float, look: Style) -> str:
    """The shares in the order of the experts, neighbours together where there are many."""
    groups = _grouped(shares)
    return sparkline(groups, len(groups), plain=not look.unicode, most=most)


def _grouped(shares: tuple[float, ...]) -> list[float]:
    width = -(-len(shares) // _COLUMNS)
    return [sum(shares[at : at + width]) for at in range(0, len(shares), width)]


def _to_dict(layers: dict[int, Layer]) -> dict[str, Any]:
    abandoned, judged, apart = whole(layers)
    return {
        "form": "gguf",
        "abandoned": abandoned,
        "judged": judged,
        "divergence_bits": round(apart, 6),
        "layers": [
            {
                "layer": one.number,
                "judged": one.judged,
                "abandoned": list(one.abandoned),
                "divergence_bits": round(one.divergence, 6),
                "rank_correlation": None if one.rank_correlation is None else round(one.rank_correlation, 6),
                "before": [round(share, 6) for share in one.before],
                "now": [round(share, 6) for share in one.now],
            }
            for one in layers.values()
        ],
    }
