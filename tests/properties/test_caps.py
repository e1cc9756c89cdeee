"""Whatever a stranger names, in whatever number: caps hold, and what is another's stays as it is."""

from __future__ import annotations

from collections import Counter

from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentinel.engine.engine import Engine
from sentinel.engine.facts.event_log import EventLog
from sentinel.engine.facts.router_children import RouterChildren
from sentinel.engine.facts.state import EngineState
from sentinel.engine.facts.store import FactStore
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import decode
from sentinel.model import input_limits
from sentinel.model.cuts import Cuts, text, words
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Event, ServerFound
from sentinel.model.shares import Shares, fairly, leaves_room, owner

HONEST = Entity("server", "llama.service")
TEXTS = ("server.host", "server.model_path", "server.unknown_flags", "server.log_where", "server.unit", "server.cgroup")
lengths = st.integers(0, 200_000)


@settings(max_examples=examples(100), deadline=None)
@given(value=st.text(max_size=50), times=st.integers(0, 3000), limit=st.integers(1, 5000))
def test_a_text_is_within_its_limit_and_whole_where_it_fits(value: str, times: int, limit: int) -> None:
    whole = value * times
    kept = text(whole, limit)
    assert len(kept) <= limit
    assert kept == whole or (len(whole) > limit and kept[:-1] == whole[: limit - 1])


@settings(max_examples=examples(60), deadline=None)
@given(line=st.lists(st.tuples(st.sampled_from(["--port", "--host", "-m", "--never-heard-of", "x"]), lengths), max_size=40))
def test_any_command_line_becomes_a_bounded_one(line: list[tuple[str, int]]) -> None:
    argv = words(["llama-server", *(w + "y" * n for w, n in line * 30)])
    assert len(argv) <= input_limits.MOST_WORDS
    requested = decode(argv, {})
    assert len(requested.unknown) <= input_limits.MOST_UNKNOWN
    assert all(len(one.text) <= input_limits.MOST_TEXT * input_limits.MOST_WORDS for one in requested.settings.values())


@settings(max_examples=examples(60), deadline=None)
@given(puts=st.lists(st.tuples(st.sampled_from(TEXTS), lengths, st.integers(0, 5)), max_size=40))
def test_facts_of_a_stranger_are_bounded_and_of_others_untouched(puts: list[tuple[str, int, int]]) -> None:
    cuts = Cuts()
    facts = FactStore(cuts)
    facts.put(HONEST, "server.model_path", "/models/" + "m" * 200, 1.0, "process")
    before = dict(facts.of(HONEST))
    for name, length, number in puts:
        stranger = Entity("server", f"stranger-{number}")
        facts.put(stranger, name, "x" * length, 2.0, "process")
        facts.put(stranger, "server.user", Unknown("y" * length, "z" * length), 2.0, "process")
        held = [f.value for f in facts.of(stranger).values() if isinstance(f.value, str)]
        assert sum(len(value) for value in held if len(value) > input_limits.SHORT_TEXT) <= input_limits.MOST_LONG_TEXTS
        assert all(len(value) <= input_limits.MOST_TEXT for value in held)
        assert all(len(one.why) <= 2 * input_limits.SHORT_TEXT for one in facts.unknowns(stranger).values())
    assert facts.of(HONEST) == before
    assert all(whose != HONEST.name for whose, _, _ in cuts.all())


@settings(max_examples=examples(30), deadline=None)
@given(
    floods=st.lists(
        st.tuples(
            st.integers(0, 30), st.sampled_from(["aborted", "gpu_error", "kv_full"]), st.integers(1, 400), st.integers(0, 4000)
        ),
        max_size=30,
    )
)
def test_a_flood_of_events_costs_only_whoever_sends_it(floods: list[tuple[int, str, int, int]]) -> None:
    cuts = Cuts()
    log = EventLog(lambda entity: entity.name.partition("-")[0], cuts)
    log.add(Event(1.0, "aborted", HONEST, {"what": "mine"}, "log", "mine", 1))
    for number, name, count, length in floods:
        server = Entity("server", f"stranger-{number}")
        for n in range(count):
            log.add(Event(2.0 + n, name, server, {"what": "x" * length}, "log", "y" * 300 + "x" * length, n))
    assert log.since(HONEST, "aborted", 0.0)[0] == 1
    rows = log.dump()
    # An event is its line, the texts captured from that, and 400 for the object.
    sizes = [400 + len(row[6]) + len(row[4].get("what", "")) for row in rows]
    kept, largest = sum(sizes), max(sizes)
    assert kept <= input_limits.MOST_EVENTS + input_limits.MOST_EVENTS_OF_ENTITY
    of = Counter(row[3] for row in rows)
    for server, _ in of.items():
        size = sum(held for held, row in zip(sizes, rows, strict=True) if row[3] == server)
        assert size <= input_limits.MOST_EVENTS_OF_ENTITY + largest


@settings(max_examples=examples(100), deadline=None)
@given(users=st.lists(st.sampled_from([0, 1000, 1001, 100_005, 160_000, 165_540, 400_000]), max_size=700))
def test_a_user_fills_his_own_share_and_never_takes_the_last_place_of_another(users: list[int]) -> None:
    shares = Shares(of_owner=40, in_all=100)
    held: list[int] = [1000]
    for user in users:
        if not shares.admits(user, held):
            continue
        if (place := shares.displaced(user, held)) is not None:
            held.pop(place)
        held.append(user)
        counts = Counter(map(owner, held))
        assert len(held) <= 100
        assert max(counts.values()) <= 40
        assert counts[1000] >= 1
    wanted = set(map(owner, users))
    # Nobody who came is without a server while another has more than one.
    assert wanted <= set(map(owner, held))


@settings(max_examples=examples(100), deadline=None)
@given(asks=st.lists(st.sampled_from([1001, 165_536, 165_540, 231_071]), max_size=80), honest=st.integers(0, 80))
@example(asks=[1001] * 16 + [165_536] * 8, honest=24)
def test_two_users_never_have_all_streams_of_logs(asks: list[int], honest: int) -> None:
    """Nobody gives one up again: 16 of one user and 8 of another were all, and a third user's journal was not read."""
    held: list[int] = []
    for user in [*asks[:honest], 1002, *asks[honest:]]:
        if leaves_room(user, held, input_limits.MOST_STREAMS_OF_OWNER, input_limits.MOST_LOG_STREAMS):
            held.append(user)
    of = Counter(map(owner, held))
    assert of[1002] == 1
    assert len(held) <= input_limits.MOST_LOG_STREAMS
    assert max(of.values()) <= input_limits.MOST_STREAMS_OF_OWNER


@settings(max_examples=examples(100), deadline=None)
@given(owners=st.lists(st.integers(0, 8), max_size=150), most=st.integers(0, 60))
def test_of_a_list_that_is_cut_owners_take_turns(owners: list[int], most: int) -> None:
    items = list(enumerate(owners))
    kept = fairly(items, lambda one: one[1], most)
    assert len(kept) == min(len(items), most)
    assert kept == sorted(kept)
    left, had = Counter(mine for _, mine in kept), Counter(owners)
    for mine in had:
        if left[mine] < had[mine]:
            assert left[mine] >= max(left.values(), default=0) - 1
            assert [item for item in kept if item[1] == mine] == [item for item in items if item[1] == mine][: left[mine]]


@settings(max_examples=examples(60), deadline=None)
@given(owners=st.lists(st.text(max_size=20), max_size=400), whats=st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_what_was_cut_is_reported_once_and_bounded(owners: list[str], whats: list[str]) -> None:
    cuts = Cuts()
    for whose in owners:
        for what in whats:
            cuts.add(whose, what)
    assert sum(count for _, _, count in cuts.all()) == len(owners) * len(whats)
    assert len(cuts.all()) <= 101
    assert len(cuts.fresh()) == len(cuts.all())
    assert cuts.fresh() == []


@settings(max_examples=examples(40), deadline=None)
@given(
    logs=st.lists(
        st.tuples(st.sampled_from(["ada", "eve"]), st.integers(0, 9), st.integers(1, 65_000), st.integers(1, 90)), max_size=40
    )
)
def test_the_children_that_logs_name_are_bounded_for_each_router_and_user(logs: list[tuple[str, int, int, int]]) -> None:
    state = EngineState({})
    children = RouterChildren(state)
    honest = Entity("server", "router.service")
    state.put(honest, "server.user", "bob", 1.0, "process")
    for user, number, first, count in logs:
        router = Entity("server", f"{user}-{number}")
        state.put(router, "server.user", user, 1.0, "process")
        for port in range(first, first + count):
            children.of_line(router, port)
    kept = Counter(name.rpartition("[")[0] for _, _, name in children.dump()["nameless"])
    of_user = Counter[str]()
    for router_name, held in kept.items():
        assert held <= input_limits.MOST_CHILDREN
        of_user[router_name.partition("-")[0]] += held
    assert all(held <= input_limits.MOST_CHILDREN_OF_OWNER for held in of_user.values())
    assert children.of_line(honest, 45_001) == Entity("server", "router.service[45001]")


@settings(max_examples=examples(100), deadline=None)
@given(kills=st.lists(st.tuples(st.integers(1, 4_000_000), st.sampled_from(["llama-server", "llama-server-x"])), max_size=400))
@example(kills=[(pid, "llama-server") for pid in range(1, 400)])
def test_servers_that_only_kills_name_are_bounded_and_a_known_one_keeps_its_own(
    ruleset: RuleSet, kills: list[tuple[int, str]]
) -> None:
    engine = Engine(ruleset)
    engine.step(ServerFound(1.0, "scan", HONEST, 5_000_000, 0.5, {"server.port": 1}))
    for n, (pid, comm) in enumerate(kills):
        engine.step(Event(2.0 + n, "oom_killed", HOST, {"pid": pid, "comm": comm}, "kernel", "killed", n))
    engine.step(Event(3000.0, "oom_killed", HOST, {"pid": 5_000_000, "comm": "llama-server"}, "kernel", "killed", 9))
    assert engine.state.log.strangers(engine.state.knows) <= input_limits.MOST_STRANGERS
    assert engine.state.happened(HONEST, "oom_killed", 0.0)[0] == 1


def test_a_strangers_kill_makes_no_end_of_names() -> None:
    """`knows` says which servers have more than an event."""
    state = EngineState({})
    values: dict[str, Value] = {"server.port": 1}
    for name, value in values.items():
        state.put(HONEST, name, value, 1.0, "process")
    assert state.knows(HONEST)
    assert not state.knows(Entity("server", "llama-server[17]"))
