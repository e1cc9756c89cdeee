"""A name is its owner's: an address belongs to who listens there, and nobody has it by saying it first."""

from __future__ import annotations

from sentinel.sources.processes.naming import NameClaim, NameOwners

ADDRESS = "127.0.0.1:8080"
MINE, THEIRS = 1000, 4_000_001


def address(user: int) -> list[NameClaim]:
    return [NameClaim(ADDRESS, user, is_address=True)]


def test_the_first_has_the_name_where_nobody_else_claims_it() -> None:
    assert NameOwners().choose(address(MINE), 7, {}, None, 0.0) == ADDRESS
    assert NameOwners().choose(address(MINE), 7, {}, MINE, 0.0) == ADDRESS


def test_who_claims_the_port_of_another_user_gets_a_name_of_his_own() -> None:
    assert NameOwners().choose(address(THEIRS), 7, {}, MINE, 0.0) == f"{ADDRESS}@{THEIRS}"
    assert NameOwners().choose(address(THEIRS), 7, {ADDRESS: MINE}, None, 0.0) == f"{ADDRESS}@{THEIRS}"
    assert (
        NameOwners()
        .choose(address(THEIRS), 8, {ADDRESS: MINE, f"{ADDRESS}@{THEIRS}": THEIRS}, MINE, 0.0)
        .endswith(f"@{THEIRS}:8")
    )


def test_a_second_server_of_the_same_user_has_its_process_behind_it() -> None:
    assert NameOwners().choose(address(MINE), 7, {ADDRESS: MINE}, MINE, 0.0) == f"{ADDRESS}:7"


def test_a_name_that_was_proven_stays_its_owners_for_an_hour_after_the_end() -> None:
    names = NameOwners()
    names.proved(ADDRESS, MINE, 0.0)
    assert names.choose(address(THEIRS), 7, {}, None, 60.0) == f"{ADDRESS}@{THEIRS}"
    assert names.choose(address(MINE), 8, {}, MINE, 60.0) == ADDRESS
    assert names.choose(address(THEIRS), 7, {}, THEIRS, 3601.0) == ADDRESS


def test_a_unit_of_the_system_is_roots_and_one_of_a_user_his() -> None:
    unit = [NameClaim("llama.service", 0), *address(MINE)]
    his = [NameClaim("llama.service", THEIRS), *address(THEIRS)]
    assert NameOwners().choose(unit, 7, {}, None, 0.0) == "llama.service"
    assert NameOwners().choose(his, 8, {"llama.service": 0}, None, 0.0) == ADDRESS


def test_a_user_that_is_not_known_is_named_as_ever() -> None:
    assert NameOwners().choose(address(-1), 7, {}, MINE, 0.0, known=False) == ADDRESS
