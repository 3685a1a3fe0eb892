"""A connection to a broker that comes back by itself. All that is known of paho-mqtt is here."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from sel_edge.core.errors import MissingDependencyError
from sel_edge.report.wording import printable
from sel_edge.serve.mqtt.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

KEEP_ALIVE_S = 30
"""Without a word for one and a half of these, a broker gives a device up."""
LONGEST_PAUSE_S = 60
_CONNECT_TIMEOUT_S = 5.0
_CLOSING_S = 1.0
_MOST_WAITING = 50
"""Messages under way to a broker that does not read."""
_LARGEST_PAYLOAD = 2**20
_QOS = 1

Message = tuple[str, bytes]
"""A topic and what is said there."""


class Connection:
    """To one broker. What is called back is called in a thread of its own, and must not block.

    Args:
        settings: of the broker.
        client_id: the same at every start: a broker then ends an old connection, and says its
            will, before it begins the new one.
        will: what the broker says, and keeps, once it hears nothing any more; also said at the end.
        subscriptions: topics, subscribed to at every connection.
        begin: is called at every connection.
        take: is called with the topic, the content and whether it was retained, of any message.
        tell: is told how it goes, a full sentence, whenever that changes.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        will: Message,
        subscriptions: tuple[str, ...],
        begin: Callable[[], None],
        take: Callable[[str, bytes, bool], None],
        tell: Callable[[str], None],
    ) -> None:
        self._settings, self._client_id, self._will = settings, client_id, will
        self._subscriptions = subscriptions
        self._begin, self._take, self._tell = begin, take, tell
        self._client: Client | None = None
        self._said = ""
        self.is_open = False

    def open(self) -> None:
        """Begin to connect, in the background.

        Raises:
            MissingDependencyError: paho-mqtt is not installed.
        """
        self._client = client = self._new_client()
        broker = self._settings.broker
        client.connect_async(broker.host, broker.port, KEEP_ALIVE_S)
        client.loop_start()

    def close(self) -> None:
        """Say the will and disconnect; a broker that does not take it is left within seconds."""
        client = self._client
        if client is None:
            return
        if self.is_open:
            said = client.publish(*self._will, qos=_QOS, retain=True)
            with suppress(RuntimeError, ValueError):  # of messages that could not be sent
                said.wait_for_publish(_CLOSING_S)
        client.disconnect()
        # Its own thread may hang in a connection attempt, or in a name server's answer.
        end = Thread(target=client.loop_stop, daemon=True)
        end.start()
        end.join(_CLOSING_S)

    def publish(self, topic: str, content: bytes) -> bool:
        """Have the broker keep a message; whether it was sent, or will be."""
        if self._client is None or not self.is_open:
            return False
        return self._client.publish(topic, content, qos=_QOS, retain=True).rc == 0

    def _new_client(self) -> Client:
        paho = _import_paho()
        settings = self._settings
        client: Client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=self._client_id)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.reconnect_delay_set(1, LONGEST_PAUSE_S)
        client.max_queued_messages_set(_MOST_WAITING)
        client.will_set(*self._will, qos=_QOS, retain=True)
        if settings.broker.user is not None:
            client.username_pw_set(settings.broker.user, settings.password)
        if settings.broker.is_encrypted:
            client.tls_set_context(ssl.create_default_context())
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode, ___: Any
    ) -> None:
        if reason.is_failure:
            self._say(f"it refuses: {reason}; trying again")
            return
        client.subscribe([(topic, _QOS) for topic in self._subscriptions])
        self._begin()
        self.is_open = True
        self._say("connected")

    def _on_connect_fail(self, _: Client, __: Any) -> None:
        error = sys.exception()  # paho calls this from where it handles it
        reason = error.strerror if isinstance(error, OSError) else None
        self._say(f"it cannot be reached: {printable(reason or str(error), 100)}; trying again")

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Any
    ) -> None:
        was_open, self.is_open = self.is_open, False
        if was_open and reason.is_failure:
            self._say("the connection is lost; trying again")

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        if len(message.payload) <= _LARGEST_PAYLOAD:
            self._take(message.topic, bytes(message.payload), message.retain)

    def _say(self, how: str) -> None:
        broker = self._settings.broker
        sentence = f"MQTT broker {broker.host}:{broker.port}: {how}."
        if sentence != self._said:
            self._said = sentence
            self._tell(sentence)


def _import_paho() -> Any:
    try:
        import paho.mqtt.client
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Messages to a broker need the Python package paho-mqtt, which is not installed.",
            "",
            "Install it with: pip install 'sel-edge[serve]'.",
        ) from error
    return paho.mqtt.client
