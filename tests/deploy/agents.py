"""What tests of the agent share: a place, keys, small releases, a service as it is told to be."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sel_edge.bundle.keys import PrivateKey
from sel_edge.bundle.sshsig import sshsig
from sel_edge.core.files import canonical_json, sha256_bytes
from sel_edge.deploy.agent import receive, service, trust
from sel_edge.deploy.agent.place import Place, write_atomic
from sel_edge.deploy.agent.wire import Wire

Files = Mapping[str, bytes]
FILES: Files = {
    "bundle/manifest.json": b"{}",
    "bundle/weights.safetensors": bytes(range(256)) * 40,
    "wheels/pip-26.0-py3-none-any.whl": b"pip" * 500,
    "wheels/sel_edge-1.0-py3-none-any.whl": b"sel-edge" * 300,
    "sel-edge.service": b"[Service]\n",
    "agent.pyz": b"agent",
}
BUNDLE = "b0" * 32


def described(files: Files = FILES, **changes: Any) -> dict[str, Any]:
    """What a release.json says of files."""
    members = {n: {"bytes": len(c), "sha256": sha256_bytes(c)} for n, c in files.items()}
    fields = {
        "schema": 1,
        "version": "1.0",
        "bundle": BUNDLE,
        "files": members,
        "requirements": ["sel-edge[serve]==1.0"],
        "index": False,
        "system_packages": False,
        "port": 8765,
        "token": False,
        "ready_s": 5,
        "watch_s": 3,
    }
    return {**fields, **changes}


def trusting(folder: Path, key: PrivateKey) -> Place:
    """A place that was given a key."""
    place = Place(folder / "root")
    place.make()
    trust.add_keys(place, [key.public.raw.hex()], None, "")
    return place


def begin(place: Place, key: PrivateKey, content: bytes) -> dict[str, Any]:
    """Tell a place of a release that a key signs."""
    signature = sshsig(key, trust.RELEASE, content).decode()
    request = {"op": "begin", "release": content.decode(), "signature": signature}
    return receive.begin(place, request)


def put(place: Place, release: str, path: str, offset: int, content: bytes) -> None:
    """Send a piece of a file."""
    request = {"op": "put", "hash": release, "path": path, "offset": offset}
    receive.put(place, request, content)


def send(place: Place, key: PrivateKey, files: Files = FILES, **changes: Any) -> str:
    """Send a whole release to a place; its hash."""
    content = canonical_json(described(files, **changes))
    answer = begin(place, key, content)
    for path, offset in answer["missing"].items():
        put(place, answer["hash"], path, offset, files[path][offset:])
    return str(answer["hash"])


def installed(place: Place, key: PrivateKey, files: Files = FILES, **changes: Any) -> str:
    """A release that is ready, as if pip had been there; its hash."""
    name = send(place, key, files, **changes)
    (place.incoming / name).rename(place.releases / name)
    write_atomic(place.releases / name / "ready", b"")
    return name


def wire(*requests: dict[str, Any] | bytes) -> tuple[Wire, io.BytesIO]:
    """A wire on which requests (or raw bytes) lie, and where its answers go."""
    parts = [r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in requests]
    sink = io.BytesIO()
    return Wire(io.BytesIO(b"".join(parts)), sink), sink


def near_board(folder: Path, patch: pytest.MonkeyPatch, systemctl: str) -> Path:
    """A board that `ssh` reaches without a network; its home.

    Args:
        folder: an empty one.
        patch: lets SEL_EDGE_SSH name that ssh.
        systemctl: shell commands that it is.
    """
    home, tools = folder / "home", folder / "tools"
    home.mkdir()
    tools.mkdir()
    script(tools / "systemctl", systemctl)
    for name in ("loginctl", "journalctl"):
        script(tools / name, "exit 1")
    (tools / "python3").symlink_to(sys.executable)
    path = f"{tools}:/usr/bin:/bin"
    # The last argument is the command; a login shell would run it in the home.
    run = f'cd {home}; exec env HOME={home} PATH={path} sh -c "$last"'
    script(folder / "ssh", f"for last; do :; done; {run}")
    patch.setenv("SEL_EDGE_SSH", str(folder / "ssh"))
    return home


def script(path: Path, text: str) -> None:
    """A program of a few shell commands."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class Supervisor:
    """Stands for systemd and for the daemon in `agent.service`.

    Args:
        place: whose `current` it runs.
        bad: releases that never get ready.

    Attributes:
        running: the release that runs; None for none.
    """

    def __init__(self, place: Place, bad: set[str]) -> None:
        self._place, self._bad = place, bad
        self.running: str | None = None

    def systemctl(self, *arguments: str) -> tuple[int, str]:
        """Do what it says."""
        if arguments[-1] == service.SERVICE:
            if arguments[0] == "stop":
                self.running = None
            elif arguments[0] == "start":
                self.running = self._place.linked("current")
        return 0, ""

    def show(self) -> dict[str, str]:
        """The service as systemd sees it."""
        if self.running in self._bad:
            return {"ActiveState": "failed", "Result": "exit-code", "NRestarts": "5"}
        return {"ActiveState": "active" if self.running else "inactive", "NRestarts": "0"}

    def ask_ready(self, port: int) -> dict[str, Any] | None:
        """What the daemon says."""
        if self.running is None or self.running in self._bad:
            return None
        return {"status": 200, "ready": True, "first_answer": True, "bundle": BUNDLE}
