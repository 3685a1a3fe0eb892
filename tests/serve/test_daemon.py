"""The daemon as a process: signals, systemd's messages, and one process per state directory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from tests.runtime.conftest import Network, build_bundle
from tests.serve.devices import WAIT_S
from tests.simulate.gratings import make_bundle, make_world

PLAIN = "from sel_edge.cli.main import main; main()"
HUNG = """
import threading
from dataclasses import replace
from sel_edge.cli import machine, serve
from sel_edge.cli.main import main
from sel_edge.runtime.board import Heat

looks = []

def hang():
    looks.append(0)
    if len(looks) > 4:
        threading.Event().wait()
    return Heat()

serve.named_board = lambda profile: replace(machine.named_board(profile), heat=hang)
main()
"""
"""A thermometer that hangs in its driver, once the service has begun."""
DEAF = """
import asyncio
from sel_edge.cli.main import main
import uvicorn

async def die(self):
    await asyncio.sleep(0.5)
    raise RuntimeError("a defect")

uvicorn.Server.main_loop = die
main()
"""
"""A web server with a defect."""


@pytest.fixture(scope="module")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("daemon"))


class Manager:
    """What systemd is to a service: a socket for its messages."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(WAIT_S)
        self.address = str(folder / "notify")

    def next(self, start: str) -> str:
        """The next message that starts so; others before it are let go."""
        while not (message := self._socket.recv(4096).decode()).startswith(start):
            pass
        return message

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self._socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            return not self._socket.recv(4096)
        return True

    def close(self) -> None:
        self._socket.close()


class Daemon:
    """`sel-edge serve` in a process of its own."""

    def __init__(
        self, folder: Path, bundle: Path, source: str, *options: str, program: str = PLAIN
    ) -> None:
        self.state, self.manager = folder / "state", Manager(folder)
        arguments = ["serve", str(bundle), "--source", source, "--state", str(self.state)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments, "--port", "0", "--threads", "1", *options],
            env=os.environ | {"NOTIFY_SOCKET": self.manager.address, "WATCHDOG_USEC": "600000"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """Its address, once it serves."""
        return self.manager.next("READY=1").partition("Serving ")[2].strip()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and how many seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        return code, time.monotonic() - begun


@pytest.fixture
def daemon(tmp_path: Path, gratings: Bundle) -> Iterator:
    begun: list[Daemon] = []

    def daemon(
        source: str, *options: str, bundle: Path | None = None, program: str = PLAIN
    ) -> Daemon:
        folder = tmp_path / f"{len(begun)}"
        folder.mkdir()
        begun.append(Daemon(folder, bundle or gratings.path, source, *options, program=program))
        return begun[-1]

    yield daemon
    for one in begun:
        one.process.kill()
        one.process.communicate()
        one.manager.close()


def told(address: str, path: str) -> dict:
    with urllib.request.urlopen(address + path, timeout=WAIT_S) as answer:  # noqa: S310
        return json.loads(answer.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_everything_saved(
    daemon, tmp_path: Path, number: signal.Signals
) -> None:
    one = daemon(f"{make_world(tmp_path)}&pace=200&loop=1")
    address = one.ready()
    while told(address, "readyz")["frames"] < 32:
        time.sleep(0.05)
    code, seconds = one.end(number)
    assert code == 0 and seconds < 5
    assert one.manager.next("STOPPING=1")
    (folder,) = (path for path in one.state.iterdir() if path.is_dir())
    assert not (folder / f"{LEDGER_FILE}-wal").exists()  # closed in good order
    ledger = read_ledger(folder / LEDGER_FILE)
    assert sum(tick.n for tick in ledger.ticks) >= 32 and len(ledger.sessions) == 1


def test_it_is_ready_once_it_has_answered(daemon) -> None:
    one = daemon("http", "--name", "The cellar")
    address = one.ready()
    assert told(address, "api/v1/status")["name"] == "The cellar"
    state = told(address, "readyz")
    assert state["ready"] and state["first_answer"] and state["frames"] == 0
    assert state["error"] == ""
    for _ in range(5):  # the watchdog is fed while the worker gets on
        assert one.manager.next("WATCHDOG=1")


@pytest.mark.proof
def test_a_worker_that_hangs_is_left_to_the_watchdog_and_still_ends(daemon) -> None:
    one = daemon("http", program=HUNG)
    one.ready()
    while not one.manager.silent_for(3.0):
        pass
    assert one.process.poll() is None
    code, seconds = one.end()
    assert code == 0 and seconds < 5
    assert "cut off" in one.process.stderr.read()


@pytest.mark.proof
def test_hangup_reloads_and_a_damaged_bundle_changes_nothing(
    daemon, gratings: Bundle, tmp_path: Path
) -> None:
    link, other = tmp_path / "current", build_bundle(tmp_path / "b", Network(), held_out=False)
    link.symlink_to(gratings.path)
    one = daemon("http", bundle=link)
    address = one.ready()
    for target, expected in (
        (other.path, other.manifest.bundle_hash),
        (tmp_path, other.manifest.bundle_hash),
        (gratings.path, gratings.manifest.bundle_hash),
    ):
        link.unlink()
        link.symlink_to(target)
        one.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in one.manager.next("RELOADING=1")
        assert one.manager.next("READY=1")
        state = told(address, "readyz")
        assert state["bundle"] == expected and state["ready"]
    assert one.end()[0] == 0
    log = one.process.stderr.read()
    assert log.count("is in use.") == 2 and log.count("error: Nothing was reloaded.") == 1


def test_its_log_tells_of_pictures_that_cannot_be_used(daemon, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    os.utime(folder / "half.jpg", (0, 0))  # long ago: it is not on its way
    one = daemon(f"inbox:{folder}")
    address = one.ready()
    while not told(address, "api/v1/status")["flow"]["refused"]:
        time.sleep(0.05)
    assert one.end()[0] == 0
    log = one.process.stderr.read()
    assert log.count("half.jpg") == 1 and "source: running; refused: half.jpg" in log


@pytest.mark.parametrize(("name", "code"), [("", 6), ("a\nb", 6), ("x" * 65, 6)])
def test_a_name_that_cannot_be_shown_is_refused(
    gratings: Bundle, tmp_path: Path, name: str, code: int
) -> None:
    state = tmp_path / "state"
    ended = run("serve", gratings.path, "--source", "http", "--state", state, "--name", name)
    assert ended.returncode == code and "cannot be the name" in " ".join(ended.stderr.split())


def test_a_state_and_a_port_that_are_taken_end_the_start(daemon, gratings: Bundle) -> None:
    one = daemon("http")
    address = one.ready()
    port, other = address.rpartition(":")[2].strip("/"), one.state.with_name("other")
    for at, state, code, word in ((0, one.state, 5, "in use"), (port, other, 6, port)):
        second = run("serve", gratings.path, "--source", "http", "--port", at, "--state", state)
        assert second.returncode == code and word in " ".join(second.stderr.split())
        assert "Traceback" not in second.stderr
    assert told(address, "healthz") == {"alive": True}


@pytest.mark.proof
def test_after_kill_it_goes_on_with_what_it_had(daemon, tmp_path: Path, gratings: Bundle) -> None:
    one = daemon(f"{make_world(tmp_path)}&pace=0")
    address = one.ready()
    while told(address, "api/v1/status")["flow"]["seen"] < 600:
        time.sleep(0.05)
    one.end(signal.SIGKILL)
    (folder,) = (path for path in one.state.iterdir() if path.is_dir())
    network = [up for up in read_ledger(folder / LEDGER_FILE).updates if up.kept][-1]
    two = daemon("http", "--state", str(one.state))
    assert told(two.ready(), "api/v1/status")["network"] == network.network_after


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )


def test_a_dead_web_server_ends_it_with_an_error(daemon) -> None:
    one = daemon("http", program=DEAF)
    one.ready()
    assert one.process.wait(WAIT_S) == 1
    assert "A defect has ended the service." in one.process.stderr.read()
    assert one.manager.next("STOPPING=1")


def test_it_goes_on_when_nobody_reads_its_log(daemon) -> None:
    one = daemon("http")
    address = one.ready()
    with Path(os.devnull).open("rb") as nothing:  # in place of the other end of the log
        os.dup2(nothing.fileno(), one.process.stderr.fileno())
    for _ in range(2):
        one.process.send_signal(signal.SIGHUP)
        assert one.manager.next("RELOADING=1") and one.manager.next("READY=1")
    assert told(address, "readyz")["ready"]
    assert told(address, "api/v1/events")["events"][-1]["kind"] == "reload"
    assert one.end()[0] == 0
