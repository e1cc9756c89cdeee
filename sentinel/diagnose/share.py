"""Redacts a log for a public issue: names of people and machines, addresses, paths and secrets. Pure.

Equal values get equal placeholders. Lines that may quote a prompt or an answer are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sentinel.engine.log.envelope import strip

#: Replaced completely, in this order. The group `keep` stays in front of the placeholder.
_SECRETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("key", re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)", re.DOTALL)),
    (
        "key",
        re.compile(
            r"(?P<keep>(?:--?(?:api[-_]key|hf[-_]token|hft|ssl[-_]key[-_]file|api[-_]key[-_]file)(?:[ =]+|', *'|\", *\")"
            r"|(?:[A-Z_]*(?:API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD)[A-Z_]*)\s*[=:]\s*"
            r"|(?:[Aa]uthorization|[Xx]-[Aa]pi-[Kk]ey)[\"']?\s*[:=]\s*[\"']?(?:Bearer\s+|Basic\s+)?"
            r"|[Bb]earer\s+|[?&](?:key|token|api_key|access_token|sig|signature)=|password[\"']?\s*[:=]\s*))"
            # Between quotes it may hold blanks; a quote that never ends is no reason to let it stand.
            r"(?P<secret>\"[^\"]+\"|'[^']+'|[\"']?[^\s\"'&,;]+)"
        ),
    ),
    (
        "token",
        re.compile(r"\b(?:hf_[A-Za-z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{8,}|github_pat_\w{8,}|sk-[\w-]{8,}|xox[abprs]-[\w-]{8,})"),
    ),
    ("token", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?")),
    ("token", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")),
    ("mail", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b")),
    ("url", re.compile(r"\b(?:https?|ftp|wss?|git|ssh|s3)://[^\s\"'<>)\]]+")),
    ("mac", re.compile(r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b")),
    ("address", re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?:%\w+)?(?![\w:.])")),
    (
        "address",
        re.compile(
            r"(?<![\w:.])(?=[0-9A-Fa-f:]{0,45}\d)(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::"
            r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?(?:%\w+)?(?![\w:.])"
        ),
    ),
    ("address", re.compile(r"(?<![\w.])(?!\d{1,9}\.\d\d\.\d{3}\.\d{3} [IWED] )(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\.\d)(?!\w)")),
    ("uuid", re.compile(r"\b(?:GPU-)?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")),
    ("id", re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{32,64}\b")),
)
#: Addresses that identify no person.
_HARMLESS = re.compile(r"(?:127\.\d+\.\d+\.\d+|0\.0\.0\.0|::1|::)\Z")
#: Sites whose URLs are printed by llama.cpp itself.
_KNOWN_URL = re.compile(
    r"https?://(?:github\.com/(?:ggml-org|ggerganov)/llama\.cpp|(?:127\.0\.0\.1|0\.0\.0\.0|localhost)(?::\d+)?)(?:[/?#][\w/.#-]*)?\Z"
)
_HOST = re.compile(
    r"^(?P<keep>(?:<\d{1,3}>)?(?:[^\W\d_][^\s\d]{0,11}|\d{1,2}月) {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d+)? "
    r"|(?:[^\W\d_]{2,12}\.? )?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?(?: [A-Z]{3,5})? )"
    r"(?P<host>[\w.-]+)(?= [^\s:\[\]|]{1,64}(?:\[\d+\])?: )"
)
#: A user's home, with the user's name.
_HOME = re.compile(r"(?P<keep>(?:/home/|/Users/|/var/home/|[A-Za-z]:\\+Users\\+))(?P<name>[^/\\\s\"':]+)")
#: A path: its folders are replaced; the file name stays, because it names the model.
_PATH = re.compile(
    r"(?<![\w./\\:-])(?P<folders>(?:~|[A-Za-z]:)?(?:[/\\]+[^/\\\s\"'`<>|:,;()\]]+)*[/\\]+)(?P<file>[^/\\\s\"'`<>|:,;()\]]+)"
)
_SYSTEM = re.compile(
    r"/(?:dev|proc|sys|usr|lib|lib64|opt/rocm|etc|bin|sbin|app|system\.slice|user\.slice)(?:/|\Z)"
    r"|C:\\+(?:Windows|Program Files)\\+"
)
#: Lines that quote prompts and answers, in addition to those that the envelope marks as private.
_QUOTES = re.compile(
    r"\"(?:prompt|content|messages|input|text|system|response)\"\s*:|[Pp]rompt: |prompt = '|generated: "
    r"|<\|?(?:im_start|user|assistant|system)\|?>|\[INST\]"
)
#: Lines of a file in a bundle: an issue holds 65,536 characters.
_HEAD, _TAIL, _WIDEST = 100, 200, 300
_NAMES = frozenset({"host", "user", "name", "folder", "address"})
_STAND_IN = re.compile(r"<\w+-\d+>|\b(?:folder|user)-\d+")
_LEFT_OUT = "[left out: it may quote a prompt or an answer]"


@dataclass(slots=True)
class Redactor:
    """Replaces consistently: a value has the same placeholder in all files of a bundle."""

    #: additional words to replace: user and host name of this machine
    words: Iterable[str] = ()
    _stand_ins: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _own: re.Pattern[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        known = sorted({word for word in self.words if len(word) >= 3 and word != "root"}, key=len, reverse=True)
        self._own = (
            re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, known))})(?![A-Za-z0-9])", re.IGNORECASE) if known else None
        )

    def text(self, text: str) -> str:
        """Redact several lines."""
        out, secret = [], False
        for line in text.split("\n"):
            begins, ends = "-----BEGIN " in line and "PRIVATE KEY" in line, "-----END " in line and "PRIVATE KEY" in line
            secret = secret or begins
            out.append("[left out: a private key]" if secret else self.line(line))
            secret = secret and not ends
        return "\n".join(out)

    def keys(self, text: str) -> str:
        """Redact keys and tokens alone: what is never to be shown."""
        for kind, pattern in _SECRETS:
            if kind in ("key", "token"):
                text = pattern.sub(partial(self._secret, kind), text)
        return text

    def line(self, line: str) -> str:
        """Redact one line."""
        envelope = strip(line)
        if envelope.private or _QUOTES.search(line):
            cut = len(line) - len(envelope.message) if line.endswith(envelope.message) else 0
            head = re.match(r"[\w ]{0,12}\S{0,24}: ", envelope.message)
            line = line[:cut] + (head.group() if head and not _QUOTES.search(head.group()) else "") + _LEFT_OUT
        line = _HOST.sub(lambda found: f"{found['keep']}{self._for('host', found['host'])}", line)
        for kind, pattern in _SECRETS:
            line = pattern.sub(partial(self._secret, kind), line)
        line = _PATH.sub(self._path, line)
        line = _HOME.sub(lambda found: f"{found['keep']}{self._for('user', found['name'])}", line)
        if self._own is not None:
            line = self._own.sub(lambda found: self._for("name", found.group().lower()), line)
        for (kind, value), stand_in in self._stand_ins.items():
            if kind in ("host", "user") and len(value) >= 3 and value in line:
                line = re.sub(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", stand_in, line)
        return line

    def _secret(self, kind: str, found: re.Match[str]) -> str:
        groups = found.groupdict()
        value = (groups.get("secret") or found.group()).strip("\"'")
        if (kind == "address" and _HARMLESS.match(value)) or (kind == "url" and _KNOWN_URL.match(value)):
            return found.group()
        if re.fullmatch(r"<?(?:\w+)-\d+>?", value):
            return found.group()
        return (groups.get("keep") or "") + self._for(kind, value)

    def _path(self, found: re.Match[str]) -> str:
        folders = found["folders"]
        if _SYSTEM.match(folders) or folders.strip("/\\") == "" or _STAND_IN.search(folders):
            return found.group()
        return f"{self._for('folder', folders)}/{found['file']}"

    def _for(self, kind: str, value: str) -> str:
        key = kind, value
        if key not in self._stand_ins:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}-{self._counts[kind]}"
            # The placeholder has the form of the name, so that the lines still parse.
            self._stand_ins[key] = name if kind in _NAMES else f"<{name}>"
        return self._stand_ins[key]

    def replaced(self) -> Mapping[str, int]:
        """The number of replacements of each kind."""
        return dict(self._counts)


def bundle(answer: str, command_line: str, files: Iterable[tuple[str, str]], replaced: Mapping[str, int]) -> str:
    """The bundle in Markdown, short enough for an issue. All input is already redacted."""
    kinds = ", ".join(f"{kind}: {number}" for kind, number in sorted(replaced.items()))
    parts = [f"### What `sentinel diagnose` says\n\n{_fenced(answer)}"]
    if command_line:
        parts.append(f"### Command line\n\n{_fenced(command_line)}")
    parts += [f"### {name}\n\n{_fenced(_shortened(text))}" for name, text in files]
    parts.append(
        f"Replaced by `sentinel diagnose --share`: {kinds or 'nothing'}. Lines that may quote prompts or answers are left out.\n"
    )
    return "\n".join(parts)


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text.rstrip()}\n{fence}\n"


def _shortened(text: str) -> str:
    """Keep the beginning, which shows what was started, and the end, which shows how it ended."""
    lines = [line[:_WIDEST] for line in text.rstrip("\n").split("\n")]
    if len(lines) <= _HEAD + _TAIL:
        return "\n".join(lines)
    left = len(lines) - _HEAD - _TAIL
    return "\n".join([*lines[:_HEAD], f"[left out: {left} lines]", *lines[-_TAIL:]])
