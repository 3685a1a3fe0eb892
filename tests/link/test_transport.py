"""Lines: they wait no longer than they are told, and come back when the other side does."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sel_edge.core.errors import LinkError
from sel_edge.link.transport import LineTransport, loopback
from tools.mcu_bench.line import Faults, Line

PATIENCE_S = 5.0


@contextmanager
def listening(port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", port), reuse_port=False) as door:
        yield door


def url(door: socket.socket) -> str:
    return f"socket://127.0.0.1:{door.getsockname()[1]}"


def say(door: socket.socket, data: bytes) -> None:
    with closing(door.accept()[0]) as other:
        other.sendall(data)


def read_all(line: LineTransport, size: int) -> bytes:
    """So many bytes, unless they do not come."""
    data, until = b"", time.monotonic() + PATIENCE_S
    while len(data) < size and time.monotonic() < until:
        data += line.read(0.1)
    return data


@pytest.mark.parametrize(
    "name", ["no/such/port", "socket://127.0.0.1:1", "socket://", "socket://host:x", "http://a"]
)
def test_ports_that_cannot_be_opened(name: str) -> None:
    with pytest.raises(LinkError, match="cannot be opened"):
        LineTransport(name)


def test_a_file_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(LinkError, match="cannot be opened"):
        LineTransport(str(path))


def test_a_pty_carries_every_byte_both_ways() -> None:
    master, slave = pty.openpty()
    try:
        with closing(LineTransport(os.ttyname(slave))) as line:
            content = bytes(range(256))
            line.write(content, 1.0)
            assert os.read(master, 1024) == content
            os.write(master, content)
            assert read_all(line, len(content)) == content
    finally:
        os.close(master)
        os.close(slave)


def test_a_port_has_one_user_at_a_time() -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        with closing(LineTransport(name)), pytest.raises(LinkError, match="cannot be opened"):
            LineTransport(name)
    finally:
        os.close(master)
        os.close(slave)


def test_a_socket_waits_as_long_as_it_is_told() -> None:
    with listening() as door, closing(LineTransport(url(door))) as line:
        start = time.monotonic()
        assert line.read(0.1) == b""
        assert 0.09 < time.monotonic() - start < PATIENCE_S


def test_a_line_that_takes_nothing_gives_up_in_time_and_says_so() -> None:
    with listening() as door, closing(LineTransport(url(door))) as line:
        line.write(bytes(50_000_000), 0.1)
        assert line.trouble == "it takes no more bytes"


def test_a_socket_that_breaks_comes_back() -> None:
    with listening() as door:
        address = url(door)
        line = LineTransport(address)
        with closing(door.accept()[0]) as other:
            other.sendall(b"before")
            assert read_all(line, 6) == b"before"
        assert line.read(0.5) == b""
        assert "closed" in line.trouble and line.fileno() == -1
    for _ in range(3):
        assert line.read(0.01) == b""
        line.write(b"lost", 0.01)
    assert "refused" in line.trouble
    with listening(int(address.rpartition(":")[2])) as door:
        answering = threading.Thread(target=say, args=(door, b"after"))
        answering.start()
        assert read_all(line, 5) == b"after" and line.trouble == ""
        answering.join()
        line.close()


def test_memory_carries_both_ways() -> None:
    here, there = loopback()
    here.write(b"to", 0.0)
    there.write(b"fro", 0.0)
    assert (there.read(0.0), here.read(0.0), here.read(0.01)) == (b"to", b"fro", b"")


@contextmanager
def echo() -> Iterator[str]:
    """A port that sends back what it gets."""

    def serve(door: socket.socket) -> None:
        with closing(door.accept()[0]) as other:
            while data := other.recv(4096):
                other.sendall(data)

    with listening() as door:
        server = threading.Thread(target=serve, args=(door,))
        server.start()
        yield url(door)
        server.join()


def test_a_slow_line_takes_ten_bits_a_byte() -> None:
    content, baud = bytes(range(256)) * 9, 115_200
    with echo() as far, Line(far, baud) as slow, closing(LineTransport(slow.port)) as line:
        start = time.monotonic()
        line.write(content, 1.0)
        assert read_all(line, len(content)) == content
        assert time.monotonic() - start >= len(content) * 10 / baud
        assert slow.carried == (len(content), len(content))


@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "corrupt", "stall"])
def test_every_fault_of_a_bad_line_does_what_it_says(kind: str) -> None:
    content = bytes(range(256)) * 8
    faults = Faults(**{kind: 0.01}, stall_s=0.001)
    with (
        echo() as far,
        Line(far, 2_000_000, faults, seed=1) as bad,
        closing(LineTransport(bad.port)) as line,
    ):
        line.write(content, 1.0)
        arrived = b""
        while data := line.read(0.5):
            arrived += data
    longer = {"drop": -1, "duplicate": 1}.get(kind, 0)
    assert (len(arrived) > len(content)) - (len(arrived) < len(content)) == longer
    assert (arrived == content) == (kind == "stall")
    assert (sorted(arrived) == sorted(content)) == (kind in ("reorder", "stall"))
