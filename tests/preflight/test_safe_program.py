"""preflight runs nothing that a stranger could have chosen: not the program, its folders, links, libraries, environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import REPO

from sentinel.model.entity import Unknown
from sentinel.preflight import run_program
from sentinel.preflight.build import ask
from sentinel.preflight.command import from_words
from sentinel.preflight.run_program import run
from sentinel.preflight.safe_program import Program, Unsafe, check, environment, open_program

STRANGER = 61804
ECHO = "/usr/bin/env"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody else may write, nor any on the way to it: below /tmp one is sticky."""
    (REPO / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REPO / ".cache") as name:
        try:
            check(name)
        except Unsafe as why:
            pytest.skip(f"this checkout is where others may write: {why}")
        yield Path(name)


def program(folder: Path, name: str = "llama-server") -> Path:
    """A program that does what env does."""
    path = folder / name
    shutil.copy(ECHO, path)
    return path


def refused(path: Path, said: str, env: dict[str, str] | None = None) -> None:
    with pytest.raises(Unsafe, match=said):
        open_program(path, env or {})


def test_a_program_of_ours_in_a_folder_of_ours_may_run(folder: Path) -> None:
    with open_program(program(folder), {"LLAMA_ARG_PORT": "1", "LD_PRELOAD": "/x.so"}) as opened:
        done = run(opened, ["sh", "-c", "env; pwd; ls -l /proc/self/fd"])
    assert isinstance(done, tuple)
    assert "LLAMA_ARG_PORT=1" in done[1]
    assert "LD_PRELOAD" not in done[1]
    assert "\n/\n" in done[1], "its current folder is the root"


def test_a_script_is_not_run(folder: Path) -> None:
    script = folder / "llama-server"
    script.write_text("#!/bin/sh\nrm -rf everything\n")
    script.chmod(0o755)
    refused(script, "it is a script")


def test_what_others_may_write_is_not_run(folder: Path) -> None:
    path = program(folder)
    path.chmod(0o757)
    refused(path, "others than root and you may write .*llama-server")
    path.chmod(0o755)
    folder.chmod(0o777)
    refused(path, "others than root and you may write")
    folder.chmod(0o1777)
    refused(path, "others than root and you may write")  # a stranger could add a libggml-*.so that it loads


@pytest.mark.parametrize(("mode", "safe"), [(0o1777, True), (0o777, False)])
def test_below_a_folder_that_everyone_may_write_it_may_run_only_if_that_is_sticky(folder: Path, mode: int, *, safe: bool) -> None:
    own = folder / "own"
    own.mkdir()
    path = program(own)
    (folder / "link").symlink_to("own")
    folder.chmod(mode)
    for way in (path, folder / "link" / path.name):
        if safe:
            open_program(way, {}).__exit__(None, None, None)
        else:
            refused(way, f"others than root and you may write {folder}$")


@pytest.mark.parametrize(("mode", "safe"), [(0o1775, True), (0o775, False)])
def test_below_a_folder_that_a_group_may_write_it_may_run_only_if_that_is_sticky(folder: Path, mode: int, *, safe: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    own = folder / "own"
    own.mkdir()
    path = program(own)
    os.chown(folder, 0, STRANGER)
    folder.chmod(mode)
    if safe:
        open_program(path, {}).__exit__(None, None, None)
    else:
        refused(path, f"others than root and you may write {folder}$")


def test_what_a_stranger_put_into_a_sticky_folder_is_not_run(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    theirs = folder / "theirs"
    theirs.mkdir()
    path = program(theirs)
    good = folder / "own"
    good.mkdir()
    program(good)
    (folder / "link").symlink_to("own")
    folder.chmod(0o1777)
    # The program is ours, its folder is not; then the link to a folder of ours is not.
    os.chown(theirs, STRANGER, STRANGER)
    refused(path, f"theirs belongs to another user .{STRANGER}")
    os.chown(folder / "link", STRANGER, STRANGER, follow_symlinks=False)
    refused(folder / "link" / path.name, f"link belongs to another user .{STRANGER}")
    # The sticky folder is a stranger's: its owner may rename what is in it.
    os.chown(folder, STRANGER, STRANGER)
    refused(good / path.name, f"{folder.name} belongs to another user .{STRANGER}")


def test_a_sticky_folder_is_no_search_path(folder: Path) -> None:
    folder.chmod(0o1777)
    (folder / "libs").mkdir()
    assert environment({"LD_LIBRARY_PATH": f"{folder}:{folder}/libs"})[0]["LD_LIBRARY_PATH"] == f"{folder}/libs"


def test_a_library_beside_it_that_others_may_write_is_code_of_others(folder: Path) -> None:
    path = program(folder)
    (folder / "libggml-cpu-x.so").write_bytes(b"")
    (folder / "libggml-cpu-x.so").chmod(0o666)
    refused(path, "others than root and you may write .*libggml-cpu-x.so")


def test_a_library_that_its_loader_takes_from_a_folder_of_others_is_code_of_others(folder: Path) -> None:
    if shutil.which("patchelf") is None and shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    open_to_all = folder / "open"
    open_to_all.mkdir()
    (folder / "x.c").write_text("int x(void) { return 0; }\n")
    (folder / "m.c").write_text("int x(void);\nint main(void) { return x(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", open_to_all / "libx.so", folder / "x.c"], check=True)
    subprocess.run(
        ["cc", "-o", folder / "llama-server", folder / "m.c", f"-L{open_to_all}", "-lx", f"-Wl,-rpath,{open_to_all}"], check=True
    )
    open_to_all.chmod(0o777)
    refused(folder / "llama-server", "others than root and you may write .*open")
    open_to_all.chmod(0o755)
    open_program(folder / "llama-server", {}).__exit__(None, None, None)


def test_a_link_or_a_folder_on_the_way_that_belongs_to_another_user_is_not_followed(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    bait = folder / "bait"
    bait.mkdir()
    (bait / "llama-server").symlink_to("/bin/bash")
    model = bait / "model.gguf"
    model.write_text(f"touch {folder}/pwned\n")
    # The link's own folder is the stranger's, what it leads to is root's.
    os.chown(bait, STRANGER, STRANGER)
    command = from_words([str(bait / "llama-server"), str(model)], os.environ)
    build = ask(command)
    assert isinstance(build.flags, Unknown)
    assert f"belongs to another user ({STRANGER})" in build.flags.why
    assert "--ask-build" in build.flags.why
    assert not (folder / "pwned").exists()
    # The folder is ours and the link is the stranger's.
    os.chown(bait, 0, 0)
    os.chown(bait / "llama-server", STRANGER, STRANGER, follow_symlinks=False)
    refused(bait / "llama-server", "belongs to another user")


def test_the_whole_preflight_as_root_does_not_run_a_strangers_script(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(folder, STRANGER, STRANGER)
    (folder / "llama-server").symlink_to("/bin/bash")
    (folder / "model.gguf").write_text(f"#!/bin/bash\nid > {folder}/pwned\n")
    for more in ([], ["-m"]):
        words = [str(folder / "llama-server"), *more, str(folder / "model.gguf")]
        done = subprocess.run(
            [sys.executable, "-m", "sentinel", "preflight", "--", *words], capture_output=True, text=True, check=False, cwd=REPO
        )
        assert not (folder / "pwned").exists()
        assert "was not asked" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "kept", "said"),
    [
        (":/usr/lib", "/usr/lib", "current folder"),
        ("/usr/lib:", "/usr/lib", "current folder"),
        ("lib:/usr/lib", "/usr/lib", "current folder"),
        ("/tmp:/usr/lib", "/usr/lib", "others than root and you may write /tmp"),
        ("/nonexistent-folder", None, "cannot be opened"),
    ],
)
def test_of_search_paths_only_safe_folders_are_passed_on(value: str, kept: str | None, said: str) -> None:
    for name in ("LD_LIBRARY_PATH", "GGML_BACKEND_PATH", "VK_ICD_FILENAMES"):
        passed, dropped = environment({name: value})
        assert passed.get(name) == kept
        assert len(dropped) == 1
        assert said in dropped[0]


def test_variables_that_load_code_are_not_passed_on() -> None:
    names = ("LD_PRELOAD", "LD_AUDIT", "CUDA_INJECTION64_PATH", "HSA_TOOLS_LIB", "HOME", "PATH", "PYTHONPATH", "VK_LAYER_PATH")
    passed, _ = environment(dict.fromkeys(names, "/tmp/evil") | {"HIP_VISIBLE_DEVICES": "1"})
    assert "/tmp/evil" not in passed.values()
    assert passed["HIP_VISIBLE_DEVICES"] == "1"


def test_what_it_left_running_is_ended_and_its_output_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_program, "_PATIENCE", 1.0)
    mark = folder / "mark"
    with open_program(program(folder), {}) as opened:
        done = run(opened, ["sh", "-c", f"(sleep 2; touch {mark}) & yes | head -c 3000000"])
        assert isinstance(done, tuple)
        assert len(done[1]) == 1 << 20
        hung = run(opened, ["sleep", "50"])
    assert isinstance(hung, Unknown)
    assert "no answer within 1 s" in hung.why
    left = subprocess.run(["pgrep", "-f", f"touch {mark}"], capture_output=True, check=False)
    assert left.returncode == 1


def test_as_root_it_has_no_network(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with open_program(program(folder), {}) as opened:
        done = run(opened, ["readlink", "/proc/self/ns/net"])
    assert isinstance(done, tuple)
    assert done[1].strip() != str(Path("/proc/self/ns/net").readlink())


def test_what_was_judged_is_what_runs(folder: Path) -> None:
    path = program(folder)
    with open_program(path, {}) as opened:
        path.unlink()
        path.write_text("#!/bin/sh\necho replaced\n")
        path.chmod(0o755)
        done = run(opened, ["echo", "judged"])
    assert done == (0, "judged\n")
    assert isinstance(opened, Program)


def test_no_command_of_ours_is_looked_up_in_the_current_folder(folder: Path) -> None:
    busctl = folder / "busctl"
    busctl.write_text(f"#!/bin/sh\ntouch {folder}/pwned\n")
    busctl.chmod(0o755)
    env = {**os.environ, "PATH": f":.:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    subprocess.run(
        [sys.executable, "-m", "sentinel", "preflight", "--unit", "x"], cwd=folder, env=env, check=False, capture_output=True
    )
    assert not (folder / "pwned").exists()
