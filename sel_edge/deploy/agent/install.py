"""Making a release ready: its files in place, its own environment, one answer out of it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from .place import Place, remove_release, write_atomic
from .process import call
from .release import Release, check_files, load_release, wrong
from .wire import Refusal

SLOWEST_S = 1800
"""Of pip on a slow card."""
TAIL_LINES = 6
LEAST_FREE_BYTES = 1024 * 1024
"""Below, whatever failed is put down to a full disk."""

_FULL = ("[Errno 28]", "[Errno 122]")
"""No space left, quota exceeded."""


def install(place: Place, name: str, progress: Callable[[str], None]) -> None:
    """Make a received release ready to run. Done twice, or after a power cut, it does the rest.

    Args:
        place: the folder of the releases.
        name: hash of a release that was received.
        progress: takes what is being done.

    Raises:
        Refusal: a file is not right, pip fails, or the new program cannot answer.
    """
    folder = place.releases / name
    if place.is_ready(name):
        return
    received = place.incoming / name
    try:
        if not folder.exists():
            progress("checking the files")
            check_files(load_release(received), received)
            os.sync()
            received.rename(folder)
        release = load_release(folder)
        check_files(release, folder)
        _make_environment(release, folder, progress)
        progress("asking the new program for an answer")
        _ask(folder)
        if release.token and not place.token.exists():
            write_atomic(place.token, secrets.token_hex(32).encode())
        os.sync()
        write_atomic(folder / "ready", b"")
    except Refusal:
        shutil.rmtree(folder / "venv", ignore_errors=True)
        raise
    except OSError as error:
        # Whatever it was: the release that runs needs the space more.
        remove_release(folder)
        raise unwritable(error) from None


def unwritable(error: OSError) -> Refusal:
    """What the board's operating system refused: mostly because its disk is full."""
    detail = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        found = f"The board's disk takes no more: {detail}."
        return Refusal("storage", found, "", "Free some space on the board, then deploy again.")
    where = f" ({error.filename})" if error.filename else ""
    action = "Log in to the board and mend that, then run the command again."
    return Refusal("storage", f"The board says: {detail}{where}.", "", action)


def require_ready(place: Place, name: str) -> Release:
    """A release that can be switched to.

    Raises:
        Refusal: it was not installed to the end.
    """
    if not place.is_ready(name):
        raise wrong(f"{name[:12]} is not installed on this board")
    return load_release(place.releases / name)


def _make_environment(release: Release, folder: Path, progress: Callable[[str], None]) -> None:
    """A virtual environment; pip runs from its wheel, so the board needs neither pip nor
    ensurepip."""
    venv, wheels = folder / "venv", folder / "wheels"
    shutil.rmtree(venv, ignore_errors=True)
    progress("making the environment")
    extra = ["--system-site-packages"] if release.system_packages else []
    _require([sys.executable, "-m", "venv", "--without-pip", *extra, str(venv)], folder)
    (pip,) = wheels.glob("pip-*.whl")
    call = [str(venv / "bin" / "python"), str(pip / "pip"), "install", "--no-input"]
    call += ["--disable-pip-version-check", "--no-cache-dir", "--find-links", str(wheels)]
    call += [] if release.index else ["--no-index", "--isolated"]
    own = {"TMPDIR": str(venv)}  # /tmp may be half of the memory, and what it leaves goes with venv
    if not release.index:  # what the board's pip.conf names is no source of packages either
        own["PIP_CONFIG_FILE"] = os.devnull
    progress("installing " + ", ".join(release.requirements))
    _require([*call, *release.requirements], folder, own)


def _ask(folder: Path) -> None:
    _require([sys.executable, str(folder / "agent.pyz"), "version"], folder)
    _require([str(folder / "venv" / "bin" / "sel-edge"), "inspect", "bundle", "--answer"], folder)


def _require(command: list[str], folder: Path, own: dict[str, str] | None = None) -> None:
    given = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    given.update(own or {})
    code, said = call(command, SLOWEST_S, folder=folder, environment=given)
    if code == 0:
        return
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES or any(sign in said for sign in _FULL):
        raise OSError(errno.ENOSPC, "No space left on device")
    tail = " / ".join(said.strip().splitlines()[-TAIL_LINES:])
    step = " ".join(Path(part).name for part in command[:4])
    raise Refusal(
        "install",
        f"The release cannot be installed: `{step}` ended with {code}: {tail}",
        "What runs on the board was not touched.",
        "Correct what it says, then deploy again.",
    )
