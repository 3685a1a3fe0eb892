"""The trial of a release: switch, watch, keep or go back.

Every step may be cut off, and is then done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from . import service
from .health import PAUSE_S, Window
from .install import require_ready
from .place import Place, busy, relink, remove_release, sync_folder, write_atomic
from .process import call
from .release import SIGNATURE, Release, check_files, load_release
from .trust import RELEASE, verify
from .wire import Refusal

MOST_ATTEMPTS = 3
"""At a switch that nobody lived to decide about: a release may bring the whole board down."""
KEPT_RELEASES = 3
SLOWEST_S = 60


def open_trial(place: Place, name: str) -> str:
    """Have the service manager switch to a release and decide about it, come what may.

    Args:
        place: the folder of the releases, locked.
        name: hash of a release that is ready.

    Returns:
        The trial's id.

    Raises:
        Refusal: another trial is open; the release is not ready, not signed by a key of the board
            or damaged; or there is no service manager, and then no trial is open.
    """
    require_no_trial(place)
    release = require_ready(place, name)
    folder = place.releases / name
    verify(place, RELEASE, (folder / "release.json").read_bytes(), (folder / SIGNATURE).read_text())
    check_files(release, folder)
    _require_agent(place, folder / "agent.pyz")
    service.place_units(place)
    service.require("daemon-reload")
    previous = place.linked("current")
    place.link("revert", previous)
    trial = {
        "id": secrets.token_hex(8),
        "release": name,
        "previous": previous,
        "phase": "switch",
        "attempts": 0,
        "reason": "",
    }
    write_atomic(place.trial, json.dumps(trial).encode())
    try:
        service.require("start", "--no-block", service.TRIAL)
    except Refusal:  # the workstation is told no, so nothing may be switched later
        _close(place)
        raise
    return str(trial["id"])


def require_no_trial(place: Place) -> None:
    """Refuse to do anything while a trial is open."""
    if place.open_trial() is not None:
        raise busy("A release is on trial on this board.")


def resume_trial(place: Place) -> None:
    """Start the unit of a trial that is open with nobody at work on it."""
    if place.trial.exists():
        service.systemctl("start", "--no-block", service.TRIAL)


def run_trial(place: Place) -> None:
    """Bring the open trial to its end, if there is one."""
    with place.lock(is_patient=True):
        told = place.open_trial()
        if told is not None:
            Trial(place, told).run()


def _require_agent(place: Place, brought: Path) -> None:
    """Have an agent in its place that can do a trial: there is none yet, or it was damaged."""
    code, _ = call([sys.executable, str(place.agent), "version"], SLOWEST_S)
    if code:
        write_atomic(place.agent, brought.read_bytes())


def _close(place: Place) -> None:
    place.trial.unlink(missing_ok=True)
    sync_folder(place.root)


class Trial:
    """One switch to a release.

    Args:
        place: the folder of the releases, locked.
        told: what trial.json says.
    """

    def __init__(self, place: Place, told: dict[str, Any]) -> None:
        self._place, self._told = place, told
        self._name, self._previous = told["release"], told["previous"]

    def run(self) -> None:
        """Go on where it was; an outcome that the journal has already is not decided again."""
        if (self._place.last() or {}).get("id") != self._told["id"]:
            self._decide()
        with contextlib.suppress(OSError):  # what cannot be removed must not undo a decision
            prune(self._place)
        _close(self._place)

    def _decide(self) -> None:
        try:
            failure = self._switched() if self._told["phase"] == "switch" else self._told["reason"]
        except (OSError, Refusal) as error:
            failure = f"It cannot be switched to: {error}"
        if failure:
            self._told.update(phase="revert", reason=failure)
            self._save(is_urgent=False)
            self._revert()
        else:
            self._keep()

    def _switched(self) -> str:
        """Switch and watch; why the release is no good, or ""."""
        self._told["attempts"] += 1
        if self._told["attempts"] > MOST_ATTEMPTS:
            return f"{MOST_ATTEMPTS} attempts were cut off before there was a verdict."
        self._save(is_urgent=True)
        self._place.link("current", self._name)
        self._restart()
        return self._window(load_release(self._place.releases / self._name)).failure()

    def _keep(self) -> None:
        """The release is good: what it replaced can be gone back to."""
        place = self._place
        if self._previous not in (None, self._name):
            place.link("previous", self._previous)
        brought = (place.releases / self._name / "agent.pyz").read_bytes()
        if place.agent.read_bytes() != brought:
            write_atomic(place.agent, brought)
        self._record("good")

    def _revert(self) -> None:
        """Go back. Links are renamed, which works on a full disk."""
        place, restored = self._place, None
        if self._previous is None:
            service.systemctl("stop", service.SERVICE)
            place.link("current", None)
        else:
            if place.linked("current") != self._previous:
                self._link_back()
            restored = self._restored()
        self._record("reverted", restored=restored)

    def _link_back(self) -> None:
        place = self._place
        if place.linked("revert") == self._previous:
            (place.root / "revert").replace(place.root / "current")
        else:
            relink(place.root / "current", f"releases/{self._previous}")
        sync_folder(place.root)

    def _restored(self) -> bool:
        """Start what ran before; whether it is ready."""
        try:
            release = load_release(self._place.releases / self._previous)
        except Refusal:  # it may run all the same
            release = None
        for _ in range(MOST_ATTEMPTS):
            with contextlib.suppress(Refusal):
                self._restart()
                return release is not None and not self._window(release).unready()
            time.sleep(PAUSE_S)
        return False

    def _restart(self) -> None:
        service.require("daemon-reload")
        service.systemctl("stop", service.SERVICE)
        service.systemctl("reset-failed", service.SERVICE)
        service.require("start", "--no-block", service.SERVICE)

    def _window(self, release: Release) -> Window:
        return Window(
            release,
            service.show,
            lambda: service.ask_ready(release.port),
            time.monotonic,
            time.sleep,
        )

    def _save(self, is_urgent: bool) -> None:
        """Write trial.json; what is not urgent only saves work when this is cut off."""
        try:
            write_atomic(self._place.trial, json.dumps(self._told).encode())
        except OSError:
            if is_urgent:
                raise

    def _record(self, outcome: str, **more: Any) -> None:
        """Append the outcome to the journal."""
        told = {key: value for key, value in self._told.items() if key != "phase"}
        line = {**told, "outcome": outcome, "time": int(time.time()), **more}
        try:
            self._append(line)
        except OSError:
            # The disk is full. A release that was given up is what nobody needs.
            if outcome == "reverted" and self._name != self._previous:
                remove_release(self._place.releases / self._name)
            self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        with self._place.journal.open("ab") as file:
            # A line that a power cut has torn is ended first.
            file.write(b"\n" + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def prune(place: Place) -> None:
    """Remove all but the newest releases, never those that run or ran before."""
    kept = {place.linked("current"), place.linked("previous")}
    newest = [name for name in reversed(place.installed()) if name not in kept]
    kept.update(newest[: KEPT_RELEASES - len(kept - {None})])
    for folder in place.releases.iterdir():
        if folder.name not in kept:
            remove_release(folder)
