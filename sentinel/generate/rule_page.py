"""The page of a rule: when it fires, causes and fixes, what it reads, its tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sentinel.engine.alerts.inhibition import SETTLE
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.generate.markdown import MADE, fence, one_line, page, plain, prose, section, sentence, table, words
from sentinel.model.event import EventDef
from sentinel.model.rule import CaseDef, CauseDef, FixDef, RuleDef
from sentinel.model.text import duration

_BASIS = {
    "seed": "a failure reported with the beginning of this project",
    "source": "the source of llama.cpp, the kernel or a driver",
    "thread": "issue threads of people who had it",
    "measured": "seen and measured here on the real programs",
}
SCOPES = {"server": "each llama-server", "gpu": "each GPU", "host": "the host"}


def rule_page(compiled: CompiledRule, events: Mapping[str, EventDef], rules: Sequence[CompiledRule]) -> str:
    """Everything about one rule, in the order of a runbook; `rules` are all."""
    rule = compiled.rule
    lines = [MADE.format(f"rules/{Path(rule.path).name}"), "", f"# {rule.id}", "", sentence(rule.title), ""]
    lines += table(
        ("severity", "judged for", "journal"), [(rule.severity, SCOPES[rule.scope], f"`MESSAGE_ID={rule.message_id}`")]
    )
    lines += [
        "",
        "## Meaning",
        "",
        "Its alert, with values in place of the names in braces; what is in square brackets is left out where it is unknown:",
        "",
    ]
    lines += [f"> {sentence(rule.summary)}", "", *_beside(rule, rules), ""]
    if rule.false_positives:
        lines += ["It stays quiet for:", "", *(f"- {prose(text)}" for text in rule.false_positives), ""]
    lines += section("## Impact", [prose(rule.impact)] if rule.impact else [])
    lines += ["## Diagnosis", "", *_diagnosis(rule), "", "## Mitigation", ""]
    lines += [
        "Each cause with its fixes, the first one first; an alert shows those that fit the server's build and the way it is run.",
        "",
    ]
    for cause in rule.causes:
        lines += [*_cause(cause), ""]
    lines += ["## The rule itself", "", "### When it fires", "", *_when(rule), "", "### Its checks", ""]
    for check in rule.checks:
        lines += [f"**{words(check.name)}**", "", *fence(check.expression, "cel"), ""]
    if rule.values:
        lines += ["Computed for them:", "", *(f"- `{v.name}` = `{one_line(v.expression)}`" for v in rule.values), ""]
    lines += [
        "### When a cause is reported",
        "",
        "The first that is true; a fix with a condition is left out where that is false.",
        "",
    ]
    lines += [*_conditions(rule.causes), "", "### What it reads", "", *_reads(compiled, events), ""]
    lines += ["### Where the knowledge comes from", "", *(f"- {_BASIS[basis]}" for basis in rule.basis)]
    lines += [*(f"- <{reference}>" for reference in rule.references), ""]
    lines += ["### Its tests", "", "In the rule file; `sentinel rules test` runs them.", "", *_tests(rule.tests)]
    return page(lines)


def _diagnosis(rule: RuleDef) -> Iterator[str]:
    asked = f"sentinel why {rule.id}"
    yield from fence(
        f"{'sentinel alerts':<{len(asked)}}   # cause, evidence, what to do\n{asked}   # why it fires or does not", "sh"
    )
    yield ""
    if rule.evidence:
        yield "An alert shows as evidence what of this is true, with its values:"
        yield ""
        yield from (f"- {prose(one.expression)}" for one in rule.evidence)
        yield ""
    yield f"It distinguishes these causes: {', '.join(f'[{cause.id}](#{cause.id})' for cause in rule.causes)}."


def _when(rule: RuleDef) -> Iterator[str]:
    yield from fence(rule.when, "cel")
    yield ""
    yield f"It has to hold for {duration(rule.hold)} without a break." if rule.hold else "It fires at once."
    if rule.clear:
        yield f"It ends when `{one_line(rule.clear)}`." + (
            f" It keeps firing for {duration(rule.keep_firing_for)} longer." if rule.keep_firing_for else ""
        )
    if rule.clear_after is not None:
        by_hand = rule.clear_after_by_hand
        sooner = f", and {duration(by_hand)} after that where somebody started it by hand" if by_hand is not None else ""
        yield f"It ends {duration(rule.clear_after)} after it was last so{sooner}."
    yield "It stays open when the server ends." if rule.outlives_server else "It ends with the server's process."


def _beside(rule: RuleDef, rules: Sequence[CompiledRule]) -> Iterator[str]:
    if rule.inhibits:
        yield f"While it fires, {_links(rule.inhibits)} of the same server, GPU or machine is inhibited."
    causes = [r.rule for r in rules if rule.id in r.rule.inhibits]
    if causes:
        wait = duration(max(rule.hold, max(c.hold for c in causes) + SETTLE))
        yield f"It is inhibited by {_links(c.id for c in causes)}; if none of them fires, it notifies {wait} after it began."


def _links(ids: Iterable[str]) -> str:
    return ", ".join(f"[{one}]({one}.md)" for one in ids)


def _cause(cause: CauseDef) -> Iterator[str]:
    yield f"### {cause.id}"
    yield ""
    yield sentence(cause.text)
    yield ""
    yield f"Confidence: {cause.confidence}{f'. Severity: {cause.severity}' if cause.severity else ''}."
    if cause.also:
        yield ""
        yield f"Named with it where it fits as well: {', '.join(f'[{other}](#{other})' for other in cause.also)}."
    for number, fix in enumerate(cause.fixes, 1):
        yield ""
        only = f" Builds: {fix.builds}." if fix.builds is not None else ""
        only += " Shown where none of the above fits." if fix.otherwise else ""
        flags = plain(fix.flags)
        added = f" (add `{flags}` to the command line of llama-server)" if flags else _set(fix)
        yield f"{number}. {prose(fix.do.rstrip('.'))}{added}.{only}"
        # Four spaces: what Python-Markdown wants inside a list; GitHub takes three to six.
        if fix.command:
            yield ""
            # A `;` at the end is where the command that restarts it is joined.
            yield from (f"    {line}" for line in fence(plain(fix.command).removesuffix(";"), "sh"))
        if fix.risk or fix.verify:
            after = [f"Risk: {prose(fix.risk)}."] if fix.risk else []
            after += [f"Then check: `{fix.verify}`"] if fix.verify else []
            yield ""
            yield f"    {' '.join(after)}"


def _conditions(causes: Iterable[CauseDef]) -> Iterator[str]:
    for cause in causes:
        yield f"- [{cause.id}](#{cause.id}): {f'`{one_line(cause.when)}`' if cause.when else 'none of the above is true'}"
        for number, fix in enumerate(cause.fixes, 1):
            if fix.when:
                yield f"    - its fix {number}: `{one_line(fix.when)}`"


def _set(fix: FixDef) -> str:
    """What to set or do where the server is started, for every way of starting it."""
    said = dict(fix.settings)
    if name := said.pop("unset", ""):
        return f" (remove {name} from the environment of its unit, its container or the shell that starts it)"
    if variable := said.pop("env", ""):
        return f" (set `{variable}` in the environment of its unit, its container or the shell that starts it)"
    places = {"unit": "in its unit `{}`", "container": "in its container `{}`", "shell": "in a shell `{}`"}
    if said:
        return f" ({', '.join(places[place].format(text) for place, text in said.items())})"
    verb = "restart" if fix.restart else "stop" if fix.stop else ""
    return f" (the alert has the command that {verb}s its unit or its container)" if verb else ""


def _reads(compiled: CompiledRule, events: Mapping[str, EventDef]) -> Iterator[str]:
    known = [CATALOGUE[name] for name in sorted(compiled.signals) if name in CATALOGUE]
    rows = [(f"`{s.name}`", prose(s.help), prose(s.provide)) for s in known]
    yield from table(("signal", "is", "if it is not known"), rows)
    yield ""
    for window in compiled.rule.windows:
        yield f"- `{window.name}`: {window.take} of `{window.signal}` over {duration(window.over)}"
    for binding in compiled.rule.events:
        span = "since the server started" if binding.over is None else f"in the last {duration(binding.over)}"
        yield f"- `{binding.name}`: [{binding.event}](../events.md#{binding.event}) {span}. {prose(events[binding.event].help)}"


def _tests(cases: Iterable[CaseDef]) -> list[str]:
    rows = []
    for case in cases:
        states = ", then ".join(dict.fromkeys(expect.state for _, expect in case.expectations))
        causes = ", ".join(dict.fromkeys(f"`{expect.cause}`" for _, expect in case.expectations if expect.cause))
        rows.append((prose(case.name), states, causes))
    return list(table(("case", "expected", "cause"), rows))
