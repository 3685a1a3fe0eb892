"""The server as the daemon has it: begun, ended, and what keeps it from beginning."""

from __future__ import annotations

import socket
import sqlite3
import threading
from concurrent.futures import Future
from contextlib import suppress

import httpx
import pytest
import uvicorn

from sel_edge.core.errors import ConfigError
from sel_edge.runtime.samples import SAMPLES_FILE
from sel_edge.serve.web.server import Server
from sel_edge.serve.web.settings import Limits, WebSettings
from tests.serve.stage import Script, staged
from tests.serve.web.visit import PATIENCE_S, Visit, until, visit


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("sel-edge")}


def test_a_port_that_is_taken_is_said_so():
    port_taken = r"port \d+ cannot be listened on: Address already in use\."
    with visit() as found, pytest.raises(ConfigError, match=port_taken):
        Server(found.stage, WebSettings(port=found.server.port)).start()


def test_an_address_of_another_machine_is_said_so():
    with staged() as stage, pytest.raises(ConfigError, match="listened"):
        Server(stage, WebSettings("192.0.2.1", 0, "x" * 16)).start()


@pytest.mark.parametrize(
    ("host", "error", "reason"),
    [
        ("nowhere", socket.gaierror(-2, "Name or service not known"), ": Name or service"),
        ("a" * 64, UnicodeError("label too long"), ": It is no name of a machine"),
    ],
)
def test_a_name_that_is_no_machine_is_said_so(monkeypatch, host, error, reason):
    def look_up(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with staged() as stage, pytest.raises(ConfigError, match=reason):
        Server(stage, WebSettings(host, 0, "x" * 16)).start()


def test_a_defect_that_ends_its_thread_is_seen(monkeypatch):
    async def die(_: uvicorn.Server) -> None:
        return None

    with staged() as stage:
        server = Server(stage, WebSettings(port=0))
        assert not server.is_alive
        server.start()
        assert server.is_alive
        server.stop()
        monkeypatch.setattr(uvicorn.Server, "main_loop", die)
        dying = Server(stage, WebSettings(port=0))
        dying.start()
        assert until(lambda: not dying.is_alive)
        dying.stop()


def test_stopping_closes_the_port_and_ends_every_thread_and_may_be_repeated():
    with visit() as found:
        found.client.get("/api/v1/queue")
        found.server.stop()
        found.server.stop()
        with pytest.raises(httpx.ConnectError):
            found.stranger().get("/healthz")
        assert until(lambda: not threads())
        Server(found.stage, WebSettings(port=found.server.port)).stop()  # never begun


def test_a_server_can_follow_another_on_its_port():
    with visit() as found:
        port = found.server.port
        found.client.get("/healthz")
        found.server.stop()
        second = Server(found.stage, WebSettings(port=port))
        second.start()
        assert found.client.get("/healthz").status_code == 200
        second.stop()


def test_nobody_who_waits_or_dawdles_keeps_the_server_from_stopping(monkeypatch):
    with visit() as found:
        asked = threading.Event()
        monkeypatch.setattr(found.stage, "adapt", lambda: asked.set() or Future())
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(found.client.post("/api/v1/adapt"))
        )
        waiting.start()
        with found.connect() as slow, found.connect() as deaf:
            slow.sendall(b"POST /api/v1/rollback HTTP/1.1\r\nHost: localhost\r\n")
            deaf.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert until(lambda: found.server.connections == 3)
            assert asked.wait(PATIENCE_S)
            found.server.stop()
            assert "sel-edge-web" not in threads()
        waiting.join(PATIENCE_S)
        assert [answer.status_code for answer in answers] == [202]
        assert answers[0].headers["Connection"] == "close"


def test_it_has_not_stopped_while_a_thread_of_it_works():
    """A label waits for another process: whoever stops the server is not told that it is over."""
    with visit() as found:
        (frame, *_) = found.client.get("/api/v1/queue").json()["frames"]
        store = sqlite3.connect(found.stage.state / SAMPLES_FILE, isolation_level=None)
        store.execute("BEGIN IMMEDIATE")
        path = f"/api/v1/queue/{frame['id']}"
        asking = threading.Thread(target=answered, args=(found, path, {"label": "cat"}))
        asking.start()
        assert until(lambda: found.server._site.workshop._left < Limits().work)
        stopping = threading.Thread(target=found.server.stop)
        stopping.start()
        assert until(lambda: "sel-edge-web" not in threads())
        stopping.join(0.5)
        assert stopping.is_alive()
        store.execute("ROLLBACK")
        store.close()
        stopping.join(PATIENCE_S)
        asking.join(PATIENCE_S)
        assert not any("http" in name for name in threads())


def answered(found: Visit, path: str, body: dict[str, str]) -> None:
    with suppress(httpx.HTTPError):  # the server ends meanwhile
        found.client.post(path, json=body)


def test_it_listens_on_ipv6_too():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with staged() as stage:
        server = Server(stage, WebSettings("::1", 0))
        try:
            server.start()
        except ConfigError:
            pytest.skip("this machine has no IPv6 loopback")
        try:
            assert httpx.get(f"http://[::1]:{server.port}/healthz").status_code == 200
        finally:
            server.stop()


def test_many_at_once_are_all_answered_and_none_twice():
    with visit(Script(source="http")) as found:
        before = found.stage.snapshot().events
        results: list[int] = []

        def ask() -> None:
            with found.stranger() as client:
                results.extend(
                    client.get(path).status_code
                    for path in ("/", "/api/v1/status", "/api/v1/queue", "/api/v1/view") * 5
                )
                results.append(client.post("/api/v1/reload").status_code)

        visitors = [threading.Thread(target=ask) for _ in range(8)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        assert results == [200] * (8 * 21)
        assert len(found.stage.snapshot().events) == len(before) + 8
