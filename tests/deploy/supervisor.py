"""A user's service manager where there is no systemd: `python3 -m tests.deploy.supervisor`.

It obeys `systemctl --user` (clients.py) through a socket and the unit files of the user; with
lingering on, it starts what is enabled when the machine comes up.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.deploy.service import Service
from tests.deploy.units import UnitError, read_unit

HOME = Path(os.environ.get("HOME", "/"))
UNITS = HOME / ".config/systemd/user"
WANTS = UNITS / "default.target.wants"
RUNTIME = Path(os.environ.get("XDG_RUNTIME_DIR", "/"))
SOCKET = RUNTIME / "systemd/private"
"""Where systemctl finds systemd, too, if there is no bus."""
JOURNAL = Path("/var/log/journal.jsonl")
LINGER = Path("/var/lib/systemd/linger")

Reply = tuple[int, str]


class Supervisor:
    """All services of one user."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def boot(self) -> None:
        if not (LINGER / os.environ["USER"]).exists() or not WANTS.is_dir():
            return
        for link in sorted(WANTS.iterdir()):
            self._start_later([link.name])

    def service(self, name: str) -> Service:
        """Loaded at its first use and at `daemon-reload`, as systemd does.

        Raises:
            UnitError: no such unit, or one that is not understood.
        """
        name = name if "." in name else f"{name}.service"
        if name not in self._services:
            path = UNITS / name
            if not path.is_file():
                raise UnitError(f"Unit {name} could not be found.")
            service = Service(_read(path), RUNTIME, _journal)
            self._services[name] = service
        return self._services[name]

    async def answer(self, request: dict[str, Any]) -> Reply:
        """What a call of systemctl ends in: its exit status and what it prints."""
        verb, names = request["verb"], request["units"]
        if verb == "daemon-reload":
            return self._reload()
        if verb == "is-system-running":
            return 0, "running"
        if verb == "reset-failed" and not names:
            names = list(self._services)
        status, lines = 0, []
        for name in names:
            one, text = await self._answer_one(verb, name, request)
            status = status or one
            lines += [text] if text else []
        return status, "\n".join(lines)

    async def _answer_one(self, verb: str, name: str, request: dict[str, Any]) -> Reply:
        try:
            service = self.service(name)
        except UnitError as error:
            return _unknown(verb, str(error))
        match verb:
            case "start" | "restart" | "stop":
                return await self._job(verb, service, request["no_block"])
            case "reset-failed":
                service.reset_failed()
            case "enable":
                _enable(service)
            case "show":
                return 0, _shown(_properties(service), request)
            case "is-active":
                return (0 if service.active == "active" else 3), service.active
            case _:
                return 1, f"Unknown command verb {verb}."
        return 0, ""

    async def _job(self, verb: str, service: Service, no_block: bool) -> Reply:
        async def work() -> bool:
            if verb != "start":
                await service.stop()
            return verb == "stop" or await service.start()

        if no_block:
            self._keep(work())
            return 0, ""
        if await work():
            return 0, ""
        return 1, f"Job for {service.unit.name} failed: {service.result}."

    def _reload(self) -> Reply:
        for name, service in list(self._services.items()):
            try:
                service.unit = _read(UNITS / name)
            except (OSError, UnitError) as error:
                _journal(name, os.getpid(), str(error))
                if service.active in ("inactive", "failed"):
                    del self._services[name]
        return 0, ""

    def _start_later(self, names: list[str]) -> None:
        async def start(name: str) -> None:
            try:
                await self.service(name).start()
            except UnitError as error:
                _journal(name, os.getpid(), str(error))

        for name in names:
            self._keep(start(name))

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(path: Path) -> Any:
    home = str(HOME)
    user, uid = os.environ["USER"], str(os.getuid())
    specifiers = {"h": home, "t": str(RUNTIME), "u": user, "U": uid, "E": f"{home}/.config"}
    return read_unit(path, specifiers | {"S": f"{home}/.config", "C": f"{home}/.cache"})


def _unknown(verb: str, why: str) -> Reply:
    """What the verbs that only ask say of a unit that is not there."""
    match verb:
        case "is-active":
            return 3, "inactive"
        case "show":
            return 0, "LoadState=not-found\nActiveState=inactive\nSubState=dead\nNRestarts=0"
        case _:
            return 5 if "could not be found" in why else 1, why


def _properties(service: Service) -> dict[str, str]:
    return {
        "Id": service.unit.name,
        "LoadState": "loaded",
        "ActiveState": service.active,
        "SubState": service.sub,
        "Result": service.result,
        "NRestarts": str(service.restarts),
        "MainPID": str(service.main_pid),
        "ExecMainStatus": str(service.exit_status),
        "InvocationID": service.invocation,
        "FragmentPath": str(UNITS / service.unit.name),
        "UnitFileState": "enabled" if (WANTS / service.unit.name).is_symlink() else "disabled",
    }


def _shown(properties: dict[str, str], request: dict[str, Any]) -> str:
    wanted = request["properties"] or list(properties)
    known = {name: properties[name] for name in wanted if name in properties}
    if request["value"]:
        return "\n".join(known.values())
    return "\n".join(f"{name}={value}" for name, value in known.items())


def _enable(service: Service) -> None:
    for target in service.unit.words("WantedBy", "Install"):
        link = UNITS / f"{target}.wants" / service.unit.name
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(UNITS / service.unit.name)


def _journal(unit: str, pid: int, message: str) -> None:
    entry = {"time_s": time.time(), "unit": unit, "pid": pid, "message": message}
    with JOURNAL.open("a") as file:
        file.write(json.dumps(entry) + "\n")


async def _serve() -> None:
    supervisor = Supervisor()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        status, text = await supervisor.answer(request)
        with suppress(ConnectionError):  # the client was killed meanwhile
            writer.write(json.dumps([status, text]).encode() + b"\n")
            await writer.drain()
            writer.close()

    SOCKET.parent.mkdir(exist_ok=True)
    await asyncio.start_unix_server(converse, SOCKET)
    supervisor.boot()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
