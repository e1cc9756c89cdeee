"""A GPU as one build of llama.cpp sees it, with what the driver says about it."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.llama.settings import Device


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with memory on a GPU, in bytes."""

    pid: int
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BuildDevice(Device):
    """As ``--list-devices`` prints it; in `Machine` `free_bytes` is what the command can have: free now, plus what its own
    process holds there, by the smaller of the two figures that llama-server and the driver give."""

    about: str = ""
    #: PCI address if known
    address: str = ""
    holders: tuple[Holder, ...] = ()
