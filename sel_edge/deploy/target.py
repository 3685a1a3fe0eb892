"""Who is deployed to: a board at a serial port, or a machine that SSH reaches."""

from __future__ import annotations

import re
from pathlib import Path

from sel_edge.core.errors import ConfigError

_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\]-]*")
_DESTINATION = re.compile(rf"(ssh://)?([A-Za-z0-9_.+][A-Za-z0-9_.+-]*@)?{_HOST.pattern}/?")
_LONGEST = 300


def is_port(target: str) -> bool:
    """Whether a target is a board's port: a device, a pty's path, or a URL of pyserial's."""
    is_url = "://" in target and not target.startswith("ssh://")
    is_windows = re.fullmatch(r"COM\d+", target) is not None
    return is_url or is_windows or target.startswith(("/", "./", "../"))


def is_host(target: str) -> bool:
    """Whether a target that may be a directory as well can only be a host."""
    if target.startswith("ssh://"):
        return True
    is_path = "/" in target or Path(target).exists()
    return not is_path and not is_port(target) and _DESTINATION.fullmatch(target) is not None


def destination(target: str) -> str:
    """A target as ssh takes it.

    Raises:
        ConfigError: it is none, or ssh would take it for an option or a command.
    """
    if len(target) > _LONGEST or not _DESTINATION.fullmatch(target):
        raise ConfigError(
            f"{target[:_LONGEST]!r} is no host.",
            "USER@HOST, ssh://USER@HOST:PORT or a host of ~/.ssh/config is expected.",
            "Correct the host.",
        )
    return target.rstrip("/")


def host_name(destination: str) -> str:
    """The host in what `destination` returned, as it stands in a URL."""
    name = destination.removeprefix("ssh://").rpartition("@")[2]
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    if destination.startswith("ssh://"):
        return name.partition(":")[0]
    return f"[{name}]" if ":" in name else name


def read_hosts(path: Path) -> list[str]:
    """The hosts in a file, one on a line; `#` begins a comment.

    Raises:
        ConfigError: the file cannot be read, names no host, one twice, or something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}.",
            "A text file with a host on each line is expected.",
            "Correct the path or the file.",
        ) from error
    hosts = [destination(text) for line in lines if (text := line.partition("#")[0].strip())]
    if not hosts or len(set(hosts)) != len(hosts):
        raise ConfigError(
            f"{path} names {len(hosts)} hosts, {len(set(hosts))} different ones.",
            "At least one host, and each once, is expected.",
            "Correct the file.",
        )
    return hosts
