"""Sorts files by kind and joins what belongs together: a rule with its tests beside it, and with the shared library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sentinel.model.problem import Keys, Problem, spoken
from sentinel.rulefiles.deprecated import as_written, with_new_keys, with_new_signals
from sentinel.rulefiles.file_names import TESTS, beside, of_tests
from sentinel.rulefiles.library import Library, gathered, is_library, with_bases, with_fixes
from sentinel.rulefiles.testing.decode import STATES, states_of
from sentinel.rulefiles.toml.document import Decoded, decode
from sentinel.rulefiles.toml.tables import Findings, Table


@dataclass
class SortedOut:
    """Files by kind, decoded, each rule and override with its tests, and with its named fixes inserted."""

    library: Library = field(default_factory=Library)
    rules: dict[str, Decoded] = field(default_factory=dict)
    overrides: dict[str, Decoded] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    #: tests are decoded; else only those in the rule's own file are counted
    tests: bool = True
    #: by rule file, how many tests it contains, and where the others are
    beside: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: by file, the values that fixes brought, and where they are used
    brought: dict[str, dict[Keys, Keys]] = field(default_factory=dict)
    #: by file, the deprecated keys that were written, by their new names
    deprecated: dict[str, dict[Keys, Keys]] = field(default_factory=dict)
    #: by file, its own named things on top of the library
    own: dict[str, Library] = field(default_factory=dict)

    def placed(self, problem: Problem) -> Problem:
        """A problem of a rule with its tests, reported for the file and the place where it was written."""
        keys = problem.keys
        own, file = self.beside.get(problem.file, (0, ""))
        if file and len(keys) > 1 and keys[0] == "test" and isinstance(keys[1], int) and keys[1] >= own:
            return replace(problem, file=file, keys=("test", keys[1] - own, *keys[2:]))
        old = as_written(keys, self.deprecated.get(problem.file, {}))
        if old != keys:
            return replace(problem, where=spoken(old), keys=old)
        used = self.brought.get(problem.file, {}).get(keys)
        return replace(problem, keys=used) if used is not None else problem

    def states(self, files: Iterable[str], decoded: Decoded) -> frozenset[str] | None:
        """The states that the tests of a rule expect, as far as known without decoding them; None: they were decoded."""
        if self.tests:
            return None
        return frozenset(STATES) if any(file in self.beside for file in files) else states_of(decoded.table)


def sorted_out(files: Mapping[str, bytes], *, tests: bool) -> SortedOut:
    """Every readable file, with every mistake in shared parts."""
    out = SortedOut(tests=tests)
    decoded: dict[str, Decoded] = {}
    for file, data in files.items():
        if of_tests(file) and not tests:
            continue
        one = decode(data, file)
        out.problems += one.problems
        findings = Findings(file, left_out=one.left_out)
        decoded[file] = with_new_signals(one, data, findings)
        out.problems += findings.problems
    libraries = {file: one for file, one in decoded.items() if one.usable and not file.endswith(TESTS) and is_library(one.table)}
    out.library, found = gathered(libraries.items())
    for file, one in decoded.items():
        if file in libraries or file.endswith(TESTS) or not one.usable:
            continue
        there = decoded.get(beside(file))
        out.own[file], more = out.library.with_own_of((file, one), *([(beside(file), there)] if there is not None else []))
        findings = Findings(file, left_out=one.left_out)
        found += [*more, findings]
        one, out.deprecated[file] = with_new_keys(one, findings)
        kind = out.overrides if "override" in one.table else out.rules
        if kind is out.rules:
            # Those of an override are inserted when it is merged with its rule.
            one, out.brought[file] = with_fixes(one, out.own[file], findings)
        if not tests and beside(file) in files:
            out.beside[file] = (0, "")
        if tests:
            one = with_bases(one, out.own[file], findings)
            if there is not None:
                theirs = Findings(beside(file), left_out=there.left_out)
                found.append(theirs)
                one = _joined(file, one, _tests(there, out.own[file], theirs), out)
        kind[file] = one
    out.problems += [problem for findings in found for problem in findings.problems]
    for file in files:
        if tests and file.endswith(TESTS) and beside(file) not in files:
            what = f"holds tests of '{beside(file).rpartition('/')[2]}', and there is no such file beside it"
            out.problems.append(Problem(file, "", what, "warning"))
    return out


def _tests(there: Decoded, library: Library, findings: Findings) -> Decoded:
    top = Table(there.table, (), findings)
    top.get("schema", int, 1)
    top.leave("base")
    top.tables("test")
    top.done()
    return with_bases(there, library, findings)


def _joined(file: str, rule: Decoded, there: Decoded, out: SortedOut) -> Decoded:
    own, more = rule.table.get("test", []), there.table.get("test", [])
    if not isinstance(own, list) or not isinstance(more, list):
        return rule
    out.beside[file] = (len(own), beside(file))
    shifted = [
        ("test", len(own) + keys[1], *keys[2:]) if len(keys) > 1 and keys[0] == "test" and isinstance(keys[1], int) else keys
        for keys in there.left_out
    ]
    # Tests in a file that is not TOML must not be reported as missing.
    left_out = (*rule.left_out, *shifted, *([("test",)] if there.problems else []))
    return replace(rule, table={**rule.table, "test": [*own, *more]}, left_out=left_out)
