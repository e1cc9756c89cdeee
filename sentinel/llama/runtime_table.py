"""What runs llama.cpp's server: how it is recognised, where its lines go, and in whose terms its settings are changed. Pure data.

One row for each program. Names of settings come from the program's own source or documentation, as of August 2026:
ollama/ollama llm/llama_server.go, envconfig/config.go, docs/modelfile; mostlygeek/llama-swap config.example.yaml,
internal/server/log.go; lemonade-sdk/lemonade llamacpp_server.cpp (reserved arguments), docs/dev/backends-reference.md;
docker/model-runner llamacpp_config.go, cmd/cli configure; mudler/LocalAI pkg/model/process.go, core/config/model_config.go,
grpc-server.cpp; abetlen/llama-cpp-python server/settings.py; LostRuins/koboldcpp koboldcpp.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Options of another command line -> the flags of llama-server that mean the same; an empty word drops the option.
_OLLAMA_RUNNER = {
    "--model": "-m", "--ctx-size": "-c", "--batch-size": "-b", "--n-gpu-layers": "-ngl", "--parallel": "-np", "--port": "--port",
    "--threads": "-t", "--mmproj": "--mmproj", "--kv-cache-type": "-ctk",
}  # fmt: skip
_LLAMA_CPP_PYTHON = {
    "--model": "-m", "--n_ctx": "-c", "--n_gpu_layers": "-ngl", "--n_batch": "-b", "--n_ubatch": "-ub", "--n_threads": "-t",
    "--host": "--host", "--port": "--port", "--model_alias": "--alias",
}  # fmt: skip
_KOBOLDCPP = {
    "--model": "-m", "--contextsize": "-c", "--gpulayers": "-ngl", "--batchsize": "-b", "--blasbatchsize": "-b",
    "--threads": "-t", "--host": "--host", "--port": "--port", "--mmproj": "--mmproj",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program that is llama.cpp's server by another name, holds it, or starts it.

    Recognised by the file name of its own `program`, by the first words of an interpreter's command line (`module`), by a
    `library` mapped into an interpreter, by the name of a process above it (`parent`), or by a `folder` in the program's path.
    """

    #: as in server.front_end; the same for every program of one product
    name: str
    #: what people call it
    title: str
    program: str = ""
    module: str = ""
    library: str = ""
    parent: str = ""
    folder: str = ""
    #: the first word of its command line that makes it a server; empty: none is needed
    subcommand: str = ""
    #: its own options -> llama-server's; None: the command line is llama-server's
    options: Mapping[str, str] | None = None
    #: where the lines of the server go: its own standard error, that of the program that started it, or over HTTP
    log: str = "own"
    #: the one change that makes its log readable
    cure: str = ""
    #: flag -> its own name, with {value}
    settings: Mapping[str, str] = field(default_factory=dict)
    #: how those names are introduced
    within: str = ""
    #: where every other flag is written, with {flags}; empty: nowhere
    place: str = ""
    #: the same place in running text
    passes: str = ""
    #: flags that it sets itself and refuses from others
    reserved: frozenset[str] = frozenset()
    #: where a variable of the server's environment is set, with {variable}; empty: where it is started itself; None: nowhere
    variables: str | None = ""
    #: what it puts before the lines of the server in its own log
    prefix: str = ""


RUNTIMES: tuple[Runtime, ...] = (
    Runtime(
        "ollama",
        "Ollama",
        program=r"ollama(?:\.exe)?",
        subcommand="runner",
        options=_OLLAMA_RUNNER,
        folder="ollama",
        parent=r"ollama",
        log="parent",
        cure="run Ollama as a service (ollama.service), or send its output to a file: it copies llama-server's lines there",
        settings={
            "-c": "num_ctx {value}, or OLLAMA_CONTEXT_LENGTH={value} for all models",
            "-np": "OLLAMA_NUM_PARALLEL={value}",
            "-ctk": "OLLAMA_KV_CACHE_TYPE={value}",
            "-ctv": "OLLAMA_KV_CACHE_TYPE={value}",
            "-fa": "OLLAMA_FLASH_ATTENTION={on}",
            "-ngl": "num_gpu {value}",
            "-t": "num_thread {value}",
            "-mg": "main_gpu {value}",
            "-b": "num_batch {value}",
            "-ub": "num_batch {value}",
            "-n": "num_predict {value}",
            "--no-mmap": "use_mmap false",
            "--fit": "LLAMA_ARG_FIT={value}",
            "-fit": "LLAMA_ARG_FIT={value}",
            "-fitt": "LLAMA_ARG_FIT_TARGET={value}",
            "--fit-target": "LLAMA_ARG_FIT_TARGET={value}",
        },
        within="in Ollama: ",
        # the last: Go's own form of a log line, with the file of Ollama's source
        prefix=r" ollama\[\d+\]: |^ollama(?:-\d+)? +\| |^\[GIN\] \d{4}/"
        r"|(?:^|[|:] )time=\S+ level=[A-Z]+ source=\w+\.go:\d+ msg=",
    ),
    Runtime("ollama", "Ollama", program=r"ollama_llama_server", parent=r"ollama", options=_OLLAMA_RUNNER, log="parent"),
    Runtime(
        "llama-swap",
        "llama-swap",
        parent=r"llama-swap",
        log="http",
        cure="set `logToStdout: both` in llama-swap's configuration and start it again",
        place="add `{flags}` to this model's cmd in llama-swap's configuration",
        passes="this model's cmd in its configuration",
        variables="add `{variable}` to this model's env in llama-swap's configuration",
        prefix=r"^llama-swap(?:-\d+)? +\| | llama-swap\[\d+\]: ",
    ),
    Runtime(
        "lemonade",
        "Lemonade",
        folder="lemonade",
        parent=r"lemond|lemonade(?:-server|-router|d)?",
        log="parent",
        cure="set Lemonade's log level to info (`lemonade config set log_level=info`): above it the output is thrown away",
        settings={"-c": "ctx_size {value}"},
        within="in Lemonade's options of the model: ",
        place="add `{flags}` to the llama.cpp arguments of Lemonade (its option llamacpp_args)",
        passes="the model's option llamacpp_args",
        reserved=frozenset({"-m", "--port", "-ngl", "--mmproj", "--jinja", "-dev", "--embeddings", "--reranking"}),
        prefix=r" \[[A-Z][a-z]{2,8}\] \(Process\) | lemond\[\d+\]: ",
    ),
    Runtime(
        "jan",
        "Jan",
        folder="jan",
        parent=r"[Jj]an",
        log="parent",
        cure="read Jan's own log: its settings, Hardware and logs, show the folder",
        settings={
            "-c": "Context Size {value}",
            "-np": "Parallel Operations {value}",
            "-ngl": "GPU Layers {value}",
            "-b": "Batch Size {value}",
            "-ub": "uBatch Size {value}",
            "-fa": "Flash Attention {value}",
            "-ctk": "KV Cache K Type {value}",
            "-ctv": "KV Cache V Type {value}",
        },
        within="in Jan, in the model's settings: ",
        prefix=r"\[tauri_plugin_llamacpp[:\]]|\]\[app_lib::core.{0,60}llamacpp",
    ),
    Runtime(
        "docker-model-runner",
        "Docker Model Runner",
        program=r"com\.docker\.llama-server",
        parent=r"model-runner",
        log="parent",
        cure="let the container docker-model-runner log with json-file, local or journald; `docker model logs` shows it too",
        settings={"-c": "`docker model configure --context-size {value} MODEL`"},
        within="in Docker Model Runner: ",
        place="`docker model configure MODEL -- {flags}`",
        passes="`docker model configure MODEL -- FLAGS`",
        variables=None,
        reserved=frozenset({"-m", "--host", "--port"}),
        prefix=r"^time=\S+ level=[A-Z]+ msg=|^\[\d{4}-\d\d-\d\dT[\d:.]+Z\]\[inference[.\]]",
    ),
    Runtime(
        "localai",
        "LocalAI",
        program=r"(?:ik-)?llama-cpp-(?:avx\w*|fallback|cpu-all|cuda\w*|hip\w*|sycl\w*|vulkan|metal|grpc|rpc)",
        parent=r"local-ai",
        options={"--addr": ""},
        cure="start LocalAI with DEBUG=true, so that it prints the lines of its backend",
        settings={
            "-c": "context_size: {value}",
            "-ngl": "gpu_layers: {value}",
            "-t": "threads: {value}",
            "-b": "batch: {value}",
            "-ctk": "cache_type_k: {value}",
            "-ctv": "cache_type_v: {value}",
            "-fa": "flash_attention: {value}",
            "-np": "options: [parallel:{value}]",
            "--no-mmap": "mmap: false",
            "--mlock": "mmlock: true",
        },
        within="in LocalAI's YAML file of the model: ",
        prefix=r"^\d{1,2}:\d\d[AP]M [A-Z]{3} GRPC\(",
    ),
    Runtime(
        "llama-cpp-python",
        "llama-cpp-python",
        module=r"llama_cpp\.server|llama_cpp/server/__main__\.py",
        options=_LLAMA_CPP_PYTHON,
        settings={
            "-c": "--n_ctx {value}",
            "-ngl": "--n_gpu_layers {value}",
            "-t": "--n_threads {value}",
            "-b": "--n_batch {value}",
            "-ub": "--n_ubatch {value}",
            "-fa": "--flash_attn {true}",
            "--no-mmap": "--use_mmap false",
            "--mlock": "--use_mlock true",
        },
        within="on the command line of `python -m llama_cpp.server`: ",
    ),
    Runtime(
        "koboldcpp",
        "KoboldCpp",
        program=r"koboldcpp[\w.-]*",
        module=r"koboldcpp\.py",
        library="/koboldcpp_",
        options=_KOBOLDCPP,
        settings={
            "-c": "--contextsize {value}",
            "-ngl": "--gpulayers {value}",
            "-t": "--threads {value}",
            # The older name works in the newer versions too; it sets both.
            "-b": "--blasbatchsize {value}",
            "-ub": "--blasbatchsize {value}",
            "-fa": "--flashattention",
            "--mlock": "--usemlock",
        },
        within="on KoboldCpp's command line: ",
    ),
    Runtime(
        "xllamacpp",
        "a Python program with xllamacpp",
        library="/xllamacpp",
        options={},
        settings={
            "-c": "n_ctx = {value}",
            "-np": "n_parallel = {value}",
            "-ngl": "n_gpu_layers = {value}",
            "-b": "n_batch = {value}",
            "-ub": "n_ubatch = {value}",
        },
        within="in the Python program, in its CommonParams: ",
    ),
    Runtime("", "llamafile", program=r"llamafile[\w.-]*|[\w.-]+\.llamafile"),
    Runtime("", "llama-box", program=r"llama-box[\w.-]*"),
    Runtime("", "ik_llama.cpp", program=r"ik[-_]llama-server"),
    Runtime("", "llama", program=r"llama", subcommand="serve"),
    Runtime("llama-server", "the router", parent=r"llama-server"),
)
#: Debian's and BusyBox' cron, cronie's and dcron's: what they start belongs into a line of a crontab.
CRONS = frozenset({"cron", "crond"})
