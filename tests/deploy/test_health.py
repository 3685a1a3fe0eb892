"""The health window: what a service does in it, second by second, and the verdict."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sel_edge.core.files import canonical_json
from sel_edge.deploy.agent import service
from sel_edge.deploy.agent.health import Window
from sel_edge.deploy.agent.release import parse_release
from tests.deploy.agents import BUNDLE, described

RELEASE = parse_release(canonical_json(described(ready_s=10, watch_s=20)))
GOOD = {
    "status": 200,
    "ready": True,
    "first_answer": True,
    "bundle": BUNDLE,
    "frames": 0,
    "errors": 0,
    "error": "",
}
UNREADY = {**GOOD, "status": 503, "ready": False, "error": "the camera is gone"}


class Service:
    """A service that does what a story says.

    Args:
        story: (second from which on it holds, what /readyz says, what systemd says).
    """

    def __init__(self, *story: tuple[float, dict[str, Any] | None, dict[str, str]]) -> None:
        self._story, self.now_s = story, 0.0

    def verdict(self) -> str:
        return Window(RELEASE, self.show, self.ask, lambda: self.now_s, self.sleep).failure()

    def show(self) -> dict[str, str]:
        return {"ActiveState": "active", "NRestarts": "0", **self._now()[2]}

    def ask(self) -> dict[str, Any] | None:
        answer = self._now()[1]
        return None if answer is None else {**answer, **self._counts(answer)}

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def _now(self) -> tuple[float, dict[str, Any] | None, dict[str, str]]:
        return [part for part in self._story if part[0] <= self.now_s][-1]

    def _counts(self, answer: dict[str, Any]) -> dict[str, int]:
        """`frames` and `errors` of a story are for each second."""
        return {name: int(answer[name] * self.now_s) for name in ("frames", "errors")}


@pytest.mark.parametrize(
    "story",
    [
        [(0, GOOD, {})],
        [(0, None, {"ActiveState": "activating"}), (9, GOOD, {})],
        [(0, None, {}), (3, UNREADY, {}), (6, {**GOOD, "frames": 30}, {})],
        # A port that is free only now costs restarts.
        [(0, None, {"NRestarts": "2"}), (5, GOOD, {"NRestarts": "2"})],
        # A camera that stutters.
        [(0, GOOD, {}), (5, UNREADY, {}), (9, GOOD, {})],
        [(0, GOOD, {}), (18, UNREADY, {}), (22, GOOD, {})],
        [(0, {**GOOD, "frames": 100, "errors": 4}, {})],
        [(0, {**GOOD, "frames": 0, "errors": 0.15}, {})],
    ],
)
def test_what_works_is_kept(story: Any) -> None:
    assert Service(*story).verdict() == ""


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ([(0, None, {})], "not ready within 10 s; /readyz says nothing"),
        ([(0, UNREADY, {})], "the camera is gone"),
        ([(0, {**GOOD, "first_answer": False}, {})], "not ready within 10 s"),
        # Another program, or the release before, answers at the port.
        ([(0, {**GOOD, "bundle": "a" * 64}, {})], "not ready within 10 s"),
        ([(0, {**GOOD, "status": 503}, {})], "not ready within 10 s"),
        ([(0, {**GOOD, "ready": 1}, {})], "not ready within 10 s"),
        ([(0, None, {"ActiveState": "failed", "Result": "oom-kill"})], "oom-kill"),
        ([(0, None, {"NRestarts": "3", "ExecMainStatus": "7"})], "exit status 7"),
        ([(0, GOOD, {}), (4, GOOD, {"NRestarts": "1"})], "ended after it was ready"),
        ([(0, GOOD, {}), (4, None, {"ActiveState": "failed"})], "ended after it was ready"),
        ([(0, GOOD, {}), (4, UNREADY, {})], "no longer ready"),
        ([(0, GOOD, {}), (4, None, {})], "no longer ready"),
        ([(0, GOOD, {}), (18, UNREADY, {})], "no longer ready"),
        ([(0, {**GOOD, "frames": 10, "errors": 10}, {})], "frames ended in an error"),
        ([(0, {**GOOD, "errors": 1}, {})], "frames ended in an error"),
    ],
)
def test_what_does_not_work_is_told(story: Any, words: str) -> None:
    assert words in Service(*story).verdict()


def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SLOWEST_ANSWER_S", 0.2)
    n_pieces, sent = 1000, 0
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.ask_ready, server.getsockname()[1])
        line, _ = server.accept()
        with line:
            for sent in range(n_pieces):
                try:
                    line.sendall(b"HTTP/1.1 200 OK\r\n" if sent == 0 else b"A: b\r\n")
                except OSError:
                    break
                if asked.done():
                    break
                time.sleep(0.02)
        assert asked.result() is None
    assert sent < 90  # a hundred lines are more than http.client takes
