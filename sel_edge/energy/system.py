"""Where a machine tells about itself, and how its answers are read: strictly, in small pieces."""

from __future__ import annotations

import errno
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sel_edge.core.errors import MissingDependencyError

_LONGEST = 4096
_VCGENCMD_SECONDS = 2.0


@dataclass(frozen=True)
class System:
    """The places that are looked at; tests put recorded trees there.

    Attributes:
        sys: the kernel's sysfs.
        model: the device tree's name of the board.
        vcgencmd: the Raspberry Pi firmware's command, as a name on the PATH or as a path.
    """

    sys: Path = Path("/sys")
    model: Path = Path("/proc/device-tree/model")
    vcgencmd: str = "vcgencmd"


THIS_MACHINE = System()


class RefusedError(Exception):
    """A source of readings is there and cannot be used; the text says why and what would help."""


def read_text(path: Path) -> str:
    """A small file's content without surrounding white space; what is no UTF-8 becomes U+FFFD.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(_LONGEST).decode(errors="replace").strip("\0 \t\r\n")


def read_integer(path: Path, least: int, most: int) -> int:
    """The one decimal number that a sysfs file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds anything but a number from `least` to `most`.
    """
    text = read_text(path)
    # int() alone takes underscores, signs of other scripts and numbers of any length.
    if not re.fullmatch(r"-?[0-9]{1,20}", text) or not least <= int(text) <= most:
        shown = text if len(text) <= 24 else f"{text[:24]}..."
        raise ValueError(f"{path} holds {shown!r} where {least} to {most} is possible")
    return int(text)


def board(system: System = THIS_MACHINE) -> str:
    """The device tree's name of this board, e.g. "Raspberry Pi 5 Model B Rev 1.0", else ""."""
    try:
        return read_text(system.model)
    except OSError:
        return ""


def ask_firmware(system: System, question: str) -> str:
    """What `vcgencmd QUESTION` prints.

    Raises:
        OSError: there is no such command, or it fails or does not answer.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed program and a fixed question
            [system.vcgencmd, question],
            capture_output=True,
            timeout=_VCGENCMD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"vcgencmd {question} does not answer") from None
    printed = answer.stdout[:_LONGEST].decode(errors="replace")
    if answer.returncode != 0:
        said = " ".join((printed + answer.stderr[:_LONGEST].decode(errors="replace")).split())
        raise OSError(errno.EIO, f"vcgencmd {question} fails: {said or answer.returncode}")
    return printed


def lost(meter: str, error: Exception) -> MissingDependencyError:
    """The error of a meter that worked when it was opened and does not any more."""
    return MissingDependencyError(
        f"The energy meter {meter} can no longer be read: {error}.",
        "A meter that was readable at the start is expected to stay so.",
        "Check the sensor and its permissions, then run the command again; without the meter it "
        "falls back to the device profile's estimate.",
    )
