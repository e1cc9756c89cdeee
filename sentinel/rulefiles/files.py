"""Finds and reads rule files: the shipped ones, and a user's own on top of them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sentinel
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.problem import Problem
from sentinel.rulefiles import checked
from sentinel.rulefiles.file_names import beside, of_tests
from sentinel.rulefiles.toml.document import MAX_FILE_BYTES

Files = dict[str, bytes]
#: Path, modification time, size and inode of each file and folder that was scanned.
Signature = frozenset[tuple[str, int, int, int]]

#: A table of events makes an event file; in a rule `event` is not an array.
_EVENTS = re.compile(rb"(?m)^[ \t]*\[\[[ \t]*event[ \t]*\]\]")
#: the start of the first table: keys of the file itself are before it
_TABLE = re.compile(rb"(?m)^[ \t]*\[")
_ID = re.compile(rb"(?m)^id\s*=\s*[\"']([^\"'\n]*)[\"']")
_NAME = re.compile(rb"(?m)^name\s*=\s*[\"']([^\"'\n]*)[\"']")
#: Files may change while they are read: then they are read again, at most this often.
_TRIES = 3
#: Rule files below one folder. 17 are shipped; more than this is a wrong folder.
MAX_FILES = 500
#: Names scanned to find them: `rules lint /` must not walk the whole machine.
MAX_NAMES = 50_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of reading rule files."""

    #: None: there are errors, or nothing is decoded
    ruleset: RuleSet | None
    problems: tuple[Problem, ...]
    #: the user's files that were read
    files: frozenset[str]
    signature: Signature = frozenset()
    #: files that are not used because of their errors
    left_out: tuple[str, ...] = ()
    #: of all files that were read, by name and content
    digest: str = ""

    @property
    def errors(self) -> list[Problem]:
        """The errors, without the warnings."""
        return [p for p in self.problems if p.level == "error"]


def shipped() -> Path:
    """The shipped rules: beside the package in a checkout, inside it in an installation."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent / "rules"


def read(paths: Iterable[Path], *, tests: bool = True) -> tuple[Files, Files, list[Problem]]:
    """Rule files and event files below the paths, and what could not be read. Without `tests`, test files come back empty."""
    rules: Files = {}
    events: Files = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            problems.append(Problem(str(path), "", "is not there; give a rule file or a folder of rule files"))
            continue
        except (OSError, ValueError) as error:
            # A symlink loop, a name that is too long, a folder without permission, a null byte.
            why = error.strerror if isinstance(error, OSError) else error
            problems.append(Problem(str(path), "", f"cannot be read: {why}"))
            continue
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            # Reading a pipe would block for ever.
            problems.append(Problem(str(path), "", "is no regular file; save it as a file first"))
            continue
        found = list(_below(path, problems)) if path.is_dir() else [path]
        if not found and not problems:
            problems.append(Problem(str(path), "", "holds no *.toml file", "warning"))
        for file in found:
            if not tests and of_tests(str(file)):
                rules[str(file)] = b""
                continue
            try:
                with file.open("rb") as stream:
                    data = stream.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}"))
                continue
            (events if file.parent.name == "events" or _EVENTS.search(data) else rules)[str(file)] = data
    return rules, events, problems


def _below(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """The rule files in a folder and its subfolders. Hidden ones are an editor's."""

    def refused(error: OSError) -> None:
        problems.append(Problem(str(error.filename), "", f"cannot be read: {error.strerror}"))

    found: list[Path] = []
    looked_at = 0
    for here, folders, names in os.walk(folder, onerror=refused):
        looked_at += len(folders) + len(names)
        found += [Path(here) / name for name in names if name.endswith(".toml") and not name.startswith(".")]
        if len(found) > MAX_FILES or looked_at > MAX_NAMES:
            what = f"{MAX_FILES} *.toml files" if len(found) > MAX_FILES else f"{MAX_NAMES} files and folders"
            problems.append(
                Problem(str(folder), "", f"holds more than {what}; give the folder that holds your rules, or the files")
            )
            return
    for file in sorted(found):
        # Reading a pipe would block for ever.
        if file.exists() and not file.is_file():
            problems.append(Problem(str(file), "", "is no regular file"))
        else:
            yield file


def _load(rules: Files, events: Files, *, tests: bool = True, base: Path | None = None) -> tuple[RuleSet | None, list[Problem]]:
    """`base`: the folder of the shipped rules, if they are among the files."""
    # Where the rules are kept decoded, nobody needs the 25 modules that decode and check them: 2 MB in the daemon (measured).
    from sentinel.rulefiles.load import load

    return load(rules, events, tests=tests, checked=frozenset() if tests or base is None else _checked({**rules, **events}, base))


def _checked(files: Files, base: Path) -> frozenset[str]:
    """The shipped files that are as they were when they were checked. Whoever asks for the tests asks for the check as well."""
    try:
        with (base / checked.NAME).open("rb") as stream:
            said = stream.read(MAX_FILE_BYTES)
    except OSError:
        return frozenset()
    return checked.unchanged(said, files, str(base))


def load_paths(paths: Iterable[Path]) -> tuple[RuleSet | None, list[Problem]]:
    """The rule set of these files and folders alone; without event files among them, with the shipped ones."""
    rules, events, problems = read(paths)
    if not events:
        _, events, more = read([shipped()])
        problems += more
    ruleset, found = _load(rules, events)
    problems += found
    return (None if any(p.level == "error" for p in problems) else ruleset), problems


def load_given(paths: Sequence[Path], *, tests: bool = True) -> Loaded:
    """Files that a person names: a rule replaces the shipped one with its id, anything else is added.

    A copy of the shipped folder (it defines an event that is shipped) is a whole set and is used alone.
    """
    rules, events, problems = read(_with_company(paths), tests=tests)
    files = frozenset({*rules, *events})
    base, base_events, more = read([shipped()], tests=tests)
    if not _names(_NAME, events) & _names(_NAME, base_events):
        mine = _names(_ID, rules)
        gone = {file for file, data in base.items() if _names(_ID, {file: data}) & mine}
        gone |= {beside(file) for file in gone}
        rules = {file: data for file, data in base.items() if file not in (rules.keys() | gone)} | rules
        events = {**base_events, **events}
        problems += more
    ruleset, found = _load(rules, events, tests=tests, base=shipped())
    problems += found
    return Loaded(None if any(p.level == "error" for p in problems) else ruleset, tuple(problems), files)


def _with_company(paths: Iterable[Path]) -> list[Path]:
    """Each file with its companion: a rule with its tests, tests with their rule."""
    out: dict[Path, None] = {}
    for path in paths:
        out[path] = None
        if path.name.endswith(".toml"):
            other = path.with_name(beside(path.name))
            out |= {other: None} if other.is_file() else {}
    return list(out)


def _names(key: re.Pattern[bytes], files: Files) -> set[bytes]:
    """Values of a key, found without decoding: good enough to distinguish a copy from a user's own file."""
    return {name for data in files.values() for name in key.findall(data if key is _NAME else _TABLE.split(data, 1)[0])}


class RuleFiles:
    """The shipped rules with the user's: drop-in folders, which need not exist, and paths from the configuration."""

    def __init__(self, folders: Sequence[Path] = (), paths: Sequence[Path] = (), base: Path | None = None) -> None:
        self.base = shipped() if base is None else base
        self.folders = tuple(folders)
        self.paths = tuple(paths)

    @property
    def watched(self) -> tuple[Path, ...]:
        """Paths to watch for changes."""
        return (self.base, *self.folders, *self.paths)

    def load(self, without: Collection[str] = (), *, tests: bool = False) -> Loaded:
        """All files as they are at one moment, except `without` (files and paths).

        `tests`: with their tests, which evaluation does not need.
        """
        for _ in range(_TRIES):
            before = self.signature()
            loaded = self._load(without, before, tests=tests)
            if self.signature() == before:
                break
        return loaded

    def load_good(self) -> Loaded:
        """The same without files that have errors, so that one bad file does not disable the others.

        The problems are those of all files."""
        first = loaded = self.load()
        without: set[str] = set()
        while loaded.ruleset is None:
            bad = {p.file for p in loaded.errors if not self._is_shipped(p.file)} - without
            # An error that only shows in a shipped file counts for all files of the user.
            bad = bad or set(loaded.files) - without
            if not bad:
                return loaded
            without |= bad
            loaded = self.load(without)
        return replace(loaded, problems=first.problems, left_out=tuple(sorted(without)))

    def found(self) -> Loaded:
        """All files, read and not decoded: without a rule set."""
        signature = self.signature()
        rules, events, files, problems = self._read((), tests=False)
        return Loaded(None, tuple(problems), files, signature, digest=_digest({**rules, **events}))

    def _load(self, without: Collection[str], signature: Signature, *, tests: bool) -> Loaded:
        rules, events, files, problems = self._read(without, tests=tests)
        ruleset, found = _load(rules, events, tests=tests, base=self.base)
        problems = [p for p in [*problems, *found] if p.file not in without]
        usable = None if any(p.level == "error" for p in problems) else ruleset
        return Loaded(usable, tuple(problems), files, signature, digest=_digest({**rules, **events}))

    def _read(self, without: Collection[str], *, tests: bool) -> tuple[Files, Files, frozenset[str], list[Problem]]:
        """Rules, events, the user's files among them, and what could not be read."""
        own = [*(folder for folder in self.folders if folder.is_dir() and _any(folder)), *self.paths]
        rules, events, problems = read([self.base], tests=tests)
        mine, my_events, more = read((path for path in own if str(path) not in without), tests=tests)
        rules |= {file: data for file, data in mine.items() if file not in without}
        events |= {file: data for file, data in my_events.items() if file not in without}
        return rules, events, frozenset({*mine, *my_events}), problems + more

    def _is_shipped(self, file: str) -> bool:
        return Path(file).is_relative_to(self.base)

    def signature(self) -> Signature:
        """Changes when a file is written, added or removed."""
        return frozenset(found for path in self.watched for found in _stats(path))

    def subfolders(self) -> set[Path]:
        """Folders that hold rule files, or would."""
        return {Path(here) for path in self.watched if path.is_dir() for here, _, _ in os.walk(path)}


def _digest(files: Files) -> str:
    whole = hashlib.sha256(sentinel.__version__.encode())
    for name, data in sorted(files.items()):
        whole.update(b"%d %s %d " % (len(name), name.encode("utf-8", "surrogateescape"), len(data)))
        whole.update(data)
    return whole.hexdigest()


def _any(folder: Path) -> bool:
    """It is not empty, or cannot be read, which must be reported."""
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return True


def _stats(path: Path) -> Iterator[tuple[str, int, int, int]]:
    try:
        info = path.stat()
    except OSError:
        return
    if not stat.S_ISDIR(info.st_mode) and of_tests(str(path)):
        # Only its existence matters.
        yield (str(path), 0, 0, 0)
        return
    if not stat.S_ISDIR(info.st_mode):
        yield (str(path), info.st_mtime_ns, info.st_size, info.st_ino)
        return
    yield (str(path), 0, 0, info.st_ino)
    try:
        inside = sorted(path.iterdir())
    except OSError:
        return
    for one in inside:
        if (one.suffix == ".toml" and not one.name.startswith(".")) or (one.is_dir() and not one.is_symlink()):
            yield from _stats(one)
