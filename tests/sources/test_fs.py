"""Why a file of the kernel cannot be read, with advice that fits the file."""

from __future__ import annotations

import errno

import pytest

from sentinel.sources.fs import reason


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("/sys/class/drm/card0/device/mem_info_vram_used", "let sentinel's user read it"),
        ("/dev/kfd", "let sentinel's user read it"),
        ("/proc/4711/environ", "run sentinel as the server's own user, or with CAP_SYS_PTRACE"),
    ],
)
def test_what_is_refused_comes_with_a_cure_that_works_for_that_file(path: str, cure: str) -> None:
    """CAP_SYS_PTRACE opens processes, not devices."""
    assert reason(path, PermissionError(errno.EACCES, "")) == f"{path} cannot be read (Permission denied): {cure}"
    assert reason(path, OSError(errno.EIO, "")) == f"{path} cannot be read (Input/output error)"
