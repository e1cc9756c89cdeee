"""One piece of advice, said right for what runs the server: a unit, a user's unit, a container, a manager, a person."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from sentinel.engine.rules.fix_terms import in_terms
from sentinel.engine.rules.runtime import control, preset_keys, runtime_of, with_flags, with_settings

UNIT = {"server.unit": "llama.service", "server.user_unit": False, "server.container": ""}
MINE = UNIT | {"server.user_unit": True}
DOCKER = {"server.unit": "", "server.container": "0123456789abcdef" * 4, "server.container_engine": "docker"}
PODMAN = DOCKER | {"server.container_engine": "podman"}
CONTAINER = {"server.unit": "", "server.container": "0123456789abcdef" * 4}
COMPOSE = DOCKER | {"server.container_name": "app-llm-1", "server.compose_service": "llm"}
QUADLET = PODMAN | {"server.unit": "llm.service"}
HAND = {"server.unit": "", "server.container": ""}
OLLAMA = {"server.unit": "ollama.service", "server.user_unit": False, "server.started_by": "ollama"}
SWAP = HAND | {"server.started_by": "llama-swap"}
ROUTER = UNIT | {"server.started_by": "llama-server"}
SCRIPT = UNIT | {"server.started_by": "bash"}
UNKNOWN: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("server", "note", "command"),
    [
        (UNIT, "", "true && sudo systemctl restart llama.service"),
        (MINE, "", "true && systemctl --user restart llama.service"),
        (DOCKER, "", "true && docker restart 0123456789ab"),
        (PODMAN, "", "true && podman restart 0123456789ab"),
        (CONTAINER, " (`podman` in place of `docker` where that runs it)", "true && docker restart 0123456789ab"),
        (HAND, " (stop it and start it again)", "true"),
        (OLLAMA, "", "true && sudo systemctl restart ollama.service"),
        (SWAP, " (stop llama-swap and start it again)", "true"),
        (ROUTER, "", "true && sudo systemctl restart llama.service"),
        (UNKNOWN, "", "true"),
    ],
)
def test_it_is_restarted_by_what_runs_it(server: dict[str, Any], note: str, command: str) -> None:
    assert control("restart", "true", runtime_of(server.get)) == (note, command)


def test_what_only_looks_is_not_a_condition_of_the_restart() -> None:
    assert control("restart", "nvidia-smi;", runtime_of(UNIT.get))[1] == "nvidia-smi; sudo systemctl restart llama.service"
    assert control("restart", "nvidia-smi;", runtime_of(HAND.get))[1] == "nvidia-smi"
    assert control("restart", "", runtime_of(UNIT.get))[1] == "sudo systemctl restart llama.service"


@pytest.mark.parametrize(
    ("server", "note", "command"),
    [
        (UNIT, "", "sudo systemctl stop llama.service"),
        (MINE, "", "systemctl --user stop llama.service"),
        (PODMAN, "", "podman stop 0123456789ab"),
        (HAND, " (stop it)", ""),
        (SWAP, " (stop llama-swap)", ""),
    ],
)
def test_it_is_stopped_by_what_runs_it(server: dict[str, Any], note: str, command: str) -> None:
    assert control("stop", "", runtime_of(server.get)) == (note, command)


@pytest.mark.parametrize(
    ("server", "note", "command"),
    [
        (UNIT, "at the end of the command line of llama-server in llama.service", "sudo systemctl edit llama.service &&"),
        (MINE, "at the end of the command line of llama-server in llama.service", "systemctl --user edit llama.service &&"),
        (DOCKER, "in its container (behind the image's name in its docker run, or to command: in a compose", ""),
        (HAND, "(add `-c 4096` to the command line of llama-server)", ""),
        (UNKNOWN, "(add `-c 4096` to the command line of llama-server)", ""),
        (OLLAMA, "in Ollama: num_ctx 4096, or OLLAMA_CONTEXT_LENGTH=4096 for all models", ""),
        (SWAP, "to this model's cmd in llama-swap's configuration", ""),
        (HAND | {"server.front_end": "jan"}, "(in Jan, in the model's settings: Context Size 4096)", ""),
        (ROUTER, "to this model's section of the router's preset", "sudo systemctl restart llama.service"),
        (
            ROUTER | {"server.preset": "gem"},
            "section [gem] of the router's preset, as `ctx-size = 4096`, or",
            "sudo systemctl",
        ),
        (SCRIPT, "which `bash` in llama.service starts", "systemctl cat llama.service"),
    ],
)
def test_flags_go_where_the_command_line_is_written(server: dict[str, Any], note: str, command: str) -> None:
    placed = with_flags("-c 4096", runtime_of(server.get))
    assert placed is not None
    told, typed = placed
    assert note in told
    assert typed.startswith(command) and bool(typed) == bool(command)
    if server is not UNIT and server is not MINE:
        assert "edit" not in typed, "an ExecStart= that is not llama-server's is not rewritten"


@pytest.mark.parametrize(
    ("flags", "keys"),
    [
        ("-c 8192", ["ctx-size = 8192"]),
        ("-np 1 --swa-full", ["parallel = 1", "swa-full = true"]),
        ("--override-kv ARCH.context_length=int:320000", ["override-kv = ARCH.context_length=int:320000"]),
        # How a preset turns something off differs by option and build.
        ("-np 1 --no-mmap", []),
        ("--of-tomorrow 3", []),
    ],
)
def test_flags_are_spelled_as_a_routers_preset_spells_them(flags: str, keys: list[str]) -> None:
    assert preset_keys(flags) == keys


def test_a_flag_that_is_there_already_is_replaced() -> None:
    """`(add `-c 512` ...)` beside a `-c 256` in the same command line; of two the last one counts."""
    given = runtime_of({"server.unit": "", "server.container": "", "server.ctx_explicit": True, "server.slots_requested": -1}.get)
    assert with_flags("-c 512 -np 1", given) == (
        " (add `-c 512 -np 1` to the command line of llama-server, in place of the -c that is there)",
        "",
    )
    both = runtime_of({"server.unit": "", "server.container": "", "server.ctx_explicit": True, "server.slots_requested": 4}.get)
    assert with_flags("-c 512 -np 1", both)[0].endswith(", in place of the -c and -np that are there)")  # type: ignore[index]
    assert with_flags("--mlock", both) == (" (add `--mlock` to the command line of llama-server)", "")


def test_no_flags_are_none_to_add() -> None:
    assert with_flags("", runtime_of(UNIT.get)) == ("", "")


def test_a_fix_that_a_front_end_has_no_way_to_say_is_none() -> None:
    assert with_flags("--no-repack", runtime_of(OLLAMA.get)) is None


LIMIT = {"unit": "LimitMEMLOCK=infinity", "container": "--ulimit memlock=-1:-1", "shell": "ulimit -l unlimited"}


@pytest.mark.parametrize(
    ("settings", "server", "note", "command"),
    [
        (LIMIT, UNIT, "", "sudo systemctl edit llama.service && sudo systemctl restart llama.service   # [Service] LimitMEMLOCK"),
        (LIMIT, OLLAMA, "", "sudo systemctl edit ollama.service && sudo systemctl restart ollama.service   # [Service] Limit"),
        (LIMIT, DOCKER, "add `--ulimit memlock=-1:-1` to the docker run command, and recreate the container", ""),
        (LIMIT, PODMAN, "add `--ulimit memlock=-1:-1` to the podman run command", ""),
        (
            LIMIT,
            COMPOSE,
            "add `ulimits: {memlock: -1}` to the service llm in its compose file, and run `docker compose up -d llm`",
            "",
        ),
        (
            LIMIT,
            QUADLET,
            "as PodmanArgs=--ulimit memlock=-1:-1 in the .container file of llm.service",
            "systemctl cat llm.service",
        ),
        (LIMIT, HAND, "in the shell that starts it, then start it again", "ulimit -l unlimited"),
        (LIMIT, SWAP, "in the shell that starts llama-swap, then start it again", "ulimit -l unlimited"),
        (LIMIT, UNKNOWN, "`LimitMEMLOCK=infinity` in its unit, `--ulimit memlock=-1:-1` for `docker run`, `ulimit -l", ""),
        ({"unit": "Nice=1"}, DOCKER, "(`Nice=1` in its unit)", ""),
        (
            {"env": "A=b"},
            MINE,
            "",
            "systemctl --user edit llama.service && systemctl --user restart llama.service   # [Service] Env",
        ),
        ({"env": "A=b"}, DOCKER, "add `-e A=b` to the docker run command", ""),
        ({"env": "A=b"}, HAND, "in the shell that starts it", "export A=b"),
        (
            {"unset": "A"},
            UNIT,
            "",
            "sudo systemctl edit llama.service && sudo systemctl restart llama.service   # [Service] Unset",
        ),
        ({"unset": "A"}, DOCKER, "leave `-e A` out of the docker run command", ""),
        ({"unset": "A"}, QUADLET, "leave A out of Environment= and PodmanArgs=", "systemctl cat llm.service"),
        ({"unset": "A"}, HAND, "in the shell that starts it", "unset A"),
    ],
)
def test_a_setting_is_written_where_the_server_is_started(
    settings: dict[str, str], server: dict[str, Any], note: str, command: str
) -> None:
    placed = with_settings(settings, runtime_of(server.get))
    assert placed is not None
    told, typed = placed
    assert note in told and bool(note) == bool(told)
    assert typed.startswith(command) and bool(typed) == bool(command)


def test_a_job_of_cron_is_set_in_the_crontab() -> None:
    cron = runtime_of((HAND | {"server.started_by": "cron"}).get)
    assert with_flags("-c 4096", cron) == (" (add `-c 4096` to the command line of llama-server in its line of the crontab)", "")
    assert with_settings({"env": "A=b"}, cron) == (" (add the line `A=b` to the crontab, above its own)", "")
    assert with_settings({"unset": "A"}, cron) == (" (leave A out of the crontab)", "")
    assert with_settings(LIMIT, cron) == (
        " (write `ulimit -l unlimited;` before the command in its line of the crontab)",
        "",
    )


def test_what_systemd_gives_its_services_is_nothing_for_a_container_that_it_runs() -> None:
    assert with_settings({"unit": "SupplementaryGroups=render"}, runtime_of(QUADLET.get)) is None


GPU = "Pass it in (add `--device /dev/dri --group-add $(getent group render | cut -d: -f3)` to the docker run command)"


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (DOCKER, GPU),
        (PODMAN, "to the podman run command; rootless, `--group-add keep-groups` in place of the groups)"),
        (COMPOSE, "(add `devices: [/dev/dri:/dev/dri]` and group_add: with the numbers that `getent group render` prints to the "
         "service llm in its compose file, and run `docker compose up -d llm`)"),
        (QUADLET, "(as PodmanArgs=--device /dev/dri --group-add RENDER in the .container file of llm.service (RENDER: what"),
        (QUADLET | {"server.user_unit": True}, "(as PodmanArgs=--device /dev/dri --group-add keep-groups in the .container file"),
        (DOCKER | {"server.container_engine": "kubernetes"}, "(what `docker run --device /dev/dri "),
    ],
)  # fmt: skip
def test_options_of_docker_run_are_said_for_what_starts_the_container(server: dict[str, Any], said: str) -> None:
    found = in_terms(GPU, "", "", runtime_of(server.get))
    assert found is not None
    assert said in found[0]


def test_podman_gets_a_gpu_of_nvidia_by_cdi_and_compose_by_a_key() -> None:
    text = "Pass the GPU in (add `--gpus all` to the docker run command)"
    assert in_terms(text, "", "", runtime_of(PODMAN.get)) == (
        "Pass the GPU in (add `--device nvidia.com/gpu=all` to the podman run command)",
        "",
    )
    compose = in_terms(text, "", "", runtime_of(COMPOSE.get))
    assert compose is not None
    assert "add `gpus: all` (Compose 2.30 and newer" in compose[0]


def test_a_container_that_has_ended_is_looked_at_with_its_own_engine() -> None:
    look = "docker inspect -f '{{json .Mounts}}' t1"
    assert in_terms("See", look, "", runtime_of(PODMAN.get)) == ("See", look.replace("docker", "podman"))
    # Neither Docker nor podman is known to run it: both are named.
    said = in_terms("See", look, "", runtime_of(CONTAINER.get))
    assert said == ("See (`podman` in place of `docker` where that runs it)", look)


def test_names_of_strangers_are_quoted() -> None:
    server = UNIT | {"server.unit": "a b; reboot.service"}
    limited = with_settings(LIMIT, runtime_of(server.get))
    assert limited is not None
    for command in (control("restart", "", runtime_of(server.get))[1], limited[1]):
        assert "a b; reboot.service" in shlex.split(command, comments=True)
    assert (
        shlex.split(control("stop", "", runtime_of({"server.unit": "", "server.container": "$(reboot)"}.get))[1])[-1]
        == "$(reboot)"
    )


@pytest.mark.parametrize(
    ("server", "flags", "env"),
    [
        (
            DOCKER | {"server.container_name": "t1", "server.compose_service": "llm"},
            "`docker compose up -d llm`",
            "environment: of the service llm in its compose file",
        ),
        (
            PODMAN | {"server.unit": "llm.service"},
            "at the end of Exec= in the .container file of llm.service",
            "as Environment=A=b in the .container file of llm.service",
        ),
        (DOCKER | {"server.container_engine": "kubernetes"}, "to args: of llama-server's container", "to env: of llama-server's"),
        (SWAP, "to this model's cmd", "add `A=b` to this model's env in llama-swap's configuration"),
    ],
)
def test_what_is_written_in_a_file_of_its_own_is_changed_there(server: dict[str, Any], flags: str, env: str) -> None:
    placed, setting = with_flags("-c 4096", runtime_of(server.get)), with_settings({"env": "A=b"}, runtime_of(server.get))
    assert placed is not None and setting is not None
    assert flags in placed[0]
    assert env in setting[0]


def test_a_container_is_restarted_by_its_name() -> None:
    server = DOCKER | {"server.container_name": "t1"}
    assert control("restart", "", runtime_of(server.get))[1] == "docker restart t1"


def test_what_a_manager_takes_from_nobody_is_no_advice() -> None:
    server = DOCKER | {"server.front_end": "docker-model-runner"}
    assert with_settings({"env": "A=b"}, runtime_of(server.get)) is None
    assert with_flags("-ngl 20", runtime_of((HAND | {"server.front_end": "lemonade"}).get)) is None
