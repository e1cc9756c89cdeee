"""Phones, chats and mail through Apprise (the extra `notify`), which is imported only where a channel asks for it."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import Any

from sentinel.files.libraries import how_to_add
from sentinel.model.text import escape
from sentinel.notify.message import Message
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.post import may_be_for_content
from sentinel.notify.secrets import Redactor

#: The status that a service answered, as the plug-ins log it: these are about what is in the message.
_FOR_CONTENT = re.compile(r"\berror=(?:400|413|422)\b")
_STATUS = re.compile(r"\berror=(\d{3})\b")


class NotUsable(Exception):
    """The library is not installed, or does not know the address. The text is a sentence without secrets."""


class Apprise:
    """One address of one service. Apprise reports that it failed, and only its log says why."""

    def __init__(self, name: str, url: str, redact: Redactor, seconds: float = 10.0) -> None:
        library = _library(name)
        asset = library.AppriseAsset()
        # A POST that is redirected becomes a GET, whose 200 would count as delivered; `redirect=yes` in the address allows it.
        asset.http_redirects = False
        schema = url.partition("://")[0]
        if "://" not in url:
            raise NotUsable(f"channel '{name}': its url is not an address of Apprise; write for example ntfys://ntfy.sh/TOPIC")
        with _Log() as log:
            service: Any = library.Apprise.instantiate(url, asset=asset)
        if service is None:
            kind = f"{escape(schema)[:20]}://"
            raise NotUsable(redact(f"channel '{name}': Apprise does not take its url, of the kind {kind}{log.last(redact)}"))
        if "rto=" not in url and "cto=" not in url:
            service.socket_connect_timeout = service.socket_read_timeout = seconds
        # Through its collection of one: only that turns text into what the service takes, with < and & as they are.
        self._services: Any = library.Apprise()
        self._services.add(service)
        self._text = library.NotifyFormat.TEXT
        self._types = library.NotifyType
        self._redact = redact
        self._schema = escape(schema)[:20]

    def send(self, message: Message) -> Outcome:
        """Refused and unsure cannot be distinguished: what fails here has mostly not arrived."""
        with _Log() as log:
            try:
                kind = self._kind(message)
                done = self._services.notify(message.text, message.title, kind, body_format=self._text)
            except Exception as error:
                # A hundred plug-ins of others: what they raise is a failure of this channel alone.
                said = f"{self._schema}: {type(error).__name__}: {self._redact.quoted(str(error))}"
                return Outcome("refused", self._redact(said), answered=True)
        if done:
            return DELIVERED
        why = self._redact(f"{self._schema}: not delivered{log.last(self._redact)}")
        status = _STATUS.search(log.text)
        # Without a status nobody knows: an SMTP server that refuses one mail is logged like one that is away.
        answered = status is None or may_be_for_content(int(status[1]))
        return Outcome("refused", why, too_large=_FOR_CONTENT.search(log.text) is not None, answered=answered)

    def _kind(self, message: Message) -> Any:
        if message.status != "firing":
            return self._types.SUCCESS if message.status == "resolved" else self._types.INFO
        kinds = {"critical": self._types.FAILURE, "warning": self._types.WARNING}
        return kinds.get(message.severity, self._types.INFO)


def _library(name: str) -> Any:
    try:
        import apprise
    except ImportError as error:
        raise NotUsable(f"channel '{name}' needs the library Apprise: {how_to_add('apprise', 'notify')}") from error
    log = logging.getLogger("apprise")
    # Its records hold addresses: they go nowhere but through `_Log`.
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return apprise


#: The log of the try that is under way. Apprise 2 sends in threads of its own, to which it hands the context on.
_UNDER_WAY: ContextVar[_Log | None] = ContextVar("_UNDER_WAY", default=None)


class _Log(logging.Handler):
    """The last that Apprise says in this context, while the block lasts."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def __enter__(self) -> _Log:
        logging.getLogger("apprise").addHandler(self)
        self._before = _UNDER_WAY.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _UNDER_WAY.reset(self._before)
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Kept if it is ours: other channels send at the same time."""
        if _UNDER_WAY.get() is self:
            self.text = record.getMessage()

    def last(self, redact: Redactor) -> str:
        """The last sentence, behind a colon; empty if there is none."""
        return f": {redact.quoted(self.text)}" if self.text else ""
