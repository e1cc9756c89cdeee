"""sentinel's daemon on a machine whose GPU driver hangs: every read that goes through the driver never returns."""

from __future__ import annotations

import sys
import threading
from typing import Any

from sentinel.cli.main import main
from sentinel.sources.gpu.amdgpu import AmdGpus
from sentinel.sources.gpu.nvml import Nvml
from sentinel.sources.gpu.rocm_smi import RocmSmi
from sentinel.sources.processes.gpu_sample import ServerGpus


def hang(*_: Any) -> Any:
    """A read in an uninterruptible wait."""
    threading.Event().wait()


for source in (AmdGpus, Nvml, RocmSmi, ServerGpus):
    setattr(source, "poll", hang)  # noqa: B010 - mypy refuses the plain assignment to a method

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
