"""Keeps a decoded rule set without mistakes in a file, so that the next start need not decode and check it again.

Loading the shipped rules takes 0.2 s of CPU, 1.3 s if they have to be checked (`checked`), and 0.05 s as kept, most of that for
RE2 (measured).
The file counts only for the very bytes of the rule files, this sentinel, its code and this Python, and only if nobody else could
have written it. It is a pickle of which nothing but the parts of a rule set is made.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import stat
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import sentinel
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.files.atomic import write_atomically
from sentinel.files.own_folder import NotOwn, Owner, check_folder
from sentinel.rulefiles.files import Loaded, RuleFiles

_NAME = "rules.decoded"
#: that of the shipped rules has 0.9 MB
_MOST_BYTES = 64 << 20
_SEAL_BYTES = 32
#: All that a rule set consists of, by module.
_PARTS = {
    "functools": {"partial"},
    "sentinel.engine.log.extractor": {"Extractor"},
    "sentinel.engine.rules.compile": {"_causes"},
    "sentinel.engine.rules.expression": {"_restored"},
    "sentinel.engine.rules.quick_no": {"QuickNo"},
    "sentinel.engine.rules.ruleset": {"CompiledRule", "Deferred", "RuleSet"},
    "sentinel.engine.rules.template": {"Template"},
    "sentinel.model.builds": {"BuildRange"},
    "sentinel.model.event": {"EventDef", "Pattern"},
    "sentinel.model.rule": {"CauseDef", "EventBinding", "FixDef", "Named", "OverrideDef", "RuleDef", "WindowDef"},
}
#: Folders of the package whose code decides what a decoded rule set is.
_CODE = ("model", "llama", "engine", "rulefiles")


class KeptRules:
    """The last rule set of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def find(self, files: RuleFiles) -> Loaded | None:
        """What `files` loads, if that is kept and could be trusted."""
        there = files.found()
        if there.problems:
            return None
        try:
            check_folder(str(self._path.parent))
            data = _own(self._path)
        except (NotOwn, OSError, ValueError):
            return None
        seal, content = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if seal != _seal(there.digest, content):
            return None
        try:
            ruleset = _Parts(io.BytesIO(content)).load()
        # Any exception: whatever a file with the right seal holds, at worst the rules are decoded again.
        except Exception:
            return None
        return replace(there, ruleset=ruleset) if isinstance(ruleset, RuleSet) else None

    def keep(self, loaded: Loaded) -> None:
        """Keep it in place of the last one, if there is no mistake in it. What cannot be written is decoded again next time."""
        if loaded.ruleset is None or loaded.problems or loaded.left_out:
            return
        with suppress(NotOwn, OSError, ValueError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_folder(str(self._path.parent))
            content = pickle.dumps(loaded.ruleset, pickle.HIGHEST_PROTOCOL)
            write_atomically(self._path, _seal(loaded.digest, content) + content)


def _own(path: Path) -> bytes:
    """Raises NotOwn, and OSError for what is no regular file of a size that may be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        Owner().judge(descriptor, status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise OSError(f"{path} is no kept rule set")
        return file.read(_MOST_BYTES)


def _seal(digest: str, content: bytes) -> bytes:
    """Of the rule files, of what decodes them and of what came of it: a file that was cut off is not read."""
    whole = hashlib.sha256(f"{digest} {sentinel.__version__} {sys.version} {_code()}\n".encode("utf-8", "surrogateescape"))
    whole.update(content)
    return whole.digest()


def _code() -> str:
    """Changes with the code: of a checkout the version stays the same."""
    package = Path(sentinel.__file__).parent
    whole = hashlib.sha256()
    for room in _CODE:
        for here, folders, names in os.walk(package / room):
            folders.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    status = Path(here, name).stat()
                    whole.update(f"{here}/{name} {status.st_mtime_ns} {status.st_size}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


class _Parts(pickle.Unpickler):
    """Makes the parts of a rule set, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Raises UnpicklingError for anything else."""
        if name not in _PARTS.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a rule set")
        return super().find_class(module, name)
