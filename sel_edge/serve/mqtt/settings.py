"""Which broker, as whom, and under which name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from sel_edge.core.errors import ConfigError
from sel_edge.serve.naming import require_name

PORTS = {"mqtt": 1883, "mqtts": 8883}
DEFAULT_PREFIX = "sel-edge"

_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")


@dataclass(frozen=True)
class Broker:
    """Where messages go.

    Attributes:
        host, port: of the broker.
        is_encrypted: by TLS, with the certificates that this machine trusts.
        user: to log in as; None for nobody.
        prefix: first levels of every topic but Home Assistant's.
    """

    host: str
    port: int
    is_encrypted: bool
    user: str | None
    prefix: str


@dataclass(frozen=True)
class MqttSettings:
    """What a person says of the broker.

    Args:
        url: mqtt[s]://[USER@]HOST[:PORT][/PREFIX].
        password: of the user; None without one. Never part of the URL, which others can read.
        name: of this device, for people and in topics; every device of a broker has its own.

    Raises:
        ConfigError: the URL is none of these, or the password is nobody's.
    """

    url: str
    password: str | None = field(repr=False)
    name: str
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "broker", _parsed(self.url))
        if self.password is not None and self.broker.user is None:
            raise ConfigError(
                f"There is a password for {self.url}, and no user.",
                "A password is a user's.",
                "Name the user: mqtt://USER@HOST.",
            )
        require_name(self.name)


def _parsed(url: str) -> Broker:
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # what cannot be looked up is said at once
    except ValueError as error:
        raise _no_url(url, str(error)) from error
    if parts.password is not None:
        raise ConfigError(
            "The address of the broker holds a password.",
            "Other users can read the arguments of a program.",
            "Leave it out of --mqtt, and name a file with it: --mqtt-password-file.",
        )
    if parts.scheme not in PORTS:
        raise _no_url(url, "it begins otherwise")
    if not _HOST.fullmatch(parts.hostname or "") or set("?#") & set(url) or port == 0:
        raise _no_url(url, "it names no host, or more than a host, a port and a prefix")
    return Broker(
        host=parts.hostname or "",
        port=PORTS[parts.scheme] if port is None else port,
        is_encrypted=parts.scheme == "mqtts",
        user=_user(url, parts),
        prefix=_prefix(url, parts.path),
    )


def _user(url: str, parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    user = unquote(parts.username)
    if not user.isprintable() or not user:
        raise _no_url(url, "the user has no name, or not a printable one")
    return user


def _prefix(url: str, path: str) -> str:
    """Levels of a topic; + and # would be wildcards."""
    prefix = path.strip("/")
    if prefix and not all(_LEVEL.fullmatch(level) for level in prefix.split("/")):
        raise _no_url(url, f"{prefix!r} is no prefix of topics")
    return prefix or DEFAULT_PREFIX


def _no_url(url: str, detail: str) -> ConfigError:
    return ConfigError(
        f"{url!r} is no address of a broker: {detail}.",
        "mqtt://[USER@]HOST[:PORT][/PREFIX] is expected, or mqtts:// for TLS; the prefix is of "
        "letters, digits, and . _ - between slashes.",
        "Correct --mqtt.",
    )
