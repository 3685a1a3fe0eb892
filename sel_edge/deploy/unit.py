"""The unit that runs the daemon on a board: not root, read-only but for one folder, capped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sel_edge.core.errors import ConfigError

ROOT = "%h/.local/share/sel-edge"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_CAMERA = re.compile(r"rtsps?://")
_LOGIN = re.compile(r"//.*@")
"""A password may have any character, also those that should have been percent-encoded."""
_TEXT = """\
# Made by `sel-edge deploy`; a part of the release that it lies in.
[Unit]
Description=sel-edge ({name})
StartLimitIntervalSec=300
StartLimitBurst=6

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={root}/state
Environment=PYTHONUNBUFFERED=1
UMask=0077
Restart=on-failure
RestartSec=2
TimeoutStartSec=300
TimeoutStopSec=10
WatchdogSec=60

MemoryMax={memory}
CPUQuota={cpu}
TasksMax=256

PrivateUsers=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={root}/state
InaccessiblePaths=-%t/bus -%t/systemd/private
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
NoNewPrivileges=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True)
class Service:
    """What the daemon on a board is to do.

    Attributes:
        source: where its frames come from, as `sel-edge serve --source` takes it.
        host: that it listens on.
        port: of its page.
        options: further ones of `sel-edge serve`, each a name without dashes and a value.
        memory: most memory, as systemd's MemoryMax takes it.
        cpu_percent: most processor time, 100 for each core; None is nine tenths of all.
    """

    source: str
    host: str = "127.0.0.1"
    port: int = 8765
    options: Sequence[tuple[str, str]] = ()
    memory: str = "75%"
    cpu_percent: int | None = None

    @property
    def needs_token(self) -> bool:
        """Whether it listens on more than loopback."""
        return self.host not in LOOPBACK

    def unit(self, cores: int, signer: str, has_budget: bool) -> str:
        """The text of the unit.

        Args:
            cores: of the board.
            signer: fingerprint of the key that signed the bundle.
            has_budget: whether the release holds a budget.

        Raises:
            ConfigError: a value has characters that no unit can hold.
        """
        command = [f"{ROOT}/current/venv/bin/sel-edge", "serve", f"{ROOT}/current/bundle"]
        given = [("state", f"{ROOT}/state"), ("trust", f"{ROOT}/keys/{signer}.pub.pem")]
        if has_budget:
            given.append(("budget", f"{ROOT}/current/budget.toml"))
        if self.needs_token:
            given.append(("token-file", f"{ROOT}/token"))
        said = [("source", self.source), ("host", self.host), ("port", str(self.port))]
        for name, value in given:
            command += [f"--{name}", value]
        for name, value in (*said, *self.options):
            command += [f"--{name}", _quoted(value)]
        percent = 90 * cores if self.cpu_percent is None else self.cpu_percent
        name = next((value for key, value in self.options if key == "name"), "the daemon")
        return _TEXT.format(
            name=_checked(name).replace("%", "%%"),
            command=" ".join(command),
            root=ROOT,
            memory=_memory(self.memory),
            cpu=f"{percent}%",
        )


def without_logins(line: str) -> str:
    """A line of a unit without user, password and query of network cameras.

    Args:
        line: of any unit, also one that this program has not made.
    """
    return _WORD.sub(lambda word: _without_login(word[0]), line)


def _without_login(word: str) -> str:
    if not _CAMERA.search(word):
        return word
    shown = _LOGIN.sub("//", word).partition("?")[0]
    return shown if not word.endswith('"') or shown.endswith('"') else f'{shown}"'


def _quoted(value: str) -> str:
    """A word of ExecStart that is taken as it is; systemd.service(5), "Command lines"."""
    escaped = _checked(value).replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(escaped):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _checked(value: str) -> str:
    if not value or not value.isprintable() or len(value) > 1000:
        raise ConfigError(
            f"The option {_without_login(value)[:80]!r} cannot stand in a systemd unit.",
            "1 to 1000 printable characters are expected.",
            "Correct the option.",
        )
    return value


def _memory(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,14}[KMG]?|[1-9][0-9]?%|100%", value):
        raise ConfigError(
            f"The memory {value[:80]!r} is not understood.",
            "Bytes with K, M or G, or a share such as 75%, are expected.",
            "Correct --memory.",
        )
    return value
