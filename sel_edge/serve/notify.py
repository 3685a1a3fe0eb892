"""What systemd is told of the service, as sd_notify(3) describes it; nothing where nobody listens.

In-house: the messages are lines of text on a datagram socket.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Tells the manager of this process how it is.

    Args:
        environment: of the process: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read.

    Attributes:
        watchdog_s: seconds after which the manager takes silence for death; None if never.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        is_known = address.startswith(("/", "@"))
        # "@" stands for the zero byte that the names of abstract sockets begin with.
        self._address = address.replace("@", "\0", 1) if is_known else ""
        self.watchdog_s = _watchdog_s(environment)

    def ready(self, status: str) -> None:
        """It has started, or reloaded."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """It looks at its settings anew; `ready` ends that."""
        # CLOCK_MONOTONIC, by which Type=notify-reload tells this message from an older one.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """It gets on."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It ends."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        text = "\n".join(" ".join(line.splitlines()) for line in lines)
        # A manager that does not listen is no reason to stop serving.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line_out:
            line_out.connect(self._address)
            line_out.sendall(text.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    period, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_meant = process in ("", str(os.getpid()))
    return int(period) / 1e6 if is_meant and period.isdecimal() and int(period) > 0 else None
