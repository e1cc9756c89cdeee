"""When a server is checked, and what is kept and said of it. The child is a stand-in: what it does is tested with it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from composed_proc import LIBRARIES, Machine

from sentinel.llama.command_line import decode
from sentinel.model.entity import Entity, Unknown
from sentinel.quality.daily import source as module
from sentinel.quality.daily.outcome import Distance, Outcome
from sentinel.quality.daily.settings import DAY, Chosen, Daily
from sentinel.quality.daily.source import QualityChecks
from sentinel.sources.processes.cgroup import parse
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess

#: A noon: the day of tokens does not end within a test that does not mean it.
NOON = 20_000 * DAY + DAY / 2
SAME = Outcome("done", tokens=4800, seconds=30.0, build="b10434", past=Distance("same", divergence=0.0, same_first=1.0))
LEARNED = replace(SAME, learned=True, tokens=14_400, past=Distance("learned"))
SHIFTED = replace(SAME, past=Distance("shifted", size="large", divergence=0.17, same_first=0.6))


class Children:
    """Stands in for `Child`: keeps orders, and ends when it is told what was found."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.words: list[Sequence[str]] = []
        self.answer: object | None = None

    def __call__(self, order: dict[str, Any], descriptors: Sequence[int] = (), *, words: Sequence[str] = ()) -> Children:
        self.orders.append(order)
        self.words.append(words)
        return self

    def said(self) -> object | None:
        answer, self.answer = self.answer, None
        return answer


class World:
    """A server on a composed machine, and the source that looks at it every five seconds."""

    def __init__(self, folder: Path, children: Children, settings: Daily | None = None) -> None:
        self.machine, self.folder, self.children = Machine(folder), folder, children
        self.settings = settings or Daily(check=True)
        self.at = NOON
        self.model = folder / "m.gguf"
        self.model.write_bytes(b"weights")
        self.words = ["-m", str(self.model), "--port", "8080"]
        self.servers: list[ServerProcess] = []
        self.cpu = 0
        self.last: Mapping[str, Any] = {}
        self.begin()
        self.restart_daemon()

    def begin(self, pid: int = 10, *more: str, env: dict[str, str] | None = None, **also: Any) -> None:
        """Another process in the server's place."""
        for one in self.servers:
            self.machine.end(one.pid)
        self.machine.start(pid, *self.words, *more, ticks=pid, env=env, **also)
        requested = decode(["llama-server", *self.words, *more], env or {})
        log = LogSource("none", "its log")
        values = {
            **requested.signals(),
            "server.configuration": str(zlib.crc32(" ".join([*self.words, *more]).encode())),
            "server.called": "m :8080",
        }
        made = ServerProcess(pid, pid, self.at, Entity("server", "x"), requested, parse(""), log, None, 1, values)
        self.servers = [made]
        self.cpu = 0

    def restart_daemon(self) -> None:
        self.source = QualityChecks(lambda: self.servers, self.machine.roots, self.settings, self.folder / "daily", 0.5)

    def pass_(self, seconds: float, *, works: bool = False) -> int:
        """Let time go by; how many children were started."""
        before = len(self.children.orders)
        until = self.at + seconds
        # Of hours only the last minutes are looked at as often as the daemon does.
        self.at = max(self.at, until - 600)
        while self.at < until:
            self.at += 5.0
            self.cpu += 400 if works else 0
            for one in self.servers:
                self.machine.stat(one.pid, "llama-server", ticks=one.ticks, cpu=self.cpu)
            for reading in self.source.poll(self.at):
                self.last = {name.removeprefix("server."): value for name, value in vars_of(reading).items()}
        return len(self.children.orders) - before

    def find(self, outcome: Outcome) -> None:
        """The child at work ends with this."""
        if outcome.learned:
            reference = Path(self.children.orders[-1]["past"])
            reference.write_text("{}")
        self.children.answer = asdict(outcome)
        self.pass_(5)

    def learn(self) -> None:
        assert self.pass_(310) == 1
        self.find(LEARNED)


def unknown(value: object) -> bool:
    return isinstance(value, Unknown)


def vars_of(reading: Any) -> Mapping[str, Any]:
    return dict(reading.values)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    made = Children()
    monkeypatch.setattr(module, "Child", made)
    monkeypatch.setattr(module, "loopback", lambda *_: ("127.0.0.1", 8080))
    return made


@pytest.fixture
def world(tmp_path: Path, children: Children) -> World:
    return World(tmp_path, children)


def test_nothing_is_asked_before_five_minutes_of_rest(world: World) -> None:
    assert world.pass_(295) == 0
    assert str(world.last["quality_waits"]).startswith("it is not idle yet")
    assert world.pass_(15) == 1


def test_work_begins_the_rest_anew(world: World) -> None:
    world.pass_(295)
    assert world.pass_(20, works=True) == 0
    assert world.pass_(290) == 0
    assert world.pass_(20) == 1


def test_only_one_is_asked_at_a_time(world: World) -> None:
    assert world.pass_(1000) == 1
    assert world.last["quality_waits"] == "it is being asked"


def test_it_is_checked_again_after_a_day(world: World) -> None:
    world.learn()
    assert world.last["quality_verdict"] == "learned"
    assert world.pass_(DAY - 600) == 0
    assert world.pass_(700) == 1
    world.find(SAME)
    assert (world.last["quality_verdict"], world.last["quality_divergence"]) == ("same", 0.0)
    assert (world.last["quality_tokens"], world.last["quality_seconds"]) == (4800, 30.0)


def test_a_start_with_another_model_is_checked_after_its_rest(world: World) -> None:
    world.learn()
    world.model.write_bytes(b"other weights")
    world.begin(11)
    assert world.pass_(200) == 0
    assert unknown(world.last["quality_verdict"]), "what was found of the weights from before is not said of these"
    assert world.pass_(120) == 1
    world.find(SHIFTED)
    assert (world.last["quality_verdict"], world.last["quality_changed"]) == ("shifted", "model")


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        (("-ctk", "q4_0", "-ctv", "q4_0"), "cache"),
        (("--rope-freq-base", "5000"), "flags"),
        (("-c", "8192", "-np", "4", "-t", "2"), "other"),
        (("-fa", "off"), "flags"),
    ],
)
def test_a_start_with_other_flags_is_checked_and_they_are_named(flags: tuple[str, ...], changed: str, world: World) -> None:
    world.learn()
    world.begin(11, *flags)
    assert world.pass_(320) == 1
    world.find(SHIFTED)
    assert world.last["quality_changed"] == changed


RADV = "7f10-7f11 r-xp 00000000 08:01 6 /usr/lib/libvulkan_radeon.so\n"
ANOTHER = {
    "the kernel's driver": ("driver", "driver Linux 6.1.0, amdgpu 6.8.5 -> Linux 6.1.0, amdgpu 6.12.12"),
    "the GPU": ("gpu", "GPU 0x1002:0x744c -> 0x1002:0x7550"),
    "Mesa": ("library", "driver files libvulkan_radeon.so"),
    "Mesa's driver by AMD's": ("library", "driver libvulkan_radeon.so -> libamdhip64.so.6"),
    "Mesa where the processor computes": ("", ""),
    "the GPU by the processor": ("device", "computed with a GPU -> with no GPU"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("what", ANOTHER)
def test_a_gpu_or_driver_that_changed_is_named(what: str, world: World) -> None:
    """A composed Radeon with AMD's own kernel driver (DKMS, which alone has a version) and Mesa's driver for Vulkan."""
    roots = world.machine.roots

    def put(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        os.utime(path, ns=(1, 1))

    def begin(pid: int, maps: str = RADV, fds: dict[int, str] | None = None) -> None:
        nodes = {1: "/dev/null"} if what == "Mesa where the processor computes" else {8: "/dev/dri/renderD128"}
        world.begin(pid, maps=LIBRARIES + maps, fds=fds or nodes)
        for name in ("libvulkan_radeon.so", "libamdhip64.so.6"):
            put(roots.proc / f"{pid}/root/usr/lib/{name}", "25.0.7" if what.startswith("Mesa") and pid == 21 else "25.0")

    put(roots.proc / "sys/kernel/osrelease", "6.1.0")
    put(roots.sys / "module/amdgpu/version", "6.8.5")
    put(roots.sys / "class/drm/card0/device/vendor", "0x1002")
    put(roots.sys / "class/drm/card0/device/device", "0x744c")
    begin(20)
    world.learn()
    if what == "the kernel's driver":
        put(roots.sys / "module/amdgpu/version", "6.12.12")
    if what == "the GPU":
        put(roots.sys / "class/drm/card0/device/device", "0x7550")
    if what == "Mesa's driver by AMD's":
        begin(21, RADV.replace("libvulkan_radeon.so", "libamdhip64.so.6"))
    else:
        begin(21, fds={1: "/dev/null"} if what == "the GPU by the processor" else None)
    assert world.pass_(DAY + 320) == 1
    world.find(SHIFTED)
    assert (world.last["quality_changed"], world.last["quality_changes"]) == ANOTHER[what]


def test_the_software_gpu_in_place_of_the_processor_is_named(world: World) -> None:
    """llama.cpp takes a software renderer only where a variable names it."""
    world.learn()
    world.begin(11, "-ngl", "99", env={"GGML_VK_VISIBLE_DEVICES": "0"})
    world.pass_(320)
    world.find(SHIFTED)
    assert world.last["quality_changed"] == "flags"
    assert world.last["quality_changes"] == "flags none -> -ngl 99, GGML_VK_VISIBLE_DEVICES 0"


def test_what_gave_the_same_answers_is_no_cause_of_a_later_shift(world: World) -> None:
    """The file was written again, and answers as before: when the cache changes after that, it is the cache."""
    world.learn()
    world.model.write_bytes(b"the same weights, another time")
    world.begin(11)
    world.pass_(320)
    world.find(SAME)
    world.begin(12, "-ctk", "q4_0", "-ctv", "q4_0")
    world.pass_(320)
    world.find(SHIFTED)
    assert world.last["quality_changed"] == "cache"


def test_a_restart_of_the_same_is_no_reason(world: World) -> None:
    world.learn()
    world.begin(11)
    assert world.pass_(3600) == 0
    assert world.last["quality_verdict"] == "learned"


def test_the_daemon_may_be_killed_at_any_time(world: World) -> None:
    world.learn()
    world.restart_daemon()
    assert world.pass_(3600) == 0
    assert world.last["quality_verdict"] == "learned"
    world.pass_(DAY)
    world.restart_daemon()
    assert world.pass_(320) == 1, "its child is dead, and another begins"


def test_whoever_removes_what_was_learned_has_it_learned_anew(world: World) -> None:
    world.learn()
    Path(str(world.last["quality_file"])).unlink()
    assert world.pass_(320) == 1
    assert isinstance(world.last["quality_verdict"], Unknown)


def test_the_tokens_of_a_day_are_not_exceeded(world: World) -> None:
    world.pass_(310)
    assert world.children.orders[-1]["budget"] == 20_000
    world.find(Outcome("budget", "the day's tokens are spent", tokens=19_990, partial=True))
    assert world.pass_(11 * 3600) == 0
    assert world.pass_(2 * 3600) == 1, "the next day has begun"
    assert world.children.orders[-1]["budget"] == 20_000


def test_a_slow_server_is_asked_for_two_hundredths_of_a_day(world: World) -> None:
    """Counted by the daemon's own clock: a child that had to be killed says nothing of what it took."""
    world.pass_(310)
    assert world.children.orders[-1]["left"] == 1728.0
    world.pass_(1000)
    world.children.answer = {}
    world.pass_(5)
    assert world.pass_(3600) == 1, "tried again after its pause"
    assert 700.0 < world.children.orders[-1]["left"] < 730.0
    world.pass_(800)
    world.find(Outcome("budget", "the day's seconds are spent", tokens=900, partial=True))
    assert world.pass_(3 * 3600) == 0
    assert world.pass_(9 * 3600) == 1, "the next day has begun"
    assert world.children.orders[-1]["left"] == 1728.0


def test_a_check_that_was_stopped_goes_on_with_the_same_process_only(world: World) -> None:
    world.pass_(310)
    assert world.children.orders[-1]["resume"] is False
    world.find(Outcome("request", "a request came", tokens=900, partial=True))
    assert world.pass_(40) == 0
    assert world.pass_(300) == 1
    assert (world.children.orders[-1]["resume"], world.children.orders[-1]["budget"]) == (True, 19_100)
    world.find(Outcome("request", "a request came", tokens=900, partial=True))
    world.begin(11)
    assert world.pass_(320) == 1
    assert world.children.orders[-1]["resume"] is False


def test_trouble_is_said_and_tried_ever_less_often(world: World) -> None:
    world.pass_(310)
    world.find(Outcome("trouble", "it wants an API key", "name a file"))
    assert world.last["quality_waits"] == "it wants an API key"
    assert world.last["quality_verdict"] == Unknown("it wants an API key", "name a file")
    assert world.pass_(800) == 0
    assert world.pass_(200) == 1
    world.find(Outcome("trouble", "it wants an API key", "name a file"))
    assert world.pass_(1700) == 0
    world.begin(11)
    assert world.pass_(320) == 1, "with another process it may work"


def test_what_was_changed_on_purpose_is_the_past_after_a_week(world: World) -> None:
    world.learn()
    world.begin(11, "--rope-freq-base", "5000")
    world.pass_(320)
    for _ in range(7):
        world.find(SHIFTED)
        assert Path(world.children.orders[-1]["past"]).exists()
        world.pass_(DAY + 60)
    world.find(SHIFTED)
    world.pass_(DAY + 60)
    assert not Path(world.children.orders[-1]["past"]).exists()
    world.find(LEARNED)
    assert (world.last["quality_verdict"], world.last["quality_changed"]) == ("learned", "")


def test_a_shift_of_which_nothing_is_known_to_have_changed_stays(world: World) -> None:
    world.learn()
    for _ in range(9):
        world.pass_(DAY + 60)
        world.find(SHIFTED)
    assert Path(world.children.orders[-1]["past"]).exists()
    assert world.last["quality_verdict"] == "shifted"


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (Daily(check=True, servers=(Chosen(port=8080, check=False),)), 0),
        (Daily(check=True, servers=(Chosen(port=9090, check=False),)), 1),
        (Daily(servers=(Chosen(port=8080, check=True),)), 1),
        (Daily(servers=(Chosen(name="m :8080", check=True),)), 1),
        (Daily(servers=(Chosen(name="another", check=True),)), 0),
    ],
)
def test_only_those_that_were_chosen_are_asked(settings: Daily, count: int, tmp_path: Path, children: Children) -> None:
    world = World(tmp_path, children, settings)
    assert world.pass_(320) == count
    assert bool(world.last) == bool(count)


@pytest.mark.parametrize("flags", [("--embeddings",), ("--reranking",)])
def test_servers_that_serve_no_text_are_left_alone(flags: tuple[str, ...], world: World) -> None:
    world.begin(11, *flags)
    assert world.pass_(320) == 0


def test_a_router_is_left_alone(world: World) -> None:
    world.words = ["--port", "8080"]
    world.begin(11)
    assert world.pass_(320) == 0


def test_a_key_goes_to_its_owners_process_only(tmp_path: Path, children: Children) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    world = World(tmp_path, children, Daily(check=True, servers=(Chosen(port=8080, api_key_file=key),)))
    assert world.pass_(320) == 0, "whose process it is, is not known"
    assert "is not sent to another's process" in str(world.last["quality_waits"])
    values = {**world.servers[0].values, "server.unit": "llama.service"}
    world.servers = [replace(world.servers[0], pid=10, values=values)]
    world.pass_(1000)
    assert children.orders[-1]["key"] == "s3cret"
    assert not any("s3cret" in path.read_text() for path in (tmp_path / "daily").iterdir())


@pytest.mark.parametrize("text", ["", "\n", "a\x01b", "ä"])
def test_a_key_that_is_none_is_said(text: str, tmp_path: Path, children: Children) -> None:
    key = tmp_path / "key"
    key.write_text(text)
    world = World(tmp_path, children, Daily(check=True, servers=(Chosen(port=8080, api_key_file=key),)))
    world.servers = [replace(world.servers[0], values={**world.servers[0].values, "server.unit": "llama.service"})]
    assert world.pass_(320) == 0
    assert str(key) in str(world.last["quality_waits"]) or "cannot be read" in str(world.last["quality_waits"])


def test_a_reference_that_is_not_there_is_said(tmp_path: Path, children: Children) -> None:
    world = World(tmp_path, children, Daily(check=True, servers=(Chosen(port=8080, reference=tmp_path / "none.json"),)))
    assert world.pass_(320) == 0
    assert "none.json cannot be read: No such file" in str(world.last["quality_waits"])


def test_importance_matrices_are_counted_once_for_each_version(tmp_path: Path, children: Children) -> None:
    files = tmp_path / "a.gguf", tmp_path / "b.gguf"
    for one in files:
        one.write_bytes(b"x")
    world = World(tmp_path, children, Daily(check=True, servers=(Chosen(port=8080, experts=files),)))
    assert world.pass_(20) == 1
    assert children.words[-1] == ("experts", *map(str, files))
    children.answer = {"abandoned": 3, "judged": 40, "divergence": 0.01, "why": ""}
    world.pass_(5)
    assert (world.last["experts_abandoned"], world.last["experts_judged"]) == (3, 40)
    assert world.pass_(200) == 0
    files[1].write_bytes(b"another")
    assert world.pass_(20) == 1
    children.answer = {"why": "b.gguf is no importance matrix", "remedy": "make it again"}
    world.pass_(5)
    assert world.last["experts_abandoned"] == Unknown("b.gguf is no importance matrix", "make it again")


def test_a_child_that_says_nothing_of_use_is_trouble(world: World) -> None:
    world.pass_(310)
    world.children.answer = {"why": "the check ended without an answer (exit code 1)"}
    world.pass_(5)
    assert world.last["quality_waits"] == "the check ended without an answer (exit code 1)"


def test_what_is_kept_holds_no_path_and_no_text_of_users(world: World) -> None:
    world.begin(11, "--rope-freq-base", "5000", "--lora", "/home/ann/secret lora.gguf")
    world.learn()
    kept = json.loads(next((world.folder / "daily").glob("*.state.json")).read_text())
    assert "ann" not in json.dumps(kept)
    assert os.fspath(world.folder) not in json.dumps(kept)
