"""Slow, greedy and broken clients: each is told so, none of them keeps others from being served."""

from __future__ import annotations

import contextlib
import socket
import time
from concurrent.futures import Future

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.serve.web.settings import Limits
from tests.serve.stage import Script
from tests.serve.web.visit import heard, until, visit

QUICK = Limits(
    header_s=0.3,
    body_s=0.3,
    idle_s=1,
    write_s=0.3,
    connections=12,
    client_connections=12,
    json_bytes=1000,
    picture_bytes=20_000,
    pictures=2,
    wait_s=1.0,
)
POST = b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def quick():
    with visit(limits=QUICK) as found:
        yield found


@pytest.fixture(autouse=True)
def still_served(quick):
    """Whatever a test did, the next client gets its answer."""
    yield
    assert until(lambda: quick.client.get("/healthz").status_code == 200)


def dripped(connection: socket.socket, first: bytes, drip: bytes) -> bytes:
    """What comes back from a server that is sent something, and then a little every moment, for as
    long as it listens."""
    connection.sendall(first)
    connection.settimeout(0.05)
    answer, end_s = b"", time.monotonic() + 10.0
    while time.monotonic() < end_s:
        with contextlib.suppress(TimeoutError):
            if not (part := connection.recv(65536)):
                return answer
            answer += part
        try:
            connection.sendall(drip)
        except OSError:
            return answer
    raise AssertionError("it would have listened for ever")


def test_headers_that_trickle_in_are_not_waited_for(quick):
    with quick.connect() as slow:
        answer = dripped(slow, GET, b"X-A: b\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"kind":"request"' in answer


def test_a_request_line_that_trickles_in_is_not_waited_for(quick):
    with quick.connect() as slow:
        assert dripped(slow, b"G", b"E").startswith(b"HTTP/1.1 408 ")


def test_a_device_that_takes_its_time_is_waited_for_all_the_same(quick, monkeypatch):
    monkeypatch.setattr(quick.stage, "adapt", Future)
    assert QUICK.wait_s > QUICK.header_s + QUICK.body_s
    assert quick.client.post("/api/v1/adapt").status_code == 202


def test_the_next_request_of_a_connection_may_not_trickle_in_either(quick):
    with quick.connect() as slow:
        slow.sendall(GET + b"\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
        assert b" 408 " in dripped(slow, GET, b"X-A: b\r\n")


def test_who_never_asks_is_hung_up_on_without_a_word(quick):
    with quick.connect() as silent:
        assert heard(silent) == b""


@pytest.mark.parametrize("header", [b"Content-Length: 900", b"Transfer-Encoding: chunked"])
def test_a_body_that_trickles_in_is_not_waited_for(quick, header):
    drip = b" " if header.startswith(b"C") else b"1\r\n \r\n"
    with quick.connect() as slow:
        answer = dripped(slow, POST + header + b"\r\n\r\n", drip)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_reads_does_not_keep_a_connection_open(quick):
    with quick.connect() as slow:
        answer = dripped(slow, GET + b"Content-Length: 900\r\n\r\n", b" ")
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_that_is_announced_too_long_is_refused_before_it_comes(quick):
    with quick.connect() as greedy:
        greedy.sendall(POST + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        answer = heard(greedy)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_a_body_that_grows_too_long_is_refused(quick):
    chunk = b"100\r\n" + b" " * 256 + b"\r\n"
    with quick.connect() as greedy:
        answer = dripped(greedy, POST + b"Transfer-Encoding: chunked\r\n\r\n", chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_who_sends_all_of_a_long_body_hears_why_it_was_refused(quick):
    for size in (1001, 10**6, 2 * 10**7):
        headers = {"Content-Type": "application/json"}
        answer = quick.client.post("/api/v1/rollback", content=b" " * size, headers=headers)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "request")


@pytest.mark.parametrize("length", ["99999999999999999999", "9" * 400])
def test_no_length_is_too_absurd(quick, length):
    with quick.connect() as absurd:
        absurd.sendall(POST + f"Content-Length: {length}\r\n\r\n".encode())
        assert heard(absurd).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


def test_headers_too_long_for_any_purpose_are_refused(quick):
    with quick.connect() as greedy:
        greedy.sendall(GET + b"X-A: " + b"a" * 20_000)
        assert heard(greedy).startswith(b"HTTP/1.1 400 ")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(min_size=1, max_size=300))
def test_no_noise_is_answered_with_more_than_a_refusal(quick, noise):
    with quick.connect() as odd, contextlib.suppress(ConnectionError):
        odd.sendall(noise + b"\r\n\r\n")
        odd.shutdown(socket.SHUT_WR)
        assert heard(odd)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 408")


def test_noise_in_the_middle_of_a_body_ends_the_request(quick):
    with quick.connect() as odd:
        odd.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n")
        answer = heard(odd)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 4") == 1


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(quick):
    for sent in (b"GE", GET, POST + b"Content-Length: 9\r\n\r\n{", GET + b"\r\n"):
        with quick.connect() as rude:
            rude.sendall(sent)


def test_more_connections_than_there_may_be_are_sent_away(quick):
    listeners = [quick.connect() for _ in range(QUICK.connections)]
    try:
        for connection in listeners:
            connection.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert until(lambda: quick.server.connections == QUICK.connections)
        for _ in range(4):
            with quick.connect() as more:
                more.sendall(GET + b"\r\n")
                assert heard(more).startswith(b"HTTP/1.1 503 ")
    finally:
        for connection in listeners:
            connection.close()


def test_who_asks_and_never_listens_is_cut_off():
    script = Script(classes=tuple(f"class {number}" for number in range(1000)))
    with visit(script, limits=QUICK) as found, found.connect() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /api/v1/points HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
        assert until(lambda: found.server.connections == 1)
        assert until(lambda: found.server.connections == 0)
