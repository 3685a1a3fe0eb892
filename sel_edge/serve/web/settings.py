"""Where the server listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from sel_edge.core.errors import ConfigError

MIN_TOKEN = 16
"""Characters of a token: with fewer it could be guessed."""
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
"""Of a host, as browsers send it; an IPv4 address looks the same."""


@dataclass(frozen=True)
class Limits:
    """What one server, and one client of it, may use at most. A client is an IPv4 address, or the
    first 64 bits of an IPv6 address.

    Attributes:
        connections: open at a time, of all clients.
        client_connections: open at a time, of one client.
        streams: clients that are told of events as they happen.
        requests_per_s: of one client in the long run ...
        burst: ... and so many at once.
        frames_per_s: frames of one client in the long run; as many at once.
        failures_per_min: wrong tokens of one client in the long run; as many at once.
        header_s: for all headers of a request.
        body_s: for the body of a request.
        idle_s: between two requests of a connection.
        write_s: for a client to take what was sent to it.
        json_bytes: of a body that is JSON.
        picture_bytes: of a body that is a picture.
        frames: under way at a time, as many as the device answers at once.
        pictures: bodies with pictures that are taken in at a time.
        place_s: a frame waits for a place, before it is refused.
        work: requests that wait for a thread or for the worker.
        wait_s: for the worker, before a request is answered with 202.
        heartbeat_s: between two signs of life in a stream of events.
        status_s: between two states in a stream of events.
        sessions: people who are signed in.
        session_s: until they have to sign in again.
    """

    connections: int = 128
    client_connections: int = 64
    streams: int = 16
    requests_per_s: float = 100.0
    burst: float = 400.0
    frames_per_s: float = 500.0
    failures_per_min: float = 10.0
    header_s: float = 10.0
    body_s: float = 10.0
    idle_s: int = 15
    write_s: float = 30.0
    json_bytes: int = 16 * 2**10
    picture_bytes: int = 8 * 2**20
    frames: int = 16
    pictures: int = 4
    place_s: float = 0.25
    work: int = 64
    wait_s: float = 10.0
    heartbeat_s: float = 15.0
    status_s: float = 0.5
    sessions: int = 64
    session_s: float = 7 * 86_400.0


@dataclass(frozen=True)
class WebSettings:
    """What the owner of a device decides.

    Attributes:
        host: address to listen on.
        port: 0 for a free one.
        token: what a client must show; None lets everybody in who reaches the port.
        allowed_hosts: names beside those of the loopback by which this device may be called where
            there is no token, such as that of a proxy on the same machine.
        limits: see there.

    Raises:
        ConfigError: others can reach the address and there is no token, the token is too short or
            has characters that no header takes, or an allowed host is no name.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"Other machines can reach {self.host}, and there is no token.",
                "Without a token only this machine may ask.",
                "Give --token-file, or listen on 127.0.0.1.",
            )
        usable = self.token is None or (
            len(self.token) >= MIN_TOKEN and _TOKEN.fullmatch(self.token) is not None
        )
        if not usable:
            raise ConfigError(
                "The token is too short, or has characters that cannot be sent.",
                f"At least {MIN_TOKEN} visible ASCII characters without spaces are expected.",
                "Make one, for example with `openssl rand -hex 32`.",
            )
        for name in self.allowed_hosts:
            _require_name(name)


def _require_name(host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        if _NAME.fullmatch(host) is None:
            raise ConfigError(
                f"{ascii(host)[:80]} is no name of a host.",
                "A name such as pi.local, or an address, is expected, without scheme and port.",
                "Correct --allow-host.",
            ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a name or address, without asking any name server."""
    if host.lower() == "localhost":
        return True
    try:
        parsed = ipaddress.ip_address(host)
        return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
    except ValueError:
        return False
