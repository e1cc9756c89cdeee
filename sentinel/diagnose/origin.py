"""Where a log comes from: the system that the server ran on, and the program that keeps the log. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sentinel.llama.runtimes import writer_of

#: As much of a log is searched from its start and from its end; system and front end show in every start and every path.
_SEARCHED = 131_072
_WINDOWS = re.compile(
    rb"(?<![\w/])[A-Za-z]:\\\\?[\w .$~-]+\\|\b[\w.-]+\.(?:exe|dll)\b|\bfor (?:MSVC|Windows)|w64-mingw32|\bMSVC \d"
)
_MACOS = re.compile(
    rb"apple-darwin|\bfor Darwin|ggml_metal_(?:init|device_init|library_init)|/opt/homebrew/|(?<![\w.])/Users/[^/\s]+/"
)
#: A container on a desktop's Docker is Linux, and WSL is.
_LINUX = re.compile(rb"\bfor Linux|linux-gnu|/proc/|/usr/lib|/lib/x86_64|/mnt/c/|/app/|/root/|/home/|\bsystemd\[\d+\]:")
_OLLAMA = re.compile(
    rb"github\.com/ollama/ollama/|level=[A-Z]+ source=(?:server|sched|routes|runner|llama_server|ggml|device|types|gpu|images"
    rb"|amd_\w+|process|model_\w+)\.go:\d+|\bllama runner process (?:has terminated|no longer running)"
    rb"|[/\\](?:\.ollama|ollama)[/\\]models[/\\]blobs[/\\]sha256[-:]|\bOLLAMA_[A-Z_]+:"
)
_LM_STUDIO = re.compile(
    rb"\(Exit code: [^)\n]{1,40}\)\. (?:Please check settings and try loading|Unknown error\. Try a different)"
    rb"|\[LM ?STUDIO|\bLM ?Studio\b|[/\\]\.?lm-?studio[/\\]|\[LLM\] Loading model '|with runtime llama\.cpp-(?:win|linux|mac)-"
)
_KOBOLDCPP = re.compile(rb"Welcome to KoboldCpp|\bkoboldcpp(?:\.py|\.exe|_\w+\.(?:so|dll))")
#: GPUs and their runtimes. A build for ROCm prints GGML_CUDA_..., and every log of Ollama lists the variables of all makers.
_MAKERS = {
    "nvidia": re.compile(rb"NVIDIA|GeForce|\bnvidia\b|\bNVRM\b|\bCUDA\d\b|CUDA devices|CUDA error|libcud|cublas|ggml-cuda\.dll"),
    "amd": re.compile(rb"Radeon|\bROCm|\brocm|\bamdgpu\b|\bgfx\d{3,4}|\bhipError|rocBLAS|HSA_STATUS"),
    "intel": re.compile(
        rb"Intel\(R\) (?:Arc|UHD|Iris|HD|Graphics)|\bSYCL|\bsycl|\bi915\b|level.zero|\bxe \d{4}:|UR_RESULT|\bIntel Arc|Mesa Intel"
    ),
    "apple": re.compile(rb"\bggml_metal|\bApple M\d|\bMetal\b|\bMTL\d"),
}
_SETTINGS = re.compile(rb"\b(?:CUDA|HIP|ROCR|GPU|HSA|OLLAMA|GGML)_[A-Z_]+[:=]\S*")


def gpu_maker_of(texts: Iterable[bytes]) -> str:
    """The maker of the GPUs; empty where the text names none, or those of several."""
    found = set()
    for text in texts:
        part = _SETTINGS.sub(b"", _part(text))
        found |= {name for name, sign in _MAKERS.items() if sign.search(part)}
    return found.pop() if len(found) == 1 else ""


def system_of(texts: Iterable[bytes]) -> str:
    """windows, macos or linux; empty where the text does not show it, or shows several."""
    found = set()
    for text in texts:
        part = _part(text)
        found |= {name for name, sign in (("windows", _WINDOWS), ("macos", _MACOS), ("linux", _LINUX)) if sign.search(part)}
    return found.pop() if len(found) == 1 else ""


def keeper_of(texts: Iterable[bytes]) -> str:
    """The front end that keeps the log or wrote its lines; empty for none."""
    for text in texts:
        part = _part(text)
        heads = (line[:160].decode("utf-8", "replace") for line in part[:65536].split(b"\n")[:100])
        if name := next((name for line in heads if (name := writer_of(line))), ""):
            return name
        if _OLLAMA.search(part) is not None:
            return "ollama"
        if _KOBOLDCPP.search(part) is not None:
            return "koboldcpp"
        if _LM_STUDIO.search(part) is not None:
            return "lm-studio"
    return ""


def _part(text: bytes) -> bytes:
    return text if len(text) <= 2 * _SEARCHED else text[:_SEARCHED] + b"\n" + text[-_SEARCHED:]
