"""Simulated boards as processes, to be reached over TCP or a pty, and killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sel_edge.link.client import Client
from sel_edge.link.transport import LineTransport
from tests.firmware.build import HOST, core_sources, program


class Board:
    """One board, which runs while it is entered.

    Args:
        flash: file of its flash; made if it is missing.
        line: "tcp" or "pty".
        device_id: 8 letters.
        camera: file of frames that it sees by itself, one each `every_ms`.

    Attributes:
        port: its line as `sel-edge` takes it; over TCP the same after a restart.
    """

    def __init__(
        self,
        flash: Path,
        line: str = "tcp",
        device_id: str = "simboard",
        camera: Path | None = None,
        every_ms: int = 5,
    ) -> None:
        self._program = program([*core_sources(), *sorted(HOST.glob("*.c"))])
        self._options = ["-i", device_id]
        if camera is not None:
            self._options += ["-c", str(camera), "-e", str(every_ms)]
        self._flash, self._line = flash, line
        self._process: subprocess.Popen[str] | None = None
        self.port = ""

    def __enter__(self) -> Board:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cut_power(self) -> None:
        """Kill it and start it again on the same flash."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start it on its flash."""
        line = ["pty"] if self._line == "pty" else ["tcp", self.port.rpartition(":")[2] or "0"]
        self._process = subprocess.Popen(
            [self._program, *self._options, self._flash, *line], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        assert self.port

    def stop(self) -> None:
        """Kill it."""
        assert self._process is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def talking(port: str, timeout_s: float = 20.0) -> Iterator[Client]:
    """A client at the other end of a line."""
    with closing(LineTransport(port)) as line:
        yield Client(line, timeout_s)
