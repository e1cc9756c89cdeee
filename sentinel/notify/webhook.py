"""Webhooks: a JSON body, by a template or with everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sentinel.notify.message import Message
from sentinel.notify.outcome import Outcome
from sentinel.notify.post import Target, post
from sentinel.notify.template import default_body, filled


@dataclass(frozen=True, slots=True)
class Webhook:
    """`template` None: everything."""

    target: Target
    template: Mapping[str, Any] | None = field(default=None, repr=False)

    def send(self, message: Message) -> Outcome:
        """One POST. A receiver that honours Idempotency-Key, or `key` in the body, knows a repeat."""
        body = default_body(message) if self.template is None else filled(self.template, message)
        return post(self.target, body, message.key)
