"""Docker's driver `local`: frames of protocol buffers, read as they grow, within bounds."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from sentinel.model.entity import Entity
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.docker_local import DockerLocal

ME = Entity("server", "t1")


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def frame(line: bytes, *, partial: bool = False) -> bytes:
    """As moby's api/types/plugins/logdriver/entry.proto has it: source, time_nano, line, partial."""
    entry = b"\x0a" + varint(6) + b"stderr" + b"\x10" + varint(1764400000000000000) + b"\x1a" + varint(len(line)) + line
    entry += b"\x20\x01" if partial else b""
    return struct.pack(">I", len(entry)) + entry + struct.pack(">I", len(entry))


def read(log: DockerLocal) -> bytes:
    out = b""
    while True:
        out += b"".join(lines.data for lines in log.poll(1.0))
        if not log.more:
            return out


def test_lines_come_as_they_are_written_and_parts_of_a_line_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(frame(b"srv  a") + frame(b"one line ", partial=True) + frame(b"in two parts"))
    log = DockerLocal(path, ME)
    assert read(log) == b"srv  a\none line in two parts\n"
    with path.open("ab") as stream:
        whole = frame(b"and one more")
        stream.write(whole[:9])
        stream.flush()
        assert read(log) == b""
        stream.write(whole[9:])
    assert read(log) == b"and one more\n"


def test_reading_resumes_where_it_ended_and_goes_over_to_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(frame(b"old"))
    log = DockerLocal(path, ME)
    assert read(log) == b"old\n"
    again = DockerLocal(path, ME, start=log.position())
    assert read(again) == b""
    path.rename(tmp_path / "container.log.1")
    path.write_bytes(frame(b"new"))
    assert read(again) == b"new\n"


def test_a_line_of_fifty_thousand_frames_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(b"".join(frame(b"line %d" % n) for n in range(50_000)))
    assert read(DockerLocal(path, ME)).count(b"\n") == 50_000


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff" + b"x" * 100, frame(b"a")[:-4] + b"\0\0\0\1", b"this is no such file, it is text\n" * 9]
)
def test_what_is_no_such_file_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(data)
    with pytest.raises(SourceFault, match=r"driver local|damaged"):
        read(DockerLocal(path, ME))


def test_any_bytes_within_a_frame_end_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    entry = os.urandom(5000)
    path.write_bytes((struct.pack(">I", len(entry)) + entry + struct.pack(">I", len(entry))) * 20)
    read(DockerLocal(path, ME))


def test_a_file_that_is_truncated_while_its_frames_are_counted_back_is_read_from_there(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(frame(b"a") * 3)
    log = DockerLocal(path, ME)
    assert read(log) == b"a\na\na\n"
    size = path.stat().st_size
    path.write_bytes(b"")
    assert log._frame_before(size, 4) == size
