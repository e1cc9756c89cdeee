"""`sentinel status`: one screen. The verdict first, then what is wrong and what to do, then each server in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import NoAnswer, ask, complain, emit, exit_code, over, show_silences, shown, shown_size, style
from sentinel.cli.recent_series import Values, recent
from sentinel.cli.status_details import blind_spots, details, override
from sentinel.model.text import counted, escape
from sentinel.terminal.alert import marks
from sentinel.terminal.names import about, label
from sentinel.terminal.sparkline import sparkline
from sentinel.terminal.style import BOLD, CYAN, DIM, Style, wrap
from sentinel.terminal.table import table

if TYPE_CHECKING:
    import argparse

#: Alerts with their fix, and in one line each: a screen has 24 lines.
_MOST_FIXES, _MOST_ALERTS = 3, 12
_MOST_NAMES = 3
_COLUMNS = ("SERVER", "STATE", "TOKENS/S", "CONTEXT", "GPU", "RAM")
_NUMBERS = (2, 3, 4, 5)
#: Columns of the speed of the last ten minutes, where the terminal has room for them.
_PLOT, _WIDE = 20, 100


def main(arguments: argparse.Namespace) -> int:
    """Print the screen; the exit code is that of the worst open alert that is not silenced."""
    if arguments.host:
        from sentinel.cli import hosts

        return hosts.main(arguments.host, json_too=arguments.json)
    try:
        answer = ask(arguments, "/v1/status")
    except NoAnswer as error:
        if arguments.nagios:
            from sentinel.cli import nagios

            # Nagios reads standard output alone.
            print(nagios.sentence(UNKNOWN, str(error)))
            return UNKNOWN
        return complain(error)
    code = exit_code(a["severity"] for a in answer["alerts"] if not a.get("silenced"))
    if arguments.json:
        emit(answer)
    elif arguments.nagios:
        from sentinel.cli import nagios

        print(nagios.line(answer, code))
    else:
        look = style()
        speeds = recent(arguments) if look.width >= _WIDE and any(server["running"] for server in answer["servers"]) else {}
        print("\n".join(screen(answer, look, speeds, verbose=arguments.verbose)))
    return code


def screen(
    answer: Mapping[str, Any], look: Style, speeds: Mapping[str, Values] = MappingProxyType({}), *, verbose: bool = False
) -> Iterator[str]:
    """The lines of the screen, painted and no wider than the terminal; `speeds` are those of the last ten minutes."""
    called = {server["name"]: server.get("called") for server in answer["servers"]}
    alerts = [{**alert, "called": called.get(alert["entity"]["name"])} for alert in answer["alerts"]]
    yield from _verdict(answer["servers"], alerts, look)
    yield from _alerts(alerts, look)
    yield from _servers(answer["servers"], alerts, look, speeds, verbose=verbose)
    yield ""
    yield from _machine(answer["gpus"], answer["host"], look)
    rows = [*_beside(answer, called), *_faults(answer, verbose=verbose)]
    for row in [f"sentinel {answer['version']}, {len(answer['rules'])} rules", *rows] if verbose else rows:
        yield from wrap(escape(row), look.prose, "", "    ")
    spots = answer["blind_spots"]
    if spots and verbose:
        yield from ("", look.paint("Not visible to sentinel", BOLD))
        for row in blind_spots(spots, called):
            yield from wrap(escape(row.lstrip(" ")), look.prose, " " * (len(row) - len(row.lstrip(" "))), "    ")
        if left_out := answer.get("blind_spots_left_out"):
            yield f"  of {counted(left_out, 'more server')} this was not computed yet: ask again"
    elif spots:
        yield from _dim(f"{counted(len(spots), 'thing')} sentinel cannot see: sentinel status --verbose", look, "    ")


def _dim(text: str, look: Style, indent: str = "") -> Iterator[str]:
    """A hint: wrapped, each line dimmed, `indent` before all of them but the first."""
    return (look.paint(line, DIM) for line in wrap(text, look.prose, "", indent))


def _verdict(servers: Sequence[Mapping[str, Any]], alerts: Sequence[Mapping[str, Any]], look: Style) -> Iterator[str]:
    """One line: is all well."""
    running = [server for server in servers if server["running"]]
    known = [server for server in servers if not server["running"] and not server["process_seen"]]
    loud = [alert for alert in alerts if not alert.get("silenced") and alert["severity"] != "info"]
    quiet = sum(bool(alert.get("silenced")) for alert in alerts)
    beside = f", {counted(quiet, 'alert')} silenced" if quiet else ""
    if loud:
        worst = loud[0]["severity"]
        text = f"{worst.upper()}: {counted(len(loud), 'open alert')}{_on(loud, servers)}{beside}"
        first, *rest = wrap(text, look.prose, "  ")
        yield look.by_state(f"{look.mark(worst)} {first.strip()}", worst)
        yield from (look.by_state(line, worst) for line in rest)
        return
    loading = sum(server["state"] == "loading" for server in running)
    busy = f", {loading} loading" if loading else ""
    if running:
        what = f"{counted(len(running), 'server')}{busy}, no problem found"
    elif known:
        # Whether they run is unknown.
        what = f"no process of a llama-server seen, {counted(len(known), 'server')} known by log alone"
    else:
        what = "no llama-server runs here"
    yield look.by_state(f"{look.mark('ok')} {what}{beside}", "ok" if running else "absent")
    if not running and not known:
        hint = "sentinel finds one within a second of its start: sentinel exec -- llama-server -m model.gguf"
        yield from wrap(hint, look.prose, "  ")


def _on(loud: Sequence[Mapping[str, Any]], servers: Sequence[Mapping[str, Any]]) -> str:
    """How many servers they are about. What is not shown has ended: a victim of the kernel, perhaps, and no llama-server."""
    named = {alert["entity"]["name"] for alert in loud if alert["entity"]["scope"] == "server"}
    shown = named & {server["name"] for server in servers}
    on = [f"{len(shown)} of {counted(len(servers), 'server')}"] if shown else []
    if ended := len(named - shown):
        on.append(f"{ended} {'process' if ended == 1 else 'processes'} that ended")
    return f" on {' and '.join(on)}" if on else ""


def _alerts(alerts: Sequence[Mapping[str, Any]], look: Style) -> Iterator[str]:
    """Each alert with the first thing to do; of many, the later ones in a line."""
    for number, alert in enumerate(alerts[:_MOST_ALERTS]):
        full = number < _MOST_FIXES and alert["severity"] != "info" and not alert.get("silenced")
        if full or number == 0 or alerts[number - 1]["severity"] != alert["severity"]:
            yield ""
        yield from _alert(alert, look, full=full)
    if len(alerts) > _MOST_ALERTS:
        yield f"  ({len(alerts) - _MOST_ALERTS} more: sentinel alerts)"
    if alerts:
        hint = wrap("Cause, evidence and all fixes: sentinel alerts --verbose", look.prose, " " * 12)
        yield from (look.paint(line, DIM) for line in hint)


def _alert(alert: Mapping[str, Any], look: Style, *, full: bool) -> Iterator[str]:
    severity = alert["severity"]
    head = f"{look.mark(severity)} {severity.upper()}"
    words = [*marks(alert), over(alert)] if alert.get("server_ended") else marks(alert)
    first, *rest = wrap(about(alert) + escape(f" ({'; '.join(words)})" if words else ""), look.prose, " " * 12)
    yield look.by_state(f"{head:<12}", severity) + look.paint(first.strip(), BOLD if full else "")
    yield from (look.paint(line, BOLD if full else "") for line in rest)
    fix = alert["fixes"][0] if full and alert["fixes"] else None
    if fix is None:
        return
    first, *rest = wrap(escape(fix["do"]), look.prose, " " * 12)
    yield look.paint("    Fix     ", DIM) + first.strip()
    yield from rest
    for row, line in enumerate(fix["command"].split("\n") if fix["command"] else ()):
        yield f"{' ' * 12}{look.paint(' ' if row else '$', DIM)} {look.paint(escape(line), CYAN)}"


def _servers(
    servers: Sequence[Mapping[str, Any]],
    alerts: Sequence[Mapping[str, Any]],
    look: Style,
    speeds: Mapping[str, Values],
    *,
    verbose: bool,
) -> Iterator[str]:
    running = [server for server in servers if server["running"]]
    known = [server for server in servers if not server["running"] and not server["process_seen"]]
    ended = [server for server in servers if not server["running"] and server["process_seen"]]
    if running or known:
        yield ""
    plots = [sparkline(speeds.get(server["name"], ()), _PLOT, plain=not look.unicode) for server in running]
    heads = (*_COLUMNS, "LAST 10 MINUTES" if any(map(str.strip, plots)) else "")
    rows = [heads, *((*_row(server), plot if heads[-1] else "") for server, plot in zip(running, plots, strict=True))]
    worst = {alert["entity"]["name"]: alert["severity"] for alert in reversed(alerts) if not alert.get("silenced")}

    def paint(row: int, column: int, text: str) -> str:
        if row == 0:
            return look.paint(text, DIM)
        server = running[row - 1]
        if column == 0:
            bad = worst.get(server["name"])
            return look.by_state(text, bad) if bad in ("critical", "warning") else text
        return look.by_state(text, str(server["state"])) if column == 1 else text

    lines = list(table(rows, look, right=_NUMBERS, names=0, paint=paint)) if running else []
    yield from lines[:1]
    for server, line in zip(running, lines[1:], strict=True):
        yield line
        if server["name"] not in worst or verbose:
            yield from _preflight(server, look)
        if verbose:
            for row in details(server):
                yield from wrap(escape(row), look.prose, "    ", " " * 9)
    for server in known:
        # Known only from a configured log: whether it runs is unknown.
        said = f"; its log says: {shown(server['state'])}" if server["state"] is not None else ""
        yield from wrap(
            f"{label(server['name'])}: no process known{said} (log {shown(server['log_where'])})", look.prose, "", "    "
        )
    if ended:
        names = [label(server["name"], server.get("called")) for server in ended]
        shown_names = names if verbose else names[:_MOST_NAMES]
        more = len(names) - len(shown_names)
        text = f"Ended: {', '.join(shown_names)}{f' and {more} more' if more else ''}"
        yield from _dim(text, look, "    ")


def _row(server: Mapping[str, Any]) -> tuple[str, ...]:
    name = label(server["name"], server.get("called"))
    if server["is_router"]:
        return (name, f"{shown(server['state'])}, router", "", "", "", shown_size(server["rss_bytes"]))
    speed = f"{server['generation_tps']:.1f}" if server["generation_tps"] is not None else "-"
    gpu, memory = (shown_size(server[key]) for key in ("gpu_memory_bytes", "rss_bytes"))
    return (name, shown(server["state"]), speed, context(server), gpu, memory)


def context(server: Mapping[str, Any]) -> str:
    """Slots and their context; before it is known, what was asked for."""
    if server["ctx_per_slot"] is not None:
        slots = server["slots"]
        return f"{slots} x {server['ctx_per_slot']}" if slots is not None else str(server["ctx_per_slot"])
    wanted = server["ctx_requested"]
    return "?" if wanted is None else f"-c {wanted}" if wanted else "model default"


def _preflight(server: Mapping[str, Any], look: Style) -> Iterator[str]:
    """What was computed at the start, if it was no good news."""
    verdict = server.get("preflight")
    if verdict in ("fails", "tight"):
        mark = look.by_state(look.mark(verdict), verdict)
        first, *rest = wrap(escape(str(server.get("preflight_why") or verdict)), look.prose, " " * 16)
        yield f"  preflight  {mark}  {first.strip()}"
        yield from rest


def _machine(gpus: Sequence[Mapping[str, Any]], host: Mapping[str, Any], look: Style) -> Iterator[str]:
    if not gpus:
        yield "GPU   " + ("none in this machine" if host.get("gpu_count") == 0 else "none that can be read")
    for gpu in gpus:
        facts = [f"{shown_size(gpu.get('vram_used_bytes'))} of {shown_size(gpu.get('vram_total_bytes'))}"]
        for key, unit in (("busy_percent", "% busy"), ("power_watts", "W"), ("temp_edge_celsius", "C")):
            if gpu.get(key) is not None:
                facts.append(f"{shown(gpu[key])} {unit}")
        text = f"GPU   {shown(gpu.get('name') or gpu['address'])}: {look.dot.join(facts)}"
        yield from wrap(escape(text), look.prose, "", "      ")
    text = f"Host  {shown_size(host.get('mem_available_bytes'))} of {shown_size(host.get('mem_total_bytes'))} memory free"
    yield from wrap(text, look.prose, "", "      ")


def _beside(answer: Mapping[str, Any], called: Mapping[str, Any]) -> Iterator[str]:
    """Silences and overrides: what people changed."""
    yield from (f"Silenced  {line}" for line in show_silences(answer["silences"], called))
    yield from (f"Override  {override(one)}" for one in answer.get("overrides") or ())


def _faults(answer: Mapping[str, Any], *, verbose: bool) -> Iterator[str]:
    """What of sentinel itself does not work."""
    for source in sorted(answer["sources"], key=lambda source: str(source["health"])):
        if source["health"] in ("failed", "starting"):
            # a source's own fault ends with the remedy
            why, remedy = source["why"], source["remedy"]
            text = why if remedy in why else f"{why}; {remedy}"
            yield f"sentinel: {source['name']} {source['health']}{f': {text}' if text else ''}"
    for rule in answer["rules"]:
        if rule["health"] != "ok":
            yield f"sentinel: rule {rule['id']} does not work: {rule['health']}"
    cut = answer.get("cut") or ()
    if verbose or len(cut) == 1:
        yield from (f"Cut or refused: {one['what']} of {one['whose']} ({one['count']})" for one in cut)
    elif cut:
        yield f"Cut or refused: {sum(one['count'] for one in cut)} things from outside (sentinel status --verbose)"
    for sink in answer["sinks"]:
        if sink["fault"]:
            yield f"Alerts wait for {sink['name']} ({sink['waiting']}): {sink['fault']}"
    if answer["recorder"].get("fault"):
        yield f"Flight recorder: {answer['recorder']['fault']}"
    if answer["state"]["fault"]:
        yield f"State is not saved to disk: {answer['state']['fault']}"
