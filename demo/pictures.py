"""Pictures for README and docs: `sentinel top` and what each verb prints as SVG, and, where there is a Chromium, the page of
`sentinel report` as PNG.

Run by `make pictures`. The real daemon watches two real llama-servers that answer for a minute: one asks for 99 GPU layers where
there is no GPU, the other asks for none. Only they are shown, whatever else runs on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import screens
from real_server import Running, binary, model, request, wait

from demo import alerts, llama_server, say, sentinel
from sentinel.cli.output import ask
from sentinel.cli.top.app import Top
from sentinel.cli.top.poll import DaemonPoll, Snapshot
from sentinel.report.collect import collect
from sentinel.report.of_daemon import page
from sentinel.report.page import render

#: What the pictures show: name, columns and rows.
SIZES = (("top", 100, 30), ("top-80x24", 80, 24))
#: What each verb is asked, with the model and the log of the server that fails.
VERBS = {
    "status": ("status",),
    "alerts": ("alerts",),
    "since": ("alerts", "--since", "1h"),
    "why": ("why", "cpu-fallback"),
    "diagnose": ("diagnose", "{log}", "--argv", "llama-server -m model.gguf -c 2048 -np 2 -ngl 99"),
    "preflight": ("preflight", "--", "{server}", "-m", "{model}", "-c", "2048", "-np", "2", "-ngl", "99"),
}
_SECONDS = 60.0


class OnlyThese(DaemonPoll):
    """The daemon's answers about these ports alone."""

    def __init__(self, socket: Path, ports: Collection[int]) -> None:
        super().__init__([socket])
        self._ports = tuple(f":{port}" for port in ports)

    def look(self) -> Snapshot:
        """The present state."""
        shot = super().look()
        servers = [server for server in shot.status["servers"] if server["name"].endswith(self._ports)]
        names = {server["name"] for server in servers}
        open_alerts = [alert for alert in shot.status["alerts"] if alert["entity"]["name"] in names]
        return replace(shot, status={**shot.status, "servers": servers, "alerts": open_alerts})


async def draw(daemon: DaemonPoll, columns: int, rows: int) -> dict[str, str]:
    """One picture in each theme, when the screen has all its parts."""
    app = Top(daemon)
    async with app.run_test(size=(columns, rows)) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            if "CRITICAL" in app.export_screenshot():
                break
        await pilot.pause(0.5)
        drawn = {}
        for theme in screens.THEMES:
            with screens.drawn_in(theme):
                drawn[theme] = screens.self_contained(app.export_screenshot(title="sentinel top"))
        return drawn


def draw_report(folder: Path, socket: Path, ports: Collection[int], to: Path) -> None:
    """The begin of the page about these ports, as a browser shows it."""
    browser = shutil.which("chromium")
    if browser is None:
        say("no Chromium here: the picture of the report stays as it is")
        return
    now = time.time()
    asking = argparse.Namespace(socket=str(socket))
    found = collect(lambda path: ask(asking, path), now - 3600, now, machine="")
    ends = tuple(f":{port}" for port in ports)
    servers = [server for server in found.status["servers"] if server["name"].endswith(ends)]
    names = {server["name"] for server in servers}
    status = {
        **found.status,
        "servers": servers,
        "alerts": [alert for alert in found.status["alerts"] if alert["entity"]["name"] in names],
        "blind_spots": [],
    }
    made = replace(
        found,
        machine="",
        status=status,
        transitions=[one for one in found.transitions if one["entity"]["name"] in names],
        series={key: one for key, one in found.series.items() if key[1] in names},
    )
    file = folder / "report.html"
    file.write_text(render(page(made)), encoding="utf-8")
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}")
    command = [browser, *flags, "--window-size=900,1150", f"--screenshot={to}", file.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    say(str(to))


def answer(servers: Collection[Running]) -> None:
    """Let them work, so that there is something to see."""
    until, number = time.monotonic() + _SECONDS, 0
    while time.monotonic() < until:
        for running in servers:
            number += 1
            body = {"prompt": "The sea is " + "very " * (number * 13 % 150), "n_predict": 20 + number * 7 % 60}
            request(f"{running.url}/completion", json.dumps(body).encode())


def main() -> int:
    """Draw every picture into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    file = str(model(say))
    with tempfile.TemporaryDirectory(prefix="sentinel-pictures-") as name, sentinel(Path(name)) as socket:
        few, none = ("-m", file, "-c", "2048", "-np", "2", "-ngl", "99"), ("-m", file, "-c", "2048", "-np", "2", "-ngl", "0")
        with llama_server(Path(name), *few) as fails, llama_server(Path(name), *none) as works:
            if not wait(lambda: "cpu-fallback" in alerts(socket), 20):
                sys.exit("pictures: no cpu-fallback alert within 20 s; this is a bug")
            answer((fails, works))
            ports = (fails.port, works.port)
            for picture, columns, rows in SIZES:
                for theme, svg in asyncio.run(draw(OnlyThese(socket, ports), columns, rows)).items():
                    (folder / f"{picture}-{theme}.svg").write_text(svg, encoding="utf-8")
            known = {"log": str(fails.log), "server": str(binary()), "model": file}
            verbs = {verb: [word.format_map(known) for word in words] for verb, words in VERBS.items()}
            hidden = (fails.log.parent, binary().parent, Path(file).parent)
            for drawn in screens.draw(verbs, socket, ports, hidden, folder):
                say(str(drawn))
            draw_report(Path(name), socket, ports, (folder / "report.png").absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
