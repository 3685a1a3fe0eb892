"""A device and a broker: tells what changes, at most once a second, and takes one command."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from threading import Event, Thread
from typing import Any

from sel_edge.core.errors import SelEdgeError
from sel_edge.core.files import canonical_json
from sel_edge.report.wording import printable
from sel_edge.serve.device import Device
from sel_edge.serve.mqtt.connection import Connection
from sel_edge.serve.mqtt.discovery import (
    Component,
    components,
    described_before,
    description,
)
from sel_edge.serve.mqtt.settings import MqttSettings
from sel_edge.serve.mqtt.states import states
from sel_edge.serve.mqtt.topics import BIRTH, BIRTH_TOPIC, PRESS, Topics, identifier
from sel_edge.serve.snapshot import Snapshot

PERIOD_S = 1.0
"""Between two looks at the device, so between two messages of a topic."""
SETTLING_S = 1.0
"""How long a broker may take to bring what was described before."""
_MOST_SENTENCES = 20


class Bridge:
    """Tells a broker about a device until it is stopped. A broker that is away is tried again and
    again; nobody waits for it.

    Args:
        device: that is told about.
        settings: of the broker.
        tell: is told whenever the connection is another one, a full sentence; from any thread.
    """

    def __init__(
        self, device: Device, settings: MqttSettings, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._device, self._name = device, settings.name
        self._topics = topics = Topics(settings.broker.prefix, identifier(settings.name))
        self._connection = Connection(
            settings,
            topics.unique,
            (topics.availability, b"offline"),
            (topics.adapt, BIRTH_TOPIC, topics.discovery),
            self._begin,
            self._take,
            tell,
        )
        self._over = Event()
        self._thread = Thread(target=self._live, name="mqtt", daemon=True)
        self._sent: dict[str, bytes] = {}
        self._before: dict[str, str] = {}
        self._settled_s = 0.0
        self._adapting: Future[tuple[str, ...]] | None = None
        self._adapted: dict[str, bytes] = {}

    @property
    def is_alive(self) -> bool:
        """Whether the device is looked at, be the broker there or not."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin; returns at once, whether the broker is there or not.

        Raises:
            MissingDependencyError: paho-mqtt is not installed.
        """
        self._connection.open()
        self._thread.start()

    def stop(self) -> None:
        """Say that the device is offline, and end; takes at most three seconds."""
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _begin(self) -> None:
        """There is a new connection; the broker may have forgotten everything."""
        self._settled_s = time.monotonic() + SETTLING_S
        self._sent = {}

    def _take(self, topic: str, content: bytes, is_retained: bool) -> None:
        """A message came in, from anybody."""
        if topic == self._topics.discovery and is_retained:  # our own come back as not retained
            self._before = {**self._before, **described_before(content)}
        elif topic == BIRTH_TOPIC and content == BIRTH:
            self._sent = {}
        elif topic == self._topics.adapt and content == PRESS and self._adapting is None:
            # A retained command would be carried out at every connection.
            self._adapting = None if is_retained else self._device.adapt()

    def _live(self) -> None:
        version = 0
        while not self._over.is_set():
            snapshot = self._device.newer(version, PERIOD_S / 2)
            version = snapshot.version
            if self._connection.is_open and time.monotonic() >= self._settled_s:
                self._tell_all(snapshot)
            self._over.wait(PERIOD_S)

    def _tell_all(self, snapshot: Snapshot) -> None:
        sent = self._sent  # another one from the next connection on
        described = components(self._topics, snapshot)
        self._describe(sent, snapshot, described)
        self._note_result()
        said = {
            **states(self._topics, snapshot),
            **self._adapted,
            self._topics.availability: b"online",
        }
        for topic, content in said.items():
            self._send(sent, topic, content)

    def _describe(
        self, sent: dict[str, bytes], snapshot: Snapshot, described: Mapping[str, Component]
    ) -> None:
        """Describe the entities, and first those that are gone, so that they are removed."""
        gone = {
            key: {"platform": platform}
            for key, platform in self._before.items()
            if key not in described
        }
        topic, model = self._topics.discovery, snapshot.model
        if gone:
            content = description(self._topics, self._name, model, {**described, **gone})
            if not self._send(sent, topic, content):
                return
        if self._send(sent, topic, description(self._topics, self._name, model, described)):
            self._before = {key: component["platform"] for key, component in described.items()}

    def _send(self, sent: dict[str, bytes], topic: str, content: bytes) -> bool:
        """Send what is new; whether the broker has it, or will."""
        if sent.get(topic) != content:
            if not self._connection.publish(topic, content):
                return False
            sent[topic] = content
        return True

    def _note_result(self) -> None:
        """Keep what came of a command, once it is known."""
        future = self._adapting
        if future is None or not future.done():
            return
        self._adapting = None
        try:
            sentences = future.result()[:_MOST_SENTENCES]
            said: Mapping[str, Any] = {
                "said": [printable(sentence, 500) for sentence in sentences],
                "error": "",
            }
        except (SelEdgeError, CancelledError) as error:
            said = {"said": [], "error": printable(str(error), 500) or "it was cancelled"}
        self._adapted = {self._topics.adapted: canonical_json(said)}
