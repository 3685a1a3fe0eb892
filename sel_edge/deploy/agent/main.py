"""`agent.pyz talk`, `agent.pyz trial`, `agent.pyz version`."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import preflight, receive, service, trust
from .install import install, unwritable
from .place import HASH, Place
from .process import pass_on
from .release import FILE, load_release
from .trial import open_trial, require_no_trial, resume_trial, run_trial
from .wire import Refusal, Wire, field, malformed

PROTOCOL = 1
MOST_LINES = 100_000


def main(arguments: list[str]) -> int:
    """Do what the first argument says.

    Args:
        arguments: `talk`, `trial` or `version`.
    """
    place = Place(Path.home() / ".local" / "share" / "sel-edge")
    if arguments == ["version"]:
        print(PROTOCOL)
    elif arguments == ["trial"]:
        run_trial(place)
    elif arguments == ["talk"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the request under way is done to its end
        Talk(place, Wire(sys.stdin.buffer, sys.stdout.buffer)).run()
    else:
        print("usage: agent.pyz talk|trial|version", file=sys.stderr)
        return 2
    return 0


class Talk:
    """One conversation with a workstation.

    Args:
        place: the folder of the releases.
        wire: to the workstation.
    """

    def __init__(self, place: Place, wire: Wire) -> None:
        self._place, self._wire = place, wire
        self._nonce = secrets.token_hex(16)
        self._claim: int | None = None

    def run(self) -> None:
        """Answer until the input ends."""
        resume_trial(self._place)
        self._wire.send({"protocol": PROTOCOL, "nonce": self._nonce})
        while self._answer():
            pass

    def _answer(self) -> bool:
        """Answer one request; whether another one may follow."""
        content: bytes | None = b""
        try:
            request = self._wire.request()
            if request is not None and request["op"] == "put":
                content = self._wire.raw(receive.piece_size(request))
            if request is None or content is None:
                return False
        except Refusal as refusal:  # where the next request begins is not known
            self._wire.send(refusal.as_dict())
            return False
        try:
            answer = self._done(request, content)
        except Refusal as refusal:
            answer = refusal.as_dict()
        except OSError as error:
            answer = unwritable(error).as_dict()
        if answer is not None:
            self._wire.send({"ok": True, **answer})
        return answer is not None

    def _done(self, request: dict[str, Any], content: bytes) -> dict[str, Any] | None:
        """Do what is asked for; None if the answer was the last."""
        place, name = self._place, request["op"]
        reading: dict[str, Callable[[], dict[str, Any] | None]] = {
            "preflight": lambda: preflight.examine(place, request),
            "state": self._state,
            "trial": lambda: {"trial": place.open_trial(), "last": place.last()},
            "logs": lambda: self._logs(request),
        }
        changing: dict[str, Callable[[], dict[str, Any]]] = {
            "trust": lambda: self._trust(request),
            "begin": lambda: self._begin(request),
            "put": lambda: receive.put(place, request, content),
            "install": lambda: self._install(request),
            "activate": lambda: self._activate(_hash(request)),
            "rollback": lambda: self._activate(self._earlier(request)),
            "undeploy": lambda: self._undeploy(request),
        }
        if name in reading:
            return reading[name]()
        if name not in changing:
            raise malformed(f"The request {name[:20]!r} is not known.")
        with place.lock():
            require_no_trial(place)
            return changing[name]()

    def _state(self) -> dict[str, Any]:
        place = self._place
        current = place.linked("current")
        texts = {name: place.text(name, FILE) for name in place.installed()}
        outcomes = place.outcomes()
        return {
            "current": current,
            "release": current and texts.get(current),
            "unit": current and place.text(current, service.SERVICE),
            "readyz": current and self._readyz(current),
            "previous": place.linked("previous"),
            "releases": [
                {"hash": name, "release": text, "outcome": outcomes.get(name)}
                for name, text in texts.items()
            ],
            "keys": trust.fingerprints(place),
            "trial": place.open_trial(),
            "last": place.last(),
            "service": service.show(),
        }

    def _readyz(self, release: str) -> dict[str, Any] | None:
        try:
            return service.ask_ready(load_release(self._place.releases / release).port)
        except Refusal:  # a damaged one must not keep anybody from deploying the next
            return None

    def _trust(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = field(request, "keys", list)
        trust.add_keys(self._place, keys, self._signature(request), self._nonce)
        return {"keys": trust.fingerprints(self._place)}

    def _begin(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = receive.begin(self._place, request)
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        if not answer["ready"]:  # another workstation may be sending as well
            self._claim = receive.claim(self._place.incoming / answer["hash"])
        return answer

    def _signature(self, request: dict[str, Any]) -> str | None:
        is_there = request.get("signature") is not None
        return field(request, "signature", str) if is_there else None

    def _install(self, request: dict[str, Any]) -> dict[str, Any]:
        install(self._place, _hash(request), self._wire.progress)
        return {}

    def _activate(self, name: str) -> dict[str, Any]:
        lingers = preflight.enable_linger()
        return {"trial": open_trial(self._place, name), "lingers": lingers}

    def _earlier(self, request: dict[str, Any]) -> str:
        to = request.get("to")
        if to is None:
            previous = self._place.linked("previous")
            if previous is None:
                raise _not_one("No other release ran before on this board.")
            return previous
        found = [name for name in self._place.installed() if name.startswith(str(to))]
        if len(found) != 1 or not to:
            raise _not_one(f"{len(found)} releases on this board begin with {str(to)[:64]!r}.")
        return found[0]

    def _undeploy(self, request: dict[str, Any]) -> dict[str, Any]:
        purge = field(request, "purge", bool)
        if purge:  # a board that forgets its keys takes the next ones from anybody
            trust.require_owner(self._place, self._nonce, self._signature(request), purge=True)
        service.systemctl("stop", service.SERVICE)
        service.remove_units()
        self._place.clear(with_state=purge)
        return {}

    def _logs(self, request: dict[str, Any]) -> None:
        """Pass on what journalctl prints, until it ends or nobody is there any more."""
        lines, follow = field(request, "lines", int), field(request, "follow", bool)
        if not 0 <= lines <= MOST_LINES:
            raise malformed(f"{lines} lines are asked for.")
        command = ["journalctl", "--user", "--unit", service.SERVICE, "--no-pager"]
        command += ["--lines", str(lines), *(["--follow"] if follow else [])]
        self._wire.send({"ok": True})
        pass_on(command, self._wire.source)


def _hash(request: dict[str, Any]) -> str:
    name: str = field(request, "hash", str)
    if not HASH.fullmatch(name):
        raise malformed("A release is named by no hash.")
    return name


def _not_one(found: str) -> Refusal:
    return Refusal(
        "release",
        found,
        "A release that is still on the board is expected.",
        "`sel-edge status` shows what there is.",
    )
