"""A server's configuration as one short name: the build, the model's files, and the flags that affect speed.

Two runs of equal name generate equally fast on the same healthy machine. The program's files identify the build, because
distributions print "build 1" and the default verbosity prints nothing at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b

from sentinel.gguf.header import parts_of
from sentinel.llama.tokenizer import flags
from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_LIBRARIES, MOST_NAMES_BESIDE
from sentinel.sources.fs import Roots, link, unread

#: Address, logging and sampling flags: they do not affect the speed of generation.
_OF_NO_MATTER = """
--host --port --reuse-port -a --alias --tags --api-key --api-key-file --api-prefix --path --ssl-cert-file --ssl-key-file
--cors-headers --cors-methods --cors-origins --cors-credentials --no-cors-credentials -to --timeout --threads-http
--sse-ping-interval --log-file --log-colors --log-prefix --no-log-prefix --log-timestamps --no-log-timestamps --log-disable
--log-enable --log-new --log-append --metrics --slots --no-slots --props --ui --no-ui --webui --no-webui --ui-config
--ui-config-file --webui-config --webui-config-file --slot-save-path --media-path --hf-token -hft -s --seed --temp
--temperature --top-k --top-p --min-p --repeat-penalty --repeat-last-n --presence-penalty --frequency-penalty -n --predict
--n-predict --keep --offline --warmup --no-warmup
"""
_NO_MATTER = frozenset(_OF_NO_MATTER.split())
_ENVIRONMENT = re.compile(r"(?:LLAMA_ARG_|GGML_|HIP_|ROCR_|HSA_|CUDA_|GPU_|RADV_|AMD_VULKAN|VK_|OMP_|MUSA_|ZE_|ONEAPI_)")
_NO_MATTER_VARIABLES = re.compile(
    r"LLAMA_ARG_(?:HOST|PORT|ALIAS|TAGS|API_|TIMEOUT|SSL_|LOG_|NO_LOG_|ENDPOINT_|UI|WEBUI|STATIC_PATH|THREADS_HTTP|N_PREDICT)"
)
#: The status of a file by its path; raises OSError.
FileStatus = Callable[[str], os.stat_result]
_LIBRARY = re.compile(r"lib(?:ggml|llama|mtmd)[\w.-]*\.so[\w.]*\Z")


def configuration(
    roots: Roots, pid: int, argv: Sequence[str], env: Mapping[str, str], model: str, status: FileStatus
) -> str | Unknown:
    """16 hexadecimal digits; Unknown if the program or the model cannot be read. `model`: the path as we open it, `status`
    that of a file which the process names.
    """
    if not model:
        return Unknown("it was not started with a model file of its own")
    digest = blake2b(digest_size=8)
    try:
        for part in (*program(roots, pid), *stamps(parts_of(model), status)):
            digest.update(os.fsencode(part) + b"\0")
    except OSError as error:
        return unread(error.filename or "its program", error)
    for flag, value in sorted((flag, value or "") for flag, value in flags(argv) if flag not in _NO_MATTER):
        digest.update(os.fsencode(f"{flag}={value}") + b"\0")
    for name in sorted(n for n in env if _ENVIRONMENT.match(n) and not _NO_MATTER_VARIABLES.match(n)):
        digest.update(os.fsencode(f"{name}={env[name]}") + b"\0")
    return digest.hexdigest()


def program(roots: Roots, pid: int) -> Iterator[str]:
    """The program's file and the libraries of llama.cpp beside it. Libraries loaded later are included from the start."""
    process = roots.proc / str(pid)
    yield from stamps([str(process / "exe")], os.stat)
    folder = f"{process}/root{os.path.dirname(link(process / 'exe'))}"  # noqa: PTH120 - a path as the process sees it
    with os.scandir(folder) as entries:
        names = [entry.path for _, entry in zip(range(MOST_NAMES_BESIDE), entries, strict=False) if _LIBRARY.match(entry.name)]
    yield from stamps(sorted(names)[:MOST_LIBRARIES], os.stat)


def stamps(paths: Sequence[str], status: FileStatus) -> Iterator[str]:
    for path in paths:
        known = status(path)
        yield f"{os.path.basename(path)} {known.st_size} {known.st_mtime_ns}"  # noqa: PTH119
