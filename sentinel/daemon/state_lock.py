"""One daemon for each state folder: two would overwrite each other's positions and deliver every alert twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class StateInUse(Exception):
    """Another daemon has the folder. The text is one sentence with the remedy."""


class StateLock:
    """Held until `release`; the kernel releases it when the process ends, also on kill -9."""

    def __init__(self, folder: Path) -> None:
        """Raises StateInUse. A folder that cannot be written is no obstacle: then nothing is saved in it either."""
        self._fd = -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise StateInUse(
                f"another sentinel has the state folder {folder}; stop it first, or give this one its own with state_dir"
            ) from error
        except OSError:
            self.release()

    def release(self) -> None:
        """Let another daemon have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
