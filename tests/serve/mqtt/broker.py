"""A real mosquitto on loopback, and somebody in the house who listens."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.tools_needed import missing_tool

LONG_S = 30.0
"""More than anything takes here, however busy the machine."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` returns once that is true."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {LONG_S:.0f} s: {what}")


def self_signed(folder: Path) -> Path:
    """The certificate of 127.0.0.1, valid today; its key lies beside it in key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, plain))
    (folder / "broker.pem").write_bytes(certificate.public_bytes(encoding))
    return folder / "broker.pem"


class Mosquitto:
    """A broker that can be stopped and started again at its port.

    Args:
        folder: for its files.
        lines: of its configuration beyond the listener.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            missing_tool("mosquitto is not installed: apt install mosquitto")
        self._program, self._folder = program, folder
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        # As root it would become another user, who cannot read a test's files.
        shared = ["persistence false", "user root", f"listener {self.port} 127.0.0.1"]
        self._config.write_text("\n".join([*shared, *(lines or ("allow_anonymous true",)), ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config], stdout=log, stderr=log
            )
        eventually(self._answers, "mosquitto answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(LONG_S)
            self._process = None

    def freeze(self) -> None:
        """Neither read nor answer any more, without closing a connection."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Listener:
    """Hears everything, and says what it is told to.

    Attributes:
        heard: topic, content and whether the broker had kept it, in order.
    """

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self._ready = threading.Event()
        self._client = client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if user is not None:
            client.username_pw_set(user, password)
        client.on_connect = lambda *_: client.subscribe("#", 1)
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = lambda _, __, message: self.heard.append(
            (message.topic, message.payload, message.retain)
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert self._ready.wait(LONG_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, content: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, content, qos=1, retain=retain).wait_for_publish(LONG_S)

    def on(self, topic: str) -> list[bytes]:
        """What was said there, in order."""
        return [content for where, content, _ in self.heard if where == topic]

    def hears(self, topic: str, holds: Callable[[Any], Any]) -> Any:
        """Wait until the newest message there, read as JSON, is as expected, and return it."""

        def look() -> Any:
            said = self.on(topic)
            if not said:
                return None
            value = json.loads(said[-1])
            return value if holds(value) else None

        return eventually(look, f"{topic} as expected; {self.on(topic)[-1:]}")
