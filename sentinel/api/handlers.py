"""The queries of the API, answered from the running daemon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import sentinel
from sentinel.api.routes import ApiError, Blob, Query, QueryField, Request, Route, Text, bound
from sentinel.api.running import Running
from sentinel.engine.inspect import explain, metrics, status
from sentinel.engine.inspect.blind_spots import BlindSpots
from sentinel.files.machine import host_name
from sentinel.model.entity import HOST
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.model.problem import did_you_mean
from sentinel.model.text import counted, escape
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.digest import changes
from sentinel.rulefiles.override_age import sentence

_RULE = "the id of a rule, for example cpu-fallback"
_PACKED = "application/gzip"
#: Blind spots are computed for so long without a turn for others, so long for one answer (70 servers), and so long with the
#: turns of others; those of a few always. With 100 servers it took 1.2 s on a busy machine, and nothing else ran. Seconds.
_SLICE, _MOST_SPENT, _LONGEST, _FEW = 0.01, 0.1, 0.25, 16

ROUTES = (
    Route("GET", "/v1/status", "status", "Status"),
    Route("GET", "/v1/alerts", "alerts", "Alerts", fields=(QueryField("pending", "flag", "1: those on hold as well"),)),
    Route("GET", "/v1/alerts/{fingerprint}", "alert", "Alert", {"fingerprint": "of an open alert"}, refuses=(404,)),
    Route(
        "GET",
        "/v1/history",
        "history",
        "Transitions",
        fields=(
            QueryField("since", "number", "seconds since the epoch (default: the beginning)"),
            QueryField("limit", "whole", "how many, the newest (default: 1000)", 1, 1_000),
            QueryField("before", "whole", "only those before this one: `earlier` of the answer that followed them", 1, 2**62),
        ),
    ),
    Route("GET", "/v1/signals", "signals", "Signals"),
    Route("GET", "/v1/rules", "rules", "Rules"),
    Route(
        "GET",
        "/v1/why/{rule}",
        "why",
        "Why",
        {"rule": _RULE},
        (QueryField("server", "text", "the name or the port of a server (default: all)"),),
        refuses=(404,),
    ),
    Route("GET", "/v1/recording", "recording", _PACKED, refuses=(404,)),
    Route("GET", "/v1/recordings", "recordings", "Recordings", refuses=(404,)),
    Route("GET", "/v1/recordings/{name}", "kept_recording", _PACKED, {"name": "as /v1/recordings has it"}, refuses=(404, 500)),
    Route("GET", "/metrics", "metrics", "text/plain"),
    Route("POST", "/v1/reload", "reload", "Reloaded", refuses=(403, 422)),
)


class Queries:
    """Each method answers one route."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._blind_spots = BlindSpots()
        self._examination: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def routes(self) -> Mapping[tuple[str, str], Query]:
        """Every route of contracts, except the event stream, which the server itself serves."""
        return bound(ROUTES, self)

    @contextlib.asynccontextmanager
    async def _examined(self) -> AsyncIterator[None]:
        """Work out the blind spots, as far as the time of one answer goes. Whoever asks meanwhile gets the same ones."""
        if self._examination is None or self._examination.done():
            self._examination = asyncio.create_task(self._examine(), name="blind spots")
        await asyncio.shield(self._examination)
        # All who waited go on now: one after the other, with a turn of the engine in between.
        async with self._turn:
            yield
            await asyncio.sleep(0)

    async def _examine(self) -> None:
        begun = since = time.perf_counter()
        spent = 0.0
        for number, _ in enumerate(self._blind_spots.renew(self._running.engine, self._running.now())):
            now = time.perf_counter()
            if now - since < _SLICE:
                continue
            spent += now - since
            if number >= _FEW and (spent > _MOST_SPENT or now - begun > _LONGEST):
                return
            await asyncio.sleep(0)
            since = time.perf_counter()

    async def status(self, _request: Request) -> Mapping[str, Any]:
        """Servers, GPUs, host, alerts, blind spots and sentinel itself."""
        d = self._running
        async with self._examined():
            now = d.now()
            return {
                "version": sentinel.__version__,
                "at": iso(now),
                "since": iso(d.started),
                "servers": status.servers(d.engine, now),
                "gpus": status.gpus(d.engine, now),
                "host": status.entity_signals(d.engine, HOST, now),
                "alerts": status.alerts(d.engine, now, host_name()),
                "silences": status.silences(d.engine),
                "blind_spots": self._blind_spots.rows,
                "blind_spots_left_out": self._blind_spots.left_out,
                "sources": self._sources(),
                "rules": status.rules(d.engine),
                "overrides": [{**one, "file": escape(one["file"])} for one in d.overrides],
                "queue": {"waiting": len(d.inbox), "dropped_samples": d.inbox.dropped},
                "state": {"folder": str(d.state_dir), "fault": d.history.fault, "remedy": d.history.remedy},
                "series": {"fault": d.series.fault},
                "recorder": self._recorder(),
                "sinks": [
                    {"name": name, "waiting": d.outbox.waiting(name), "fault": d.outbox.down().get(name, "")}
                    for name in d.outbox.names
                ],
                "cut": status.cuts(d.engine),
            }

    def _recorder(self) -> Mapping[str, Any]:
        recorder = self._running.recorder
        if recorder is None:
            return {"on": False}
        faults = [text for text in (recorder.fault, recorder.kept.fault) if text]
        return {
            "on": True,
            "since": iso(recorder.begin),
            "readings": recorder.readings,
            "bytes": recorder.size,
            "folder": str(recorder.kept.folder),
            "fault": "; ".join(faults),
        }

    def _flight(self) -> FlightRecorder:
        if self._running.recorder is None:
            raise ApiError(404, "the flight recorder is switched off (recorder = false in sentinel.toml)")
        return self._running.recorder

    def recording(self, _request: Request) -> Blob:
        """What the flight recorder holds now, as a packed recording."""
        recorder = self._flight()
        pieces = tuple(recorder.content())
        if not pieces:
            raise ApiError(503, recorder.fault or "nothing is recorded yet; ask again in a second")
        return Blob(pieces, "application/gzip")

    def recordings(self, _request: Request) -> Mapping[str, Any]:
        """Recordings on disk, kept around alerts, oldest first."""
        kept = self._flight().kept.kept()
        return {"recordings": [{"name": k.name, "bytes": k.size, "written": iso(k.written)} for k in kept]}

    def kept_recording(self, request: Request) -> Blob:
        """A recording that was kept around an alert."""
        wanted = request.params["name"]
        kept = self._flight().kept
        try:
            data = kept.read(wanted)
        except OSError as error:
            raise ApiError(500, f"{wanted} cannot be read: {error.strerror}") from error
        if data is None:
            names = [k.name for k in kept.kept()]
            raise ApiError(
                404, f"there is no recording '{escape(wanted):.120}'{did_you_mean(wanted, names)}; `sentinel record --list`"
            )
        return Blob((data,), "application/gzip")

    def _sources(self) -> list[dict[str, Any]]:
        states = self._running.sources()
        return [
            {
                "name": escape(s.name),
                "health": s.health,
                "why": escape(s.why),
                "remedy": escape(s.remedy),
                "since": iso(s.since),
                "failures": s.failures,
            }
            for s in states
        ]

    def alerts(self, request: Request) -> Mapping[str, Any]:
        """Open alerts, and silences."""
        d = self._running
        pending = request.query.get("pending") in ("1", "true")
        return {"alerts": status.alerts(d.engine, d.now(), host_name(), pending=pending), "silences": status.silences(d.engine)}

    def alert(self, request: Request) -> Mapping[str, Any]:
        """One open alert."""
        wanted = request.params["fingerprint"]
        d = self._running
        for alert in status.alerts(d.engine, d.now(), host_name(), pending=True):
            if alert["fingerprint"] == wanted:
                return {"alert": alert}
        raise ApiError(404, f"no open alert has the fingerprint {escape(wanted):.40}; /v1/alerts lists them")

    def history(self, request: Request) -> Mapping[str, Any]:
        """Past transitions, oldest first, a page of the newest."""
        since = float(request.query["since"]) if "since" in request.query else None
        limit = int(request.query.get("limit", "1000"))
        # one more, to know whether there is a page before this one
        more = {"before": int(request.query["before"])} if "before" in request.query else {}
        rows = self._running.history.page(since, limit + 1, **more)
        earlier = rows[1][0] if len(rows) > limit else None
        engine, host = self._running.engine, host_name()
        shown = [transition_to_dict(t, host) | {"called": status.called(engine, t.entity)} for _, t in rows[-limit:]]
        return {"transitions": shown, "earlier": earlier}

    def signals(self, _request: Request) -> Mapping[str, Any]:
        """Every fact with its age and source, and what is known to be unknown."""
        return {"signals": status.signals(self._running.engine, self._running.now())}

    def rules(self, _request: Request) -> Mapping[str, Any]:
        """The active rules."""
        return {"rules": status.rules(self._running.engine)}

    def why(self, request: Request) -> Mapping[str, Any]:
        """Each check of a rule, for all that it judges or for one server."""
        d = self._running
        rule = request.params["rule"]
        known = d.engine.ruleset.rules
        if rule not in known:
            raise ApiError(
                404, f"there is no rule '{escape(rule):.60}'{did_you_mean(rule, known)}; `sentinel rules list` shows all"
            )
        server = request.query.get("server", "")
        answer = explain.why(d.engine, rule, server, d.now())
        if server and not answer["subjects"]:
            names = [e.name for e in status.entities_of(d.engine, known[rule])]
            raise ApiError(
                404, f"there is no '{escape(server):.60}'{did_you_mean(server, names)}; known: {', '.join(names) or 'none'}"
            )
        return answer

    async def metrics(self, _request: Request) -> Text:
        """Alerts, signals and sentinel itself as numbers, for Prometheus."""
        from sentinel.api import prometheus

        d = self._running
        async with self._examined():
            now = d.now()
            states = d.sources()
            own = metrics.Own(
                version=sentinel.__version__,
                started=d.started,
                lag=d.lag,
                queue=len(d.inbox),
                dropped=d.inbox.dropped,
                clients=d.clients,
                history_works=not d.history.fault,
                sources=tuple(metrics.Source(s.name, s.health, s.failures) for s in states),
                sinks=tuple((name, d.outbox.waiting(name), name not in d.outbox.down()) for name in d.outbox.names),
                transition_counts=d.transition_counts,
                host=host_name(),
            )
            return Text(prometheus.text(metrics.families(d.engine, own, now, self._blind_spots.rows)), prometheus.CONTENT_TYPE)

    async def reload(self, _request: Request) -> Mapping[str, Any]:
        """Reload the rules; an error lists every problem in them."""
        before = self._running.engine.ruleset
        loaded = await self._running.reload()
        problems = [
            {"file": escape(p.file), "line": p.line or None, "where": escape(p.where), "what": escape(p.what), "level": p.level}
            for p in loaded.problems
        ]
        if loaded.ruleset is None:
            count = counted(len(loaded.errors), "mistake")
            raise ApiError(422, f"{count} in the rule files; the old rules stay active", more={"problems": problems})
        warnings = [{"file": one["file"], "what": sentence(one)} for one in self._running.overrides if one["changed"]]
        return {
            "rules": len(loaded.ruleset.rules),
            **changes(before, loaded.ruleset),
            "problems": problems,
            "overrides_to_look_at": warnings,
        }
