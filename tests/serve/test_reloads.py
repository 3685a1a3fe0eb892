"""Reloads that are asked for while another is under way."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from sel_edge.serve.daemon import Daemon
from sel_edge.serve.live import LiveDevice
from sel_edge.serve.sources.http import HttpSource
from tests.runtime.conftest import Network, build_bundle
from tests.serve.devices import WAIT_S, settings_for


def test_a_hangup_during_a_reload_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the link leads to may have changed since the first one looked."""
    bundle = build_bundle(tmp_path / "bundle", Network(), held_out=False)
    device = LiveDevice(settings_for(bundle.path, tmp_path / "state"), HttpSource())
    asked: list[Future[str]] = []
    came = threading.Semaphore(0)

    def reload() -> Future[str]:
        asked.append(Future())
        came.release()
        return asked[-1]

    monkeypatch.setattr(device, "reload", reload)
    are_heard: list[bool] = []

    def hang_up_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            are_heard.append(came.acquire(timeout=5))
        for one in asked:
            one.set_result(device.snapshot().bundle)
        os.kill(os.getpid(), signal.SIGTERM)

    people = threading.Thread(target=hang_up_twice)

    def begin() -> str:
        people.start()
        return "ready"

    said: list[str] = []
    assert Daemon(device, (), said.append).run(begin)
    people.join(WAIT_S)
    assert are_heard == [True, True] and said[0] == "ready"
