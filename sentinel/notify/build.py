"""Channels from their configuration: each with the one that sends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from sentinel.api.follow import open_alerts
from sentinel.model.json_form import iso
from sentinel.notify.alertmanager import Alertmanager
from sentinel.notify.apprise_service import Apprise
from sentinel.notify.channel import Health, Line
from sentinel.notify.command import Command
from sentinel.notify.outcome import Outcome, Sender
from sentinel.notify.post import Target, post
from sentinel.notify.secrets import Redactor
from sentinel.notify.service import Beats, Service
from sentinel.notify.settings import Channel, Config
from sentinel.notify.store import Store
from sentinel.notify.webhook import Webhook


def sender(channel: Channel) -> Sender:
    """What sends messages of a channel; not for an Alertmanager. Raises NotUsable."""
    redact = Redactor(channel.secrets)
    if channel.kind == "apprise":
        return Apprise(channel.name, channel.url, redact, channel.seconds)
    if channel.kind == "command":
        return Command(channel.command, channel.seconds, redact)
    return Webhook(target(channel), channel.body)


def target(channel: Channel) -> Target:
    """Where a webhook or an Alertmanager is."""
    url = channel.url
    if channel.kind == "alertmanager":
        url = url.rstrip("/") + "/api/v2/alerts"
    return Target(url, channel.headers, channel.seconds, Redactor(channel.secrets))


def alertmanager(channel: Channel, config: Config, posted: dict[str, Any]) -> Alertmanager:
    """One Alertmanager."""
    sockets = [config.socket] if config.socket else None
    return Alertmanager(target(channel), config.host, config.runbook, channel.chosen, lambda: open_alerts(sockets), posted)


def service(
    config: Config, store: Store, say: Callable[[int, str], None], make: Callable[[Channel], Sender] | None = None
) -> Service:
    """Everything, ready to run. `make`: senders for all channels instead of the real ones. Raises NotUsable."""
    store.has_channels([channel.name for channel in config.channels])
    lines = [channel.name for channel in config.channels if channel.kind != "alertmanager" or make is not None]
    # A channel is new until it has seen what is open: it may have been killed before the daemon answered.
    made = Service(store, config.host, say, frozenset(name for name in lines if not store.value(name, "counted_until")))
    for channel in config.channels:
        health = Health(channel.name, store, say)
        if channel.name not in lines:
            posted = json.loads(store.value(channel.name, "posted"))
            made.beats.append(Beats(channel.name, alertmanager(channel, config, posted), store, made.inbox, health))
        else:
            made.lines.append(Line(channel, (make or sender)(channel), store, made.inbox, config.host, health))
    return made


def test_alertmanager(channel: Channel, config: Config) -> Outcome:
    """A test alert that ends at once: a receiver that gets only what fires does not show it."""
    now = iso(time.time())
    labels = {"alertname": "sentinel-test", "instance": config.host, "entity": config.host, "scope": "host", "severity": "info"}
    annotations = {"summary": f"Alerts of sentinel on {config.host} arrive here. Nothing is wrong."}
    return post(target(channel), [{"labels": labels, "annotations": annotations, "startsAt": now, "endsAt": now}])
