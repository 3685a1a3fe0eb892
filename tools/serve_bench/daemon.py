"""A real `sel-edge serve` in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START = "from sel_edge.cli.main import main; main()"
"""Of the program: the command itself need not be on the PATH."""
START_S, STOP_S = 60.0, 15.0
_LISTENS = re.compile(r"Serving http://127\.0\.0\.1:(\d+)/")


@dataclass(frozen=True)
class Daemon:
    """One that runs.

    Attributes:
        process: of it.
        port: it listens on, at 127.0.0.1.
        state: directory of its runtime.
    """

    process: subprocess.Popen[bytes]
    port: int
    state: Path

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return 1024 * int(self._status("VmRSS"))

    def cpu_s(self) -> float:
        """Processor time of it until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def _status(self, name: str) -> str:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


@contextmanager
def serving(
    bundle: Path, source: str, folder: Path, options: Sequence[str] = ()
) -> Iterator[Daemon]:
    """A daemon on a free port, which has ended afterwards.

    Args:
        bundle: that it runs.
        source: of its frames.
        folder: that it may use; state that is there is gone on with.
        options: of the command line, besides.

    Raises:
        RuntimeError: it does not start, or does not end as it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    command = [sys.executable, "-c", START, "serve", str(bundle), "--port", "0"]
    command += ["--source", source, "--state", str(folder / "state"), *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            port = _port(process, log)
            (state,) = (folder / "state").glob("*/ledger.sqlite")
            yield Daemon(process, port, state.parent)
            process.terminate()
            if code := process.wait(STOP_S):
                raise RuntimeError(f"the daemon ended with {code}: {log.read_text()[-2000:]}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        if found := _LISTENS.search(log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"the daemon does not start: {log.read_text()[-2000:]}")
