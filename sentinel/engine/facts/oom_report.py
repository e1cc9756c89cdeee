"""The kernel's report of one out-of-memory kill: a dozen to thousands of lines, of which only the last names the victim.

mm/oom_kill.c (dump_header, dump_tasks, oom_kill_process) and mm/memcontrol.c (mem_cgroup_print_oom_info): who asked for memory,
the limit that was reached, the table of tasks, constraint and groups, then the kill. One report is printed at a time (oom_lock).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sentinel.model.entity import Value
from sentinel.model.reading import Event

#: events that are parts of a report; all of them precede the kill
PARTS = frozenset({"oom_invoked", "oom_limit", "oom_task", "oom_context", "oom_task_in", "oom_chosen"})
#: Parts older than this before the kill belong to a report whose end was lost. Seconds: a table of thousands of tasks on a
#: serial console takes this long.
_SPAN = 120.0
#: tasks kept, the largest; a report names three
_KEPT = 8
#: page sizes of Linux on llama-server's platforms; the report counts in pages and does not give their size
_PAGES = (4096, 16384, 65536)
#: smaller tasks explain nothing
_WORTH_NAMING = 64 << 20


@dataclass(slots=True)
class OomReport:
    """The parts seen so far. Feed `note` in order; `explain` returns the fields for the kill and clears the parts."""

    _at: float = float("-inf")
    _fields: dict[str, Value] = field(default_factory=dict)
    #: tgid -> (pages, name) of the largest tasks
    _tasks: dict[int, tuple[int, str]] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        """Take one part."""
        fields = event.fields
        if event.name == "oom_invoked" or event.at - self._at > _SPAN:
            self._clear()
        self._at = event.at
        if event.name == "oom_task":
            self._task(fields.get("tgid"), fields.get("rss"), str(fields.get("comm", "")))
            return
        wanted = {
            "oom_invoked": {"comm": "invoked_by"},
            "oom_limit": {"limit": "limit_bytes", "usage": "usage_bytes"},
            "oom_context": {"constraint": "constraint", "memcg": "limit_group", "task_memcg": "victim_group"},
            "oom_task_in": {"memcg": "limit_group", "task_memcg": "victim_group"},
            "oom_chosen": {"scope": "scope"},
        }[event.name]
        self._fields |= {name: fields[key] for key, name in wanted.items() if key in fields}

    def _task(self, tgid: Value | None, pages: Value | None, comm: str) -> None:
        if not isinstance(tgid, int) or not isinstance(pages, int):
            return
        self._tasks[tgid] = (pages, comm)
        if len(self._tasks) > _KEPT:
            del self._tasks[min(self._tasks, key=lambda task: self._tasks[task][0])]

    def explain(self, killed: Event) -> dict[str, Value]:
        """Fields for the kill: the report's figures, and the largest tasks beside the victim, ``other1`` to ``other3``, in bytes.

        Sizes of tasks are given only if the victim's own row shows the page size.
        """
        fields: dict[str, Value] = {}
        if killed.at - self._at <= _SPAN:
            fields = dict(self._fields) | self._others(killed)
        self._clear()
        return fields

    def _others(self, killed: Event) -> dict[str, Value]:
        victim = killed.fields.get("pid")
        pages, _ = self._tasks.pop(victim, (0, "")) if isinstance(victim, int) else (0, "")
        parts = [killed.fields.get(part, 0) for part in ("anon", "file", "shmem")]
        resident = sum(part for part in parts if isinstance(part, int))
        if not pages or not resident:
            return {}
        page = min(_PAGES, key=lambda size: abs(size * pages - resident))
        found: dict[str, Value] = {}
        largest = sorted(self._tasks.values(), reverse=True)[:3]
        for number, (size, comm) in enumerate(((n * page, comm) for n, comm in largest if n * page >= _WORTH_NAMING), 1):
            found[f"other{number}"], found[f"other{number}_bytes"] = comm, size
        return found

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint; a time that never happened is left out."""
        tasks = [[tgid, pages, name] for tgid, (pages, name) in self._tasks.items()]
        return {"at": None if self._at == float("-inf") else self._at, "fields": dict(self._fields), "tasks": tasks}

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned."""
        self._at = float("-inf") if data["at"] is None else data["at"]
        self._fields = dict(data["fields"])
        self._tasks = {tgid: (pages, name) for tgid, pages, name in data["tasks"]}

    def _clear(self) -> None:
        self._at = float("-inf")
        self._fields.clear()
        self._tasks.clear()
