"""The service as systemd's user manager sees it, through `systemctl --user` on the PATH."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .place import Place, relink, sync_folder, write_atomic
from .process import call
from .wire import Refusal

SERVICE, TRIAL = "sel-edge.service", "sel-edge-trial.service"
SLOWEST_S = 120
LONGEST_ANSWER, SLOWEST_ANSWER_S = 64 * 1024, 5.0
_SHOWN = ("ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ExecMainStatus")
_TRIAL_UNIT = """\
# Written by the agent of sel-edge: decides on a release that was switched to.
[Unit]
Description=sel-edge: trial of a release
ConditionPathExists=%h/.local/share/sel-edge/trial.json
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/usr/bin/env python3 %h/.local/share/sel-edge/agent.pyz trial
Restart=on-failure
RestartSec=2

[Install]
WantedBy=default.target
"""


def systemctl(*arguments: str) -> tuple[int, str]:
    """Call systemctl: its exit code, and what it printed."""
    return call(["systemctl", "--user", *arguments], SLOWEST_S)


def require(*arguments: str) -> None:
    """Call systemctl.

    Raises:
        Refusal: it says no.
    """
    code, said = systemctl(*arguments)
    if code:
        raise Refusal(
            "service",
            f"`systemctl --user {' '.join(arguments)}` failed: {' '.join(said.split())}",
            "A running user manager of systemd is expected.",
            "Log in to the board and look at `systemctl --user status`.",
        )


def show(unit: str = SERVICE) -> dict[str, str]:
    """How a unit is; empty without an answer."""
    _, said = systemctl("show", unit, f"--property={','.join(_SHOWN)}")
    pairs = (line.partition("=") for line in said.splitlines())
    return {name: value for name, _, value in pairs if name in _SHOWN}


def ask_ready(port: int) -> dict[str, Any] | None:
    """What /readyz answers, with `status` added; None without an answer that can be read."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        line.connect()
        with _cut_after(SLOWEST_ANSWER_S, line.sock):
            line.request("GET", "/readyz")
            answer = line.getresponse()
            value = json.loads(answer.read(LONGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        line.close()
    return {**value, "status": answer.status} if isinstance(value, dict) else None


@contextlib.contextmanager
def _cut_after(limit_s: float, line: socket.socket) -> Iterator[None]:
    """End a line that is still in use then: one that drips would hold up a trial for ever."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def units_folder() -> Path:
    """Where the user's units lie."""
    return Path.home() / ".config" / "systemd" / "user"


def place_units(place: Place) -> None:
    """Have both units known and started at every boot; what is there already stays as it is."""
    folder = units_folder()
    wanted = folder / "default.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    trial = folder / TRIAL
    if not trial.is_file() or trial.read_text() != _TRIAL_UNIT:
        write_atomic(trial, _TRIAL_UNIT.encode(), 0o644)
    for path, target in (
        (folder / SERVICE, str(place.root / "current" / SERVICE)),
        (wanted / SERVICE, f"../{SERVICE}"),
        (wanted / TRIAL, f"../{TRIAL}"),
    ):
        if not path.is_symlink() or str(path.readlink()) != target:
            relink(path, target)
    sync_folder(wanted)
    sync_folder(folder)


def remove_units() -> None:
    """Have no unit known any more."""
    folder = units_folder()
    for unit in (SERVICE, TRIAL):
        (folder / "default.target.wants" / unit).unlink(missing_ok=True)
        (folder / unit).unlink(missing_ok=True)
    systemctl("daemon-reload")
