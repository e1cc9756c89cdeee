"""The limits of everything that enters from outside: length of a text, number of words, values, children, servers of a user.

A process chooses its command line, its log and its names; none of them may cost more than this, whoever reads them. What was
cut is counted (`cuts.py`); a user has a share of what there is (`shares.py`). Limits in seconds stand where the time is spent.
"""

from __future__ import annotations

#: Longest text that is kept of a value: PATH_MAX is 4096, and no path, address or flag of llama-server is longer.
MOST_TEXT = 4096
#: Longest name of a server: a unit has at most 255 characters (systemd.unit(5)), an address less.
MOST_NAME = 255
#: Bytes that are read of a command line and of an environment, and words that are kept. The longest that was ever reported for
#: llama-server, with its tensor overrides, has 40 words and 3 kB.
MOST_ARGV_BYTES = 64 << 10
MOST_WORDS = 512
MOST_ENVIRONMENT_BYTES = 256 << 10
#: Names of unknown flags that are kept of one command line.
MOST_UNKNOWN = 32
#: Longest text that a pattern captures from a line: paths are the longest that any rule reads.
MOST_CAPTURED = 1024
#: Texts up to this are kept whole; of longer ones an entity may keep so many characters together, then each is cut to this.
SHORT_TEXT = 256
MOST_LONG_TEXTS = 24 << 10
#: Events that are kept of one entity, and of all, counted as characters. One event has some 500, a day of a busy server with
#: trouble some hundred kilobytes.
MOST_EVENTS_OF_ENTITY = 1 << 20
MOST_EVENTS = 8 << 20
#: Servers that are watched, of one user and in all. The most that were ever reported on one machine are some fifty.
MOST_SERVERS_OF_OWNER = 100
MOST_SERVERS = 300
#: A router has as many children as it has presets; no machine holds more models than this at a time.
MOST_CHILDREN = 64
#: Entities that only a log named: children of routers of one user, and processes that only the kernel's log named.
MOST_CHILDREN_OF_OWNER = 128
MOST_STRANGERS = 128
#: Runs that are judged as they end within one reading of a log, which holds 128 KiB of a file. A server that starts, fails and
#: says so prints two kilobytes and more; start lines alone held up all else for 0.8 s.
MOST_RUNS_OF_READING = 64

# --- Of what is kept of one server, in the engine ---

#: Kept per name and entity. A storm of one event costs at most this many small objects; counts saturate there.
MOST_EVENTS_OF_NAME = 1000
#: Above this many samples the oldest are dropped: one a second for over an hour.
MOST_SAMPLES = 4096
#: Slots of which the last requests are kept.
MOST_SLOTS_KEPT = 256
#: Devices that a log names: no machine of today has more.
MOST_DEVICES = 32
#: Lines that wait of one server. A start prints fewer that any pattern knows.
MOST_WAITING_LINES = 400
#: Baselines (a configuration at a depth) kept in total: some 20 configurations of a person who tries flags.
MOST_BASELINES = 200
#: A machine has a few logs; a machine that makes a new one for each start must not grow this for ever.
MOST_LOG_CLOCKS = 256
#: Length of the matched part shown as evidence, in characters: lines may quote whole answers.
SPAN_LIMIT = 300
#: GPUs that have series.
MOST_PLOTTED_GPUS = 16
#: Servers, and GPUs, whose signals are exported as metrics; others are only counted. Alerts and sources exported one by one.
MOST_EXPORTED = 100
MOST_EXPORTED_ROWS = 500
#: JSON within JSON, around one line of a log.
MOST_WRAPPED = 3

# --- Of processes and what they name ---

#: Enough for every file read here; /proc and /sys are the kernel's, but a process may control their content.
MOST_FILE_BYTES = 1 << 20
#: Names that are remembered of servers that ended.
MOST_ENDED_NAMES = 512
#: Units that do not run and whose journals are followed, each by a journalctl of its own.
MOST_UNITS = 8
#: Servers whose word of an end is waited for.
MOST_AWAITED_ENDS = 64
#: Ollama's manifests that are searched for the name of a model: more than one looks through by hand, each a few hundred bytes.
MOST_MANIFESTS = 500
MOST_MANIFEST_BYTES = 1 << 16
#: Characters of a server's name for people.
MOST_DISPLAY_NAME = 120
#: Folders of /var/log/pods, and bytes of a container's description.
MOST_PODS = 4096
MOST_CONTAINER_JSON = 1 << 20
#: Bytes of a llama-server's configuration file, and of a front end's.
MOST_CONFIG_BYTES = 1 << 16
MOST_FRONT_END_CONFIG = 1 << 18
#: Files of one program that are searched for its build and flags.
MOST_PROGRAM_FILES = 4
#: Programs that are watched for starts: a machine has a handful of builds; each takes a watch and nothing else.
MOST_WATCHED_PROGRAMS = 64
#: Bytes of the kernel's table of sockets.
MOST_SOCKET_TABLE = 8 << 20
#: Descriptors of a process that are looked at: a manager of many models has a few hundred open.
MOST_DESCRIPTORS = 4096
#: Children of one parent that are looked at.
MOST_SIBLINGS = 64
#: Processes of a user whose descriptors are looked at for the reader of a server's pipe.
MOST_READERS = 512
#: Bytes of /proc/PID/status.
MOST_STATUS_BYTES = 1 << 16
#: Symbolic links on the way to a file: as many as the kernel follows (path_resolution(7)).
MOST_LINKS = 40
#: Components of a path: the kernel's PATH_MAX.
MOST_STEPS = 4096
#: Folders within each other; each is an open descriptor until the walk ends, and a path of 4096 characters names 2,000.
MOST_FOLDERS_DEEP = 128
#: Names in the folder of a program, libraries of them that count, and folders that hold a build's backends.
MOST_NAMES_BESIDE, MOST_LIBRARIES = 4096, 256
MOST_BACKEND_FOLDERS = 4
#: Bytes of a program that are searched for its flags.
MOST_PROGRAM_BYTES = 1 << 30

# --- Of logs ---

#: Logs that a process each is run for (journalctl) or a connection held: for the servers of one user, and in all. The unit has
#: TasksMax=64 and 128 MB. Those that the configuration names are not counted.
MOST_STREAMS_OF_OWNER, MOST_LOG_STREAMS = 16, 24
#: Docker splits a line at 16 KiB; an entry with its attributes is not much larger.
MOST_DOCKER_FRAME = 1 << 20
#: Bytes of a log that was there before, read from its end.
MOST_DOCKER_BACKLOG = 64 << 20
#: llama-swap's list of what runs. Bytes.
MOST_SWAP_ANSWER = 1 << 20
#: Rotated files of one log that are looked at, the newest; logrotate keeps 4 to 365. Each costs a call.
MOST_ROTATED_FILES = 512
#: Names of a folder that are read: 100,000 take 50 ms.
MOST_NAMES_OF_FOLDER = 100_000
#: Longest line, of a file, a journal or a stream. Bytes; the rest of a longer one is dropped. A journal accepts many megabytes.
MOST_LINE_BYTES = 65536
#: Longest record as JSON. A message byte that is not UTF-8 takes up to four characters (systemd.journal-fields(7)).
MOST_RECORD_BYTES = 4 << 20

# --- Of answers to the daemon, and of requests to it ---

#: A server has four slots by default, some have dozens; what has more is not a llama-server.
MOST_SLOTS_ANSWERED = 1024
#: A chat template is a few KB and the largest part of /props; a larger answer is not llama-server's.
MOST_HTTP_ANSWER = 1 << 20
#: Bytes of the answers that are asked for at a time, and of what they become when they are read (`json_cost.py`); the largest are
#: given up. Slots of a busy server are 10 kB; a thousand of them come to 10 MB.
MOST_HTTP_ANSWERS, MOST_JSON_COST = 4 << 20, 16 << 20
#: Addresses that are asked at a time.
MOST_ASKED_AT_A_TIME = 64
#: Bytes of the head, and of the body. The longest real request, a silence with its reason, is under 2 KiB.
MOST_REQUEST_BYTES = 64 * 1024
#: More fields are a mistake or an attack; parse_qsl refuses them before it builds the list.
MOST_QUERY_FIELDS = 32
#: Words of a start that `sentinel exec` reports; MOST_WORDS of them are kept.
MOST_REPORTED_WORDS = 4096
#: A printed float has at most 24 characters.
MOST_NUMBER = 32
#: Concurrent connections, of one user and of all; four more are for root, the daemon's user and its services. A user who comes
#: gets the place of whoever has most. 32 were too few: forty users of the group who had one each were all.
MOST_CLIENTS_OF_OWNER, MOST_CLIENTS = 16, 128
#: Concurrent event streams, not counted among the connections above; one user gets as many as connections.
MOST_STREAMS = 128
#: Answers that clients of one user, and of all, have not read yet. The largest have a few megabytes; the unit limits the daemon
#: to 128, of which it uses 50.
MOST_WAITING_BYTES_OF_OWNER, MOST_WAITING_BYTES = 8 << 20, 16 << 20
#: A machine has a handful of rules and servers: more silences than this come from a script that went wrong.
MOST_SILENCES = 100
MOST_SILENCE_REASON = 500
MOST_SILENCE_NAME = 300
#: A request for series: a month and a day, the longest that is kept; numbers in the answer, 1 MB of JSON, and blocks that are
#: read for it: a third of a second.
MOST_SECONDS_ASKED = 31 * 86_400
MOST_POINTS_ASKED = 1_500
MOST_NUMBERS_ANSWERED = 120_000
MOST_BLOCKS_READ = 3_000

# --- Of model files: four times the largest vocabulary known, more layers, keys and tensors than any model has ---

MOST_HEADER_BYTES = 256 << 20
MOST_STRING_BYTES = 16 << 20
MOST_STRINGS = 1 << 22
MOST_LAYERS = 4096
#: The calculation needs no longer text.
MOST_HEADER_TEXT = 256
#: Numbers kept of all arrays together.
MOST_NUMBERS_KEPT = 1 << 16
MOST_KEYS = 1 << 16
MOST_TENSORS = 1 << 17
MOST_SPLITS = 1024
#: Of a file with more tensors only the sums are kept.
MOST_TENSORS_LISTED = 1 << 14
#: Of a file that llama-imatrix wrote: experts of a layer, and bytes of one entry of the older form; 7168 inputs of 512 take
#: 14 MiB.
MOST_EXPERTS = 1 << 14
MOST_IMATRIX_ENTRY = 256 << 20
#: Of one such file: counts of all experts (384 in each of 61 layers, three times, are 70,000), and bytes of the older form that
#: are looked at (those layers have 0.7 GB). Entries may lie upon each other, or in a hole.
MOST_EXPERT_COUNTS, MOST_IMATRIX_BYTES = 1 << 18, 8 << 30
#: ggml.h, GGML_MAX_NAME.
MOST_TENSOR_NAME = 64

# --- Of logs that somebody sends, for `sentinel diagnose` ---

#: Bytes and lines of all files together that are judged; of more the beginning and the end. A busy server has 10 MB a day.
MOST_JUDGED_BYTES, MOST_JUDGED_LINES = 24 << 20, 250_000
#: Bytes of one that are read to come to its end.
MOST_READ_BYTES = 4 << 30
#: Servers whose lines alternate in one log, and senders, the newest; each start of a service in a journal is one.
MOST_SERVERS_OF_LOG, MOST_SENDERS_OF_LOG = 32, 4096

# --- Of recordings from somebody ---

#: Bytes. A batch of log lines was at most 1 MiB in version 1, which kept them whole; the state is split into far smaller parts.
MOST_ROW_BYTES = 8 << 20
#: Bytes of state; a busy machine's is some 2 MB.
MOST_STATE_BYTES = 64 << 20
#: Servers and GPUs together, and changes of rules and silences: their cost to the engine is not bounded by the file's size.
MOST_RECORDED_ENTITIES = 2_000
MOST_RECORDED_CHANGES = 1_000
#: A unit, an address or a container with a user, a process or a port behind it.
MOST_RECORDED_NAME = 2 * MOST_NAME
#: Bytes that a recording may unpack to: a week of readings; a gzip bomb of a few kB would unpack to any size.
MOST_UNPACKED_BYTES = 1 << 30
#: More than a day of an alert that flaps as often as it may; bounds the memory that a hostile recording can use.
MOST_TRANSITIONS = 20_000
