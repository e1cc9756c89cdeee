"""A log speaks for its own server, and not every line of it is the server's: a client can have text printed."""

from __future__ import annotations

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.facts.authorship import _BARE, _DEATHS, _ENDS, CLIENT_TEXT
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.input_limits import MOST_CHILDREN
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, ServerGone, Tick

EPOCH = 1_795_500_000.0
MINE = Entity("server", "llama.service")
THEIRS = Entity("server", "127.0.0.1:8080")
ASKED: dict[str, Value | Unknown] = {"server.is_router": False, "server.port": 8080, "server.log_readable": True}
START = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
READY = b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
FAILS = (
    b"llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'evil'\n"
    b"llama_model_load_from_file_impl: failed to load model\n"
    b"0.02.100.000 E srv  llama_server: exiting due to model loading error\n"
)
#: a grammar that is refused is true, and what a client does to himself
REQUEST_REFUSED = {"requests-failing"}
REFUSED = b"parse: error parsing grammar: expecting name at \n"
ABORTS = b"/src/ggml/src/ggml.c:1234: GGML_ASSERT(x >= 0) failed\n"
STOPS = b"0.04.100.000 I srv    operator(): operator(): cleaning up before exit...\n"
SLEEPS = b"0.02.232.363 I srv  handle_sleep: server is entering sleeping state\n"


class Machine:
    """One server on an engine; `told` are the rules that notified."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.engine = Engine(ruleset)
        self.told: list[Transition] = []

    def step(self, *readings: Reading) -> None:
        for reading in readings:
            self.told += self.engine.step(reading)

    def found(self, at: float, pid: int = 77, server: Entity = MINE, *, since: float | None = None, **values: Value) -> None:
        begun = at if since is None else since
        asked = {**ASKED, **{f"server.{name}": value for name, value in values.items()}}
        self.step(ServerFound(EPOCH + at, "process", server, pid, EPOCH + begun, asked))

    def says(self, at: float, data: bytes, server: Entity = MINE) -> None:
        self.step(LogLines(EPOCH + at, f"{server.name}.log", server, data))

    def lives(self, begin: float, end: float, server: Entity = MINE) -> None:
        at = begin
        while at <= end:
            self.step(Samples(EPOCH + at, "process_sample", server, {"server.rss_bytes": 1 << 30}), Tick(EPOCH + at))
            at += 1.0

    def ends(self, at: float, pid: int = 77) -> None:
        self.step(ServerGone(EPOCH + at, "process", MINE, pid))

    def ticks(self, begin: float, end: float) -> None:
        while begin <= end:
            self.step(Tick(EPOCH + begin))
            begin += 1.0

    def fired(self, server: Entity = MINE) -> set[str]:
        return {t.rule for t in self.told if t.state == "firing" and t.entity == server}

    def state(self, server: Entity = MINE) -> Value | None:
        fact = self.engine.state.facts.last(server, "server.state")
        return None if fact is None else fact.value

    def cuts(self) -> str:
        return "; ".join(self.engine.state.cuts.fresh())


@pytest.fixture
def machine(ruleset: RuleSet) -> Machine:
    return Machine(ruleset)


@pytest.mark.parametrize("printed", [REFUSED + FAILS, FAILS, START + FAILS, REFUSED + ABORTS, ABORTS])
def test_a_client_cannot_end_a_server_that_lives(machine: Machine, printed: bytes) -> None:
    """Through a grammar, with whatever stamps: a load that was finished does not fail, a process that lives did not crash."""
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, printed)
    machine.lives(10, 90)
    assert machine.fired() <= REQUEST_REFUSED
    assert machine.state() == "ready"
    assert "llama.service" in machine.cuts()


def test_the_same_lines_count_where_the_process_ends(machine: Machine) -> None:
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, ABORTS)
    machine.ends(11)
    machine.ticks(11, 30)
    assert machine.fired() == {"server-crashed"}


def test_a_load_that_fails_counts_at_once_before_the_server_ever_served(machine: Machine) -> None:
    """Nobody can have had anything printed yet."""
    machine.found(0)
    machine.says(1, START + FAILS)
    machine.ticks(1, 15)
    assert "unsupported-model" in machine.fired()


def test_a_restart_that_fails_is_reported_although_its_lines_came_before_the_scan(machine: Machine) -> None:
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, START + FAILS)
    machine.ends(10.5)
    machine.ticks(11, 30)
    assert "unsupported-model" in machine.fired()


def test_a_restart_that_goes_well_is_ready(machine: Machine) -> None:
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, START + READY)
    machine.ends(10.5)
    machine.found(10.5, pid=78, since=9.9)
    machine.lives(11, 30)
    assert machine.state() == "ready"
    assert machine.fired() == set()


def test_a_restart_right_after_sentinel_s_own_is_ready(machine: Machine, ruleset: RuleSet) -> None:
    """What the log shows then may be old, and counts at once; the last line of the process before waited, and came after it."""
    machine.found(0)
    machine.says(2, START + READY)
    resumed = Machine(ruleset)
    resumed.engine.load(machine.engine.dump())
    resumed.found(5, since=0)
    resumed.says(8, STOPS)
    resumed.says(8.2, START + READY)
    resumed.ends(8.5)
    resumed.found(8.5, pid=78, since=7.9)
    resumed.lives(9, 30)
    assert resumed.state() == "ready"
    assert resumed.fired() == set()


def test_unstamped_lines_of_a_server_that_stamps_are_nobodys(machine: Machine) -> None:
    """A prompt at a raised verbosity is printed with its line ends: only the first line of a message has a stamp."""
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, b"srv  handle_sleep: server is entering sleeping state\n")
    assert machine.state() == "ready"
    machine.says(12, SLEEPS)
    assert machine.state() == "sleeping"


def test_for_a_second_after_a_refused_grammar_a_stamp_proves_nothing(machine: Machine) -> None:
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, REFUSED + SLEEPS)
    assert machine.state() == "ready"
    machine.says(12, SLEEPS)
    assert machine.state() == "sleeping"


def test_in_a_saved_log_unstamped_lines_after_a_refused_grammar_are_no_events(machine: Machine) -> None:
    """Until the server speaks again. Nobody sees its process."""
    machine.says(1, START + READY + REFUSED + FAILS.splitlines(keepends=True)[0])
    machine.ticks(1, 15)
    assert machine.fired() <= REQUEST_REFUSED
    machine.says(20, SLEEPS + FAILS)
    machine.ticks(20, 40)
    assert "unsupported-model" in machine.fired()


#: b10434 with --grammar 'root ::= ("yes"', as it was recorded.
DIES_OF_ITS_GRAMMAR = (
    b"0.02.026.156 I srv    load_model: loading model '/srv/dense.gguf'\n"
    b"parse: error parsing grammar: expecting ')' at \n\nroot ::= (\"yes\"\n0.02.032.742 E failed to parse grammar\n"
    b"terminate called after throwing an instance of 'std::runtime_error'\n  what():  failed to parse grammar\n"
)


@pytest.mark.parametrize("order", ["lines first", "end first", "nobody sees it"])
def test_the_grammar_of_the_command_line_is_no_clients(machine: Machine, order: str) -> None:
    """Whether the end of the process is known before its last lines are read is chance. A run that served is before it."""
    if order != "nobody sees it":
        machine.found(0)
    machine.says(2, START + READY + STOPS)
    if order != "nobody sees it":
        machine.ends(4)
        machine.found(10, 78)
    if order == "end first":
        machine.ends(11, 78)
    machine.says(12, START + DIES_OF_ITS_GRAMMAR)
    if order == "lines first":
        machine.ends(13, 78)
    machine.ticks(13, 30)
    assert "server-crashed" in machine.fired()
    assert not machine.fired() & REQUEST_REFUSED
    crashed = [t for t in machine.told if t.rule == "server-crashed" and t.state == "firing"][-1]
    assert crashed.cause is not None
    assert crashed.cause.id == "grammar-of-the-command-line"


def test_a_start_in_a_clients_text_does_not_make_the_rest_of_it_the_servers_own(machine: Machine) -> None:
    machine.found(0)
    machine.says(2, START + READY)
    machine.says(10, REFUSED + START + REFUSED + SLEEPS)
    assert machine.state() == "ready"


def test_a_port_in_front_counts_in_the_log_of_its_own_router_only(machine: Machine) -> None:
    """Anybody can write `[ 8080]`."""
    machine.found(0)
    machine.says(1, START + READY)
    router, child = Entity("server", "127.0.0.1:9000"), Entity("server", "127.0.0.1:41000")
    machine.found(1, 80, THEIRS)
    machine.found(2, 90, router, is_router=True, port=9000)
    machine.found(3, 91, child, port=41000, router=router.name)
    machine.says(4, b"[ 8080] " + SLEEPS + b"[41000] " + SLEEPS, THEIRS)
    assert (machine.state(), machine.state(child), machine.state(THEIRS)) == ("ready", None, None)
    assert "no router" in machine.cuts()
    machine.says(5, b"[ 8080] " + SLEEPS + b"[41000] " + SLEEPS, router)
    assert (machine.state(), machine.state(child)) == ("ready", "sleeping")


def test_a_log_names_so_many_children_and_no_more(machine: Machine) -> None:
    machine.found(0, is_router=True)
    machine.says(1, b"".join(b"[%5d] " % (20_000 + n) + SLEEPS for n in range(5_000)))
    names = {e.name for e in machine.engine.state.facts.entities()}
    assert len(names) == MOST_CHILDREN + 1
    assert "llama.service" in machine.cuts()


def test_the_end_of_a_child_is_reported_by_its_own_router(machine: Machine) -> None:
    router, other = Entity("server", "127.0.0.1:9000"), Entity("server", "127.0.0.1:9001")
    spawn = b"0.00.095.901 I srv          load: spawning server instance with name=mine on port 41553\n"
    for one, pid in ((router, 90), (other, 91)):
        machine.found(0, pid, one, is_router=True)
    machine.says(1, spawn, router)
    machine.says(2, b"0.01.000.000 I srv    operator(): instance name=mine exited with status 139\n", other)
    machine.ticks(3, 20)
    assert machine.fired(Entity("server", f"{router.name}[41553]")) == set()


def test_what_is_called_an_end_is_an_event_of_the_shipped_rules(ruleset: RuleSet) -> None:
    assert {*_ENDS, *_DEATHS, *_BARE, CLIENT_TEXT} <= ruleset.events.keys()
