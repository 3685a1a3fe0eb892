"""One service of the supervisor stand-in: it lives as its unit says and as systemd 252 would do.

Rules are from systemd.service(5), systemd.unit(5) and sd_notify(3).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.deploy.units import Unit

CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}
Journal = Callable[[str, int, str], None]

# What a user's manager does in namespaces of the user, PrivateUsers=yes; the arguments are the
# user's and group's number, "home" or "", paths that stay writable, "--", files and sockets that
# cannot be reached, "--" and the command.
SANDBOX = """
set -e
uid=$1 gid=$2 home=$3; shift 3
flags=$(findmnt -n -o VFS-OPTIONS --target "$HOME" | tr , '\\n' | grep -x -e nosuid -e nodev |
    tr '\\n' ,)
if [ "$home" ]; then mount --bind "$HOME" "$HOME"; fi
while [ "$1" != -- ]; do
    path=${1#-}
    if [ -e "$path" ]; then mount --bind "$path" "$path"
    elif [ "$path" = "$1" ]; then echo "$path: ReadWritePaths= does not exist"; exit 226; fi
    shift
done
shift
if [ "$home" ]; then mount -o "remount,bind,${flags}ro" "$HOME"; fi
while [ "$1" != -- ]; do
    path=${1#-}
    if [ -e "$path" ]; then mount --bind /dev/null "$path"
    elif [ "$path" = "$1" ]; then echo "$path: InaccessiblePaths= does not exist"; exit 226; fi
    shift
done
shift
cd "$PWD"
exec unshare --user --map-user="$uid" --map-group="$gid" "$@"
"""


class Service:
    """States, results and counters are named as `systemctl show` names them."""

    def __init__(self, unit: Unit, runtime: Path, journal: Journal) -> None:
        self.unit = unit
        self.active, self.sub, self.result = "inactive", "dead", "success"
        self.restarts = self.main_pid = self.exit_status = 0
        self.invocation = ""
        self._journal = journal
        self._socket_path = runtime / f"notify-{unit.name}"
        self._starts: deque[float] = deque()
        self._life: asyncio.Task[None] | None = None
        self._up: asyncio.Future[bool] | None = None
        self._stop = asyncio.Event()
        self._forget_restarts = False
        self._ready = asyncio.Event()
        self._fed = 0.0
        self._early: list[tuple[int, bytes]] = []
        self._copies: set[asyncio.Task[None]] = set()

    async def start(self) -> bool:
        """Whether it got up; at once for one that is up."""
        if self.active == "active" or not self._conditions_hold():
            return True
        if self.sub == "auto-restart":
            await self.stop()
        if self._life is None or self._life.done():
            self._stop.clear()
            if self._forget_restarts:
                self.restarts, self._forget_restarts = 0, False
            self._up = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live())
        assert self._up is not None
        return await asyncio.shield(self._up)

    async def stop(self) -> None:
        """Not started again by itself."""
        self._stop.set()
        if self._life is not None:
            await asyncio.shield(self._life)

    def reset_failed(self) -> None:
        self._starts.clear()
        self.restarts = 0
        if self.active == "failed":
            self._set("inactive", "dead")

    def kill(self, number: int) -> None:
        for pid in self.group():
            _signal(pid, number)

    def group(self) -> list[int]:
        """Processes that it started, however they detached themselves."""
        mark = f"INVOCATION_ID={self.invocation}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found if self.invocation else []

    def say(self, message: str) -> None:
        self._journal(self.unit.name, os.getpid(), message)

    def _set(self, active: str, sub: str) -> None:
        self.active, self.sub = active, sub

    def _answer(self, is_up: bool) -> None:
        if self._up is not None and not self._up.done():
            self._up.set_result(is_up)

    async def _live(self) -> None:
        while True:
            self.result = await self._once() if self._may_start() else "start-limit-hit"
            self.main_pid = 0
            if not self._shall_restart():
                break
            self._set("activating", "auto-restart")
            self.say(f"{self.unit.name}: Failed with result '{self.result}'.")
            self._answer(False)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self.unit.seconds("RestartSec", "100ms"))
                break
            if not self._conditions_hold():
                break
            self.restarts += 1
            self.say(f"Scheduled restart job, restart counter is at {self.restarts}.")
        self._forget_restarts = True
        has_failed = self.result != "success"
        self._set("failed" if has_failed else "inactive", "failed" if has_failed else "dead")
        self.say(f"{self.unit.name}: Deactivated with result '{self.result}'.")
        self._answer(self.unit.value("Type", "simple") == "oneshot" and not has_failed)

    def _conditions_hold(self) -> bool:
        paths = self.unit.values("ConditionPathExists", "Unit")
        return all(Path(path).exists() for path in paths)

    def _may_start(self) -> bool:
        interval_s = self.unit.seconds("StartLimitIntervalSec", "10s", "Unit")
        burst = int(self.unit.value("StartLimitBurst", "5", "Unit"))
        now = time.monotonic()
        while self._starts and self._starts[0] <= now - interval_s:
            self._starts.popleft()
        if interval_s and burst and len(self._starts) >= burst:
            self.say("Start request repeated too quickly.")
            return False
        self._starts.append(now)
        return True

    def _shall_restart(self) -> bool:
        if self._stop.is_set() or self.result == "start-limit-hit":
            return False
        policy = self.unit.value("Restart", "no")
        return policy == "always" or (policy == "on-failure" and self.result != "success")

    async def _once(self) -> str:
        self.invocation = uuid.uuid4().hex
        self.exit_status = self.main_pid = 0
        self._ready.clear()
        self._early.clear()
        notify = self._listen()
        try:
            return await self._main()
        finally:
            await self._clear_group()
            asyncio.get_running_loop().remove_reader(notify)
            notify.close()
            self._socket_path.unlink(missing_ok=True)

    async def _main(self) -> str:
        kind = self.unit.value("Type", "simple")
        self._set("activating", "start")
        process = await self._spawn()
        self.main_pid = process.pid
        for sender, message in self._early:
            self._take(sender, message)
        if kind == "exec":
            self._ready.set()
        exited = asyncio.ensure_future(process.wait())
        limit_s = float("inf") if kind == "oneshot" else self._start_timeout_s
        try:
            until = None if limit_s == float("inf") else limit_s
            await asyncio.wait_for(_first(exited, self._ready.wait(), self._stop.wait()), until)
        except TimeoutError:
            await self._terminate(process)
            return "timeout"
        if self._ready.is_set() and not exited.done():
            self._set("active", "running")
            self._answer(True)
            if await self._watch(exited):
                return "watchdog"
        elif exited.done() and kind == "notify" and process.returncode == 0:
            return "protocol"
        return await self._end(process)

    async def _watch(self, exited: asyncio.Future[int]) -> bool:
        """Until it ends or shall end; whether it was killed for its silence."""
        limit_s = self.unit.seconds("WatchdogSec", "0")
        self._fed = time.monotonic()
        while not exited.done() and not self._stop.is_set():
            left_s = self._fed + limit_s - time.monotonic() if limit_s else None
            if left_s is not None and left_s <= 0:
                self.say("Watchdog timeout!")
                self.kill(signal.SIGABRT)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(exited), self._stop_timeout_s)
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(_first(exited, self._stop.wait()), left_s)
        return False

    async def _end(self, process: asyncio.subprocess.Process) -> str:
        if process.returncode is None:
            late = await self._terminate(process)
            code = process.returncode
            if late:
                return "timeout"
            is_asked = code in (-signal.SIGTERM, 0)
            return "success" if is_asked else self._judge(code or 0)
        return self._judge(process.returncode)

    async def _terminate(self, process: asyncio.subprocess.Process) -> bool:
        """Stop the main process with all of its group; whether it did not go by itself."""
        self._set("deactivating", "stop-sigterm")
        self.kill(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._stop_timeout_s)
            return False
        except TimeoutError:
            self.say("State 'stop-sigterm' timed out. Killing.")
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            return True

    async def _clear_group(self) -> None:
        while left := self.group():
            for pid in left:
                _signal(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)

    def _judge(self, code: int) -> str:
        self.exit_status = abs(code)
        if code == 0 or -code in CLEAN_SIGNALS:
            return "success"
        self.say(f"Process exited, {'signal' if code < 0 else 'status'} {abs(code)}.")
        return "signal" if code < 0 else "exit-code"

    @property
    def _start_timeout_s(self) -> float:
        return self.unit.seconds("TimeoutStartSec", "90s")

    @property
    def _stop_timeout_s(self) -> float:
        return self.unit.seconds("TimeoutStopSec", "90s")

    def _listen(self) -> socket.socket:
        self._socket_path.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.setblocking(False)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.bind(str(self._socket_path))
        asyncio.get_running_loop().add_reader(notify, self._hear, notify)
        return notify

    def _hear(self, notify: socket.socket) -> None:
        message, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(12))
        sender = int.from_bytes(ancillary[0][2][:4], "little")
        if self.main_pid:
            self._take(sender, message)
        else:  # a fast one speaks before this process knows its number
            self._early.append((sender, message))

    def _take(self, sender: int, message: bytes) -> None:
        if sender != self.main_pid and self.unit.value("NotifyAccess", "main") == "main":
            self.say(f"Got notification message from PID {sender}, which is not the main one.")
            return
        lines = message.decode(errors="replace").splitlines()
        if "READY=1" in lines:
            self._ready.set()
        if "WATCHDOG=1" in lines:
            self._fed = time.monotonic()

    async def _spawn(self) -> asyncio.subprocess.Process:
        home = os.environ["HOME"]
        environment = {
            **{name: os.environ[name] for name in ("HOME", "USER", "LANG", "XDG_RUNTIME_DIR")},
            "PATH": "/opt/pi/bin:/usr/bin:/bin",
            "NOTIFY_SOCKET": str(self._socket_path),
            "INVOCATION_ID": self.invocation,
            **self.unit.environment(),
        }
        if limit_s := self.unit.seconds("WatchdogSec", "0"):
            environment["WATCHDOG_USEC"] = str(int(limit_s * 1e6))
        process = await asyncio.create_subprocess_exec(
            *self._sandboxed(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd=self.unit.value("WorkingDirectory", home),
            umask=int(self.unit.value("UMask", "0022"), 8),
            start_new_session=True,
        )
        copy = asyncio.create_task(self._copy(process))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)
        return process

    def _sandboxed(self) -> list[str]:
        if self.unit.value("PrivateUsers", "no") != "yes":
            return self.unit.command()
        is_home_read_only = (
            self.unit.value("ProtectSystem", "no") == "strict"
            or self.unit.value("ProtectHome", "no") == "read-only"
        )
        arguments = [str(os.getuid()), str(os.getgid()), "home" if is_home_read_only else ""]
        for setting in ("ReadWritePaths", "InaccessiblePaths"):
            arguments += [*self.unit.words(setting), "--"]
        inner = ["sh", "-c", SANDBOX, "sandbox", *arguments, *self.unit.command()]
        return ["unshare", "--map-root-user", "--mount", *inner]

    async def _copy(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # a line without end
            while line := await process.stdout.readline():
                message = line.decode(errors="replace").rstrip("\n")
                self._journal(self.unit.name, process.pid, message)


async def _first(*waits: object) -> None:
    """Wait for one of several; the others are not waited for any more."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                task.cancel()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
