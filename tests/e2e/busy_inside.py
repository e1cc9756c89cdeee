"""`sentinel run` whose event loop never gets a turn again after SIGUSR1: for the watchdog of systemd."""

from __future__ import annotations

import signal
import sys

from sentinel.cli.main import main


def _spin(*_: object) -> None:
    while True:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _spin)
    sys.exit(main(["run"]))
