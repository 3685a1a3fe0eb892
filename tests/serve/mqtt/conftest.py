"""A broker for every test, and a device on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sel_edge.serve.mqtt import bridge
from sel_edge.serve.mqtt.bridge import Bridge
from sel_edge.serve.mqtt.settings import MqttSettings
from tests.serve.mqtt.broker import Listener, Mosquitto
from tests.serve.stage import Stage, staged

Bridges = Callable[..., Bridge]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds that are for a network; the one test of the pace sets its own."""
    monkeypatch.setattr(bridge, "PERIOD_S", 0.1)
    monkeypatch.setattr(bridge, "SETTLING_S", 0.3)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    listener = Listener(broker.port)
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


@pytest.fixture
def bridged(broker: Mosquitto, stage: Stage) -> Iterator[Bridges]:
    """Starts a bridge of the staged device, or another one; all are stopped after the test."""
    with ExitStack() as stack:

        def start(device: Stage = stage, name: str = "pi") -> Bridge:
            settings = MqttSettings(f"mqtt://127.0.0.1:{broker.port}", None, name)
            started = Bridge(device, settings)
            started.start()
            stack.callback(started.stop)
            return started

        yield start
