"""The last answer of a connection: it is heard, and it says that it is the last."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from sel_edge.serve.web import transport
from tests.serve.web.visit import PATIENCE_S, heard, until, visit

BODY = b'{"label":"cat"}'
LABEL = "/api/v1/queue/f1-00000000"
POST = f"POST {LABEL} HTTP/1.1"
LENGTH, LONG = f"Content-Length: {len(BODY)}", "Content-Length: 1000000"
JSON, TEXT = "Content-Type: application/json", "Content-Type: text/plain"
REFUSED = {
    "type": (415, POST, LENGTH, TEXT),
    "chunks": (415, POST, "Transfer-Encoding: chunked", TEXT),
    "origin": (403, POST, LENGTH, JSON, "Origin: http://elsewhere"),
    "size": (413, POST, LONG, JSON),
    "expect": (413, POST, LONG, JSON, "Expect: 100-continue"),
    "body": (400, "POST /api/v1/adapt HTTP/1.1", LENGTH),
    "path": (404, "POST /nowhere HTTP/1.1", LENGTH),
    "method": (405, "PUT /api/v1/adapt HTTP/1.1", LENGTH),
}
"""Status, and the head of a request that is refused before its body has come."""


@pytest.fixture(scope="module")
def device():
    with visit() as found:
        yield found


def head(*lines: str) -> bytes:
    return "\r\n".join([lines[0], "Host: localhost", *lines[1:], "", ""]).encode()


def says_that_it_ends(answer: bytes) -> bool:
    return answer.partition(b"\r\n\r\n")[0].lower().count(b"\r\nconnection: close") == 1


def go_on_sending(connection: socket.socket) -> None:
    """Into a connection that is closed the first part still goes, and is answered by a reset."""
    for _ in range(3):
        connection.sendall(b"1\r\n \r\n")
        time.sleep(0.02)


def late(connection: socket.socket | None) -> Iterator[bytes]:
    """A body that comes when the answer is there already."""
    assert connection is None or select.select([connection], [], [], PATIENCE_S)[0]
    time.sleep(0.01)
    yield BODY


@pytest.mark.parametrize("manner", ["keep-alive", "close"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_before_the_body_is_heard_and_says_that_it_is_the_last(device, case, manner):
    status, *lines = REFUSED[case]
    with device.connect() as client:
        client.sendall(head(*lines, f"Connection: {manner}"))
        answer = heard(client)
        go_on_sending(client)
        assert client.recv(1) == b""
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"}}")
    assert says_that_it_ends(answer)


def test_a_client_of_http_1_0_hears_a_refusal_too(device):
    with device.connect() as client:
        client.sendall(head(f"POST {LABEL} HTTP/1.0", LENGTH, TEXT))
        answer = heard(client)
        go_on_sending(client)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert says_that_it_ends(answer)


def test_a_mistake_of_the_server_is_heard_by_who_still_sends(device, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sel_edge.serve.web.reading.LabelDesk", fail)
    with device.connect() as client:
        client.sendall(head("GET /api/v1/queue HTTP/1.1", LENGTH))
        answer = heard(client)
        go_on_sending(client)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert says_that_it_ends(answer)


def test_a_refusal_after_the_body_lets_the_connection_go_on(device):
    refused = head(POST, LENGTH, TEXT) + BODY
    with device.connect() as client:
        for _ in range(20):
            client.sendall(refused)
            answer = HTTPResponse(client)
            answer.begin()
            assert (answer.status, answer.read()[:8]) == (415, b'{"error"')
            assert not answer.will_close


def test_a_client_that_keeps_its_connection_goes_on_after_a_body_that_came_too_late(device):
    client = HTTPConnection("127.0.0.1", device.server.port, timeout=PATIENCE_S)
    for _ in range(30):
        client.putrequest("POST", LABEL)
        client.putheader("Content-Type", "text/plain")
        client.putheader("Content-Length", str(len(BODY)))
        client.endheaders()
        client.send(b"".join(late(client.sock)))
        refusal = client.getresponse()
        assert (refusal.status, refusal.read()[:8]) == (415, b'{"error"')
        client.request("GET", "/healthz")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"alive":true}')
    client.close()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_pool_of_connections_meets_none_that_has_ended(device, is_late):
    headers = {"Content-Type": "text/plain", "Content-Length": str(len(BODY))}
    for _ in range(40):
        content = late(None) if is_late else BODY
        assert device.client.post(LABEL, content=content, headers=headers).status_code == 415
        assert device.client.get("/healthz").status_code == 200


def test_who_never_stops_sending_is_cut_off(device):
    end_s = time.monotonic() + PATIENCE_S
    with device.connect() as greedy:
        greedy.sendall(head(POST, f"Content-Length: {10**14}"))
        with pytest.raises(OSError, match=r"reset|pipe"):
            while time.monotonic() < end_s:
                greedy.sendall(bytes(65536))


def test_who_does_not_let_go_is_let_go_of_when_the_server_stops(monkeypatch):
    monkeypatch.setattr(transport, "LINGER_S", 60.0)
    with visit() as found, found.connect() as clinging:
        clinging.sendall(head(POST, LENGTH, TEXT))
        assert heard(clinging).startswith(b"HTTP/1.1 415 ")
        found.server.stop()
        assert not found.server.is_alive
        assert until(lambda: found.server.connections == 0)
        with pytest.raises(ConnectionError):
            go_on_sending(clinging)
