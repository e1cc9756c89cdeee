"""Wake-ups when files change: inotify, through watchdog. Only a hint; the callback checks for itself.

One watch per folder, however many of its files are followed, and only for events that change something: with open and close
events our own reads would wake us forever. The kernel drops events when its queue is full and watchdog does not report it,
so everything that waits for a wake-up polls as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from sentinel.files.walk import on_network
from sentinel.sources.base import SourceFault

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver, ObservedWatch

Callback = Callable[[], None]

#: No opened, closed or closed-no-write: our own reads would trigger them.
_EVENTS: tuple[type[FileSystemEvent], ...] = (
    FileModifiedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
)


class _Folder(FileSystemEventHandler):
    """The watch on one folder: names in it and their callbacks."""

    def __init__(self, path: str, changed: Callable[[str, FileSystemEvent], None]) -> None:
        self.path = path
        self._changed = changed

    def dispatch(self, event: FileSystemEvent) -> None:
        self._changed(self.path, event)


class Wakes:
    """Calls back when a file or a folder's content changes. Callbacks run on watchdog's thread and must return at once.

    If the folder does not exist, the nearest existing one above it is watched until it does. A folder on a network file system is
    not watched: what others write there raises no event, and a call for it may hang.
    """

    def __init__(self) -> None:
        self._observer: BaseObserver | None = None
        self._lock = threading.RLock()
        #: requested: folder -> name in it ("" is any name) -> callbacks
        self._wanted: dict[str, dict[str, list[Callback]]] = {}
        #: wanted folder -> the existing one that stands for it; empty: none is watched for it
        self._standing: dict[str, str] = {}
        #: active: folder -> watch
        self._watches: dict[str, ObservedWatch | None] = {}

    def start(self) -> None:
        """Start watching. Raises SourceFault when inotify's limits are reached; polling continues without it."""
        try:
            # The constructor takes an inotify instance already.
            observer = Observer()
            observer.start()
        except OSError as error:
            raise _fault(error) from error
        with self._lock:
            self._observer = observer
        for fault in self._place(list(self._wanted)).values():
            raise fault

    def stop(self) -> None:
        """Stop; no callback runs after this returns."""
        with self._lock:
            observer, self._observer = self._observer, None
            self._watches.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def watch(self, path: Path, callback: Callback) -> None:
        """Call back when the file at `path` changes, appears or vanishes. Raises SourceFault at inotify's limits."""
        self._want(path.absolute().parent, path.name, callback)

    def watch_folder(self, path: Path, callback: Callback) -> None:
        """Call back when anything in the folder changes, appears or vanishes. Raises SourceFault at inotify's limits."""
        self._want(path.absolute(), "", callback)

    def unwatch(self, path: Path) -> None:
        """Remove the watch on this file or folder."""
        path = path.absolute()
        with self._lock:
            self._wanted.get(str(path.parent), {}).pop(path.name, None)
            self._wanted.get(str(path), {}).pop("", None)
            for folder in [folder for folder, names in self._wanted.items() if not names]:
                del self._wanted[folder]
        self._place(())

    def _want(self, folder: Path, name: str, callback: Callback) -> None:
        wanted = str(folder)
        with self._lock:
            callbacks = self._wanted.setdefault(wanted, {}).setdefault(name, [])
            callbacks.append(callback)
        if (fault := self._place((wanted,)).get(self._standing.get(wanted, ""))) is None:
            return
        # A folder that cannot be watched is not retried: every later call for another folder would fail on it.
        with self._lock:
            callbacks.remove(callback)
            self._drop_unwanted(wanted, name)
        raise fault

    def _drop_unwanted(self, folder: str, name: str) -> None:
        names = self._wanted.get(folder, {})
        if not names.get(name, True):
            del names[name]
        if not names:
            self._wanted.pop(folder, None)

    def _place(self, looked_at: Collection[str]) -> dict[str, SourceFault]:
        """Watch exactly the wanted folders, or their nearest existing parents. Returns those that cannot be watched, and why.

        Only the folders in `looked_at` are looked at, and that without our lock: one of another log may hang by now.
        """
        needed: set[str] | None = None
        faults: dict[str, SourceFault] = {}
        # A folder created before its parent is watched raises no event: repeat until nothing changes.
        while True:
            found = {folder: _standing(folder) for folder in looked_at}
            with self._lock:
                self._standing.update(found)
                self._standing = {folder: stands for folder, stands in self._standing.items() if folder in self._wanted}
                now = {stands for stands in self._standing.values() if stands}
                if (observer := self._observer) is None or now == needed:
                    return faults
                needed = now
                unneeded = [self._watches.pop(folder) for folder in set(self._watches) - needed]
                missing = needed - set(self._watches)
                self._watches.update(dict.fromkeys(missing))
            # Without our lock: watchdog calls us while it holds its own lock, which these calls take.
            for watch in unneeded:
                _unschedule(observer, watch)
            for folder in missing:
                try:
                    self._schedule(observer, folder)
                except SourceFault as fault:
                    faults[folder] = fault

    def _schedule(self, observer: BaseObserver, folder: str) -> None:
        watch = None
        try:
            watch = observer.schedule(_Folder(folder, self._changed), folder, event_filter=list(_EVENTS))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _fault(error) from error
        finally:
            with self._lock:
                kept = watch is not None and folder in self._watches
                if kept:
                    self._watches[folder] = watch
                elif watch is None:
                    self._watches.pop(folder, None)
        if not kept:
            _unschedule(observer, watch)

    def _changed(self, folder: str, event: FileSystemEvent) -> None:
        """On watchdog's thread: run the callbacks for the names in the event."""
        paths = {os.fsdecode(event.src_path), os.fsdecode(event.dest_path)} - {""}
        parts = [path.rpartition("/") for path in paths]
        names = {name for parent, _, name in parts if (parent or "/") == folder}
        with self._lock:
            waiting = self._wanted.get(folder, {})
            callbacks = [callback for name in names for callback in waiting.get(name, ())]
            if names:
                callbacks += waiting.get("", ())
            # A wanted folder, or a parent of one, appeared or vanished.
            affected = [wanted for wanted in self._wanted if any(f"{wanted}/".startswith(f"{path}/") for path in paths)]
            callbacks += [callback for wanted in affected for each in self._wanted[wanted].values() for callback in each]
            gone = self._watches.pop(folder, None) if folder in paths else None
            observer = self._observer
        if observer is not None:
            _unschedule(observer, gone)
        if affected:
            # Nothing on this thread can handle a fault; what is not watched is polled.
            self._place(affected)
        for callback in callbacks:
            callback()


def _unschedule(observer: BaseObserver, watch: ObservedWatch | None) -> None:
    # watchdog removes a watch by itself when its observer ends.
    with contextlib.suppress(KeyError):
        if watch is not None:
            observer.unschedule(watch)


def _standing(folder: str) -> str:
    """The folder that is watched for this one; empty for none."""
    nearest = _nearest(folder)
    try:
        return "" if on_network(nearest) else nearest
    except OSError:
        return nearest


def _nearest(folder: str) -> str:
    """The folder, or the nearest existing one above it."""
    # Path.is_dir raises where a folder above may not be searched and for a name that is too long; this does not.
    while not os.path.isdir(folder) and folder != "/":  # noqa: PTH112
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def _fault(error: OSError) -> SourceFault:
    instead = "files are looked at once a second instead"
    if error.errno == errno.ENOSPC:
        return SourceFault(f"inotify has no watch left, {instead}", "raise the limit: sysctl fs.inotify.max_user_watches=524288")
    if error.errno == errno.EMFILE:
        return SourceFault(
            f"inotify has no instance left, {instead}", "raise the limit: sysctl fs.inotify.max_user_instances=512"
        )
    return SourceFault(f"cannot watch files for changes: {error.strerror or error}; {instead}")
