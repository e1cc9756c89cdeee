"""A file in the repository that a generator makes: written where it is stale, or only reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def asked(argv: Sequence[str] | None, prog: str, description: str) -> argparse.Namespace:
    """The command line of a generator: `file` and `check`."""
    options = argparse.ArgumentParser(prog=f"python -m {prog}", description=description)
    options.add_argument("file", type=Path)
    options.add_argument("--check", action="store_true", help="write nothing; fail when the file is stale")
    return options.parse_args(argv)


def put(file: Path, made: str, *, check: bool) -> int:
    """The exit code: 1 where it is stale and not written."""
    if file.is_file() and file.read_text(encoding="utf-8") == made:
        return 0
    sys.stdout.write(f"{file}{' is stale; make docs' if check else ''}\n")
    if check:
        return 1
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(made, encoding="utf-8")
    return 0
