"""Writes the digests of the shipped rule files once all are checked: `python -m sentinel.generate.checked_rules FILE [--check]`.

Of two branches that each changed a rule git keeps both lines (.gitattributes), so a line too many is not stale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sentinel.generate.made_file import asked, put
from sentinel.rulefiles.checked import manifest
from sentinel.rulefiles.files import load_paths, read, shipped


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check report whether it is stale. 1: it is stale; 2: a rule has a mistake.

    What there is a warning about is left out: whoever loads it sees it.
    """
    arguments = asked(argv, "sentinel.generate.checked_rules", "Writes the digests of rule files without mistakes.")
    _, problems = load_paths([shipped()])
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    if any(problem.level == "error" for problem in problems):
        return 2
    rules, events, _ = read([shipped()])
    warned = {problem.file for problem in problems}
    made = manifest({file: data for file, data in {**rules, **events}.items() if file not in warned}, str(shipped()))
    there = arguments.file.read_text(encoding="ascii") if arguments.file.is_file() else ""
    if arguments.check and set(made.splitlines()) <= set(there.splitlines()):
        return 0
    return put(arguments.file, made, check=arguments.check)


if __name__ == "__main__":
    sys.exit(main())
