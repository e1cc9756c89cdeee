"""What stands around a message, as patterns: stamps, colours, ports, and the prefixes of journals, containers and front ends."""

from __future__ import annotations

import re
from collections.abc import Mapping

STAMP = re.compile(r"(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3}) (?:([IWED])(?: |$))?")
_COLOUR = r"(?:[\x1b←]\[[\d;]{0,12}m)"
COLOURS_BEFORE = re.compile(rf"{_COLOUR}+")
ONE_COLOUR = re.compile(_COLOUR)
COLOURED_STAMP = re.compile(
    rf"{_COLOUR}*(\d{{1,9}})\.(\d\d)\.(\d{{3}})\.(\d{{3}}){_COLOUR}* {_COLOUR}*(?:([IWED])(?: |$){_COLOUR}*)?"
)
PORT = re.compile(r"\[(?= {0,4}\d+\] )([ \d]{5})\] ")
#: The kernel's name alone, as people paste it from a journal without its time and host.
KERNEL_NAME = "kernel: "
#: An error of the bracket log of 2024 and of ik_llama.cpp: the level is right-aligned to four columns.
BRACKET_ERROR = " ERR ["
#: Front ends that print their child's lines: Lemonade (`2026-09-10 21:30:10.433 [Info] (Process) `, in 2025 `[stdout] `), Jan
#: (`[2026-07-06][19:20:52][tauri_plugin_llamacpp::router][INFO] [llamacpp-router] `), LocalAI (`5:02PM DBG GRPC(...): stderr `).
FRONT_END = re.compile(
    r"\[[A-Z][a-z]{2,8}\] \([\w .:-]{1,40}\) |\[std(?:out|err)\] "
    r"|\[\d{4}-\d\d-\d\d\]\[\d\d:\d\d:\d\d\]\[[\w:.-]{1,80}\]\[[A-Z]{3,8}\] (?:\[[\w.-]{1,40}\] )?"
    r"|\[llamacpp(?:-router)?(?: std(?:out|err))?\] "
    r"|\d{1,2}:\d\d[AP]M [A-Z]{3} GRPC\([^)]{1,200}\): std(?:out|err) "
    # Docker Model Runner of 2025-26
    r"|\[inference\.inference-llama\.cpp\] "
    # Lemonade of 2025, in Python
    r"|[A-Z]{4,8}: {1,6}LLAMA SERVER(?: [A-Z]{2,10})?: "
    # Jan of 2025 (its server was cortex.cpp) and of 2024: janhq/jan#4953, #4417, #3761
    r"|20\d{6} \d\d:\d\d:\d\d\.\d{6} UTC \d{1,9} [A-Z]{4,5} {1,2}"
    r"|\[(?:CORTEX|NITRO)\]::[A-Z][a-z]{3,8}: ?"
    # Tabby: TabbyML/tabby#2634, #4117
    r"|[A-Z]{4,5} llama_cpp_server::supervisor: \S{1,80}supervisor\.rs:\d{1,4}: (?:<\w{1,16}>: )?"
    # server.cpp of 2024 and llamafile put the time in seconds before each line of their files: llama.cpp#4185
    r"|\[1[67]\d{8}\] "
)
#: What Tabby's progress display leaves before its log's own time.
SPINNER = re.compile(r"[\u2800-\u28ff] {1,8}\d{1,6}\.\d{3} s\s{1,8}Starting\.\.\.")
#: With `_` between day and time: svlogd -tt.
_ISO = r"\d{4}-\d\d-\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
#: TAI64N, before the lines of multilog and s6-log.
_TAI = r"@[0-9a-f]{24}"
#: The words that may not be taken for "host ident:": r9700-style logs carry a date but no host before "amdgpu 0000:03:00.0:".
#: A machine may be called srv: then a program with its pid follows.
_SENDER = r"(?!(?:srv |slot |cmn |que |spec |amdgpu |NVRM)(?![\w.-]+\[\d+\]: ))[\w.-]+ [^\s:\[\]]+(?:\[\d+\])?: "
SYSLOG = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{{1,6}})?|{_TAI}|({_ISO})):? {{1,2}}(?:{_SENDER})?"
    r"(?:(?:stdout|stderr) [FP] )?"
    # Python's logging and others name a level; what follows is llama-server's own stamp.
    r"(?:[A-Z]{4,8}:? (?=\d{1,9}\.\d\d\.\d{3}\.\d{3} ))?"
)
#: Docker Model Runner's own file for its server (docker/model-runner, pkg/logs).
BRACKETED_TIME = re.compile(r"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d))\](?: |(?=\[inference))")
#: podman-compose puts the name in brackets.
COMPOSE = re.compile(rf"{_COLOUR}*(?:\[[a-z0-9][\w.-]{{0,63}}+\]|[A-Za-z0-9][\w.-]{{0,63}}+) *+{_COLOUR}*\| {_COLOUR}*")
KERNEL_BUFFER = re.compile(
    r"(?:<\d{1,3}>)?\[(?: *\d+\.\d+| *\+\d+\.\d+|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] "
    r"|\d{1,4},\d{1,20},\d{1,20},[-+c](?:,[^;]{0,80})?;"
)
SERVER_OF_2024 = re.compile(
    r" ?(INFO|WARN|ERR|ERROR|VERB|DEBUG) +\[ *[\w:~<>]{1,64}\] (.*?)"
    r"(?: \| tid=\"[^\"]*\"(?: timestamp=(\d{1,12}))?(?: (.*))?)?$",
    re.DOTALL,
)
OLLAMA = re.compile(rf"time=({_ISO}) level=([A-Z]+)(?: source=\S+)? msg=(\"(?:[^\"\\]|\\.)*\"|\S+)")
#: Ollama ends a failed load with the last error that its runner printed (llm/status.go), in its log and in the client's
#: terminal: llama.cpp's own words, without the function that said them. LM Studio and LocalAI quote them as well.
RETOLD = re.compile(
    r"(?:llama[- ](?:runner|server)(?: process)? (?:has terminated|no longer running):"
    r"(?: exit status \w{1,12}:?| signal: aborted(?: \(core dumped\))?:?)?"
    r"|llama\.cpp error:|an error was encountered while running the model:|llama-server reported out-of-memory during startup:"
    r"|rpc error: code = \w{1,20} desc = [^\"\n]{0,300}? (?:Error: )?llama_model_load:) (')?"
    r"((?:(?:llama_model_load\w*: )?error loading model(?: \w{1,16})?: |cudaMalloc failed: "
    r"|(?:CUDA|ROCm|rocBLAS) error: |GGML_ASSERT\(|error: (?:invalid|unknown) argument: )"
    r"[^\n]{1,400}?)(?(1)')(?:\\n|\"$|\"\}|\" \w|$)"
)
CLIENTS_WORD = "Error: "
OF_LOCALAI = re.compile(r"\d{1,2}:\d\d[AP]M ERR ")
#: Since 2025 Ollama reports a failed load as INFO.
FAILED_LOAD = "Load failed"
#: Docker Model Runner logs each line of its server as a record of its own (docker/model-runner pkg/logging, main.go).
OF_MODEL_RUNNER = "component=llama.cpp"
LEVELS: Mapping[str, str] = {
    "debug": "D", "verb": "D", "info": "I", "warn": "W", "warning": "W", "err": "E", "error": "E",
}  # fmt: skip
#: Messages of common/chat*.cpp, common/arg.cpp and the server that quote prompts or answers at levels other than D.
PRIVATE = re.compile(
    r"(?:srv +\S+ )?(?:\S+: )?(?:got exception: |unparsed |Parsed message|Parsing |parsed |Prompt: |converted request: "
    r"|formatted_chat|chat template, |slot decode token|Failed to parse )|main: chat template|common_chat_\w+: "
)
PLAIN_BEGIN = frozenset("abcdefghijklmnopqrstuvwxyz .")
#: Prefixes that begin like a plain message.
NOT_PLAIN = ("time=", KERNEL_NAME, BRACKET_ERROR)
#: LM Studio writes its own stamp on a line by itself and a blank before the first line of what llama.cpp then says.
ONE_BLANK = (
    " llama_", " ggml_", " load_", " common_", " alloc_tensor_range: ", " graph_reserve: ", " sched_reserve: ", " gguf_", " srv ",
)  # fmt: skip
#: The same stamp in bytes. Lines that end in a colour's last letter or a line end are left to `strip`.
BYTES_STAMP = re.compile(rb"(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3}) (?:[IWED](?: |$))?")
LAST_OF_MORE = (b"m", b"\r", b"\n")
BYTES_PLAIN = b"abcdefghijklmnopqrstuvwxyz ."
BYTES_NOT_PLAIN = tuple(text.encode() for text in NOT_PLAIN)
BYTES_ONE_BLANK = tuple(text.encode() for text in ONE_BLANK)
