"""Device profiles: what a board has and draws, as TOML files."""

from __future__ import annotations

import platform
import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import sel_edge
from sel_edge.core.errors import ConfigError
from sel_edge.energy.system import THIS_MACHINE, System, board

_PACKAGE = Path(sel_edge.__file__).resolve().parent
# In a wheel the profiles lie inside the package, in a checkout beside it.
_DIRECTORIES = (_PACKAGE / "devices" / "profiles", _PACKAGE.parent / "devices" / "profiles")

# Start of the device tree's model name -> profile; the longest match counts.
_BOARDS = {
    "Raspberry Pi Zero 2 W": "pi-zero-2w",
    "Raspberry Pi 3 Model B Plus": "pi-3b-plus",
    "Raspberry Pi 3 Model A Plus": "pi-3b-plus",
    "Raspberry Pi 4": "pi-4b",
    "Raspberry Pi Compute Module 4": "pi-4b",
    "Raspberry Pi 5": "pi-5",
    "Raspberry Pi Compute Module 5": "pi-5",
}
DEFAULT_PROFILE = "generic-x86"

_VALUE_WITH_SOURCE = re.compile(r"(\w+)\s*=\s*(?:\"[^\"]*\"|[^\"#]*?)\s*#\s*(.+)")
_MORE_OF_THE_SOURCE = re.compile(r"\s+#\s*(.+)")


@dataclass(frozen=True)
class Flash:
    """Flash memory that is soldered to the board and wears out.

    Attributes:
        size_bytes: all of it.
        erase_bytes: the smallest piece that can be erased.
        page_bytes: the largest piece that is programmed at once.
        erase_s: typical seconds to erase `erase_bytes`.
        program_s: typical seconds to program `page_bytes`.
        endurance_cycles: erasures that every piece survives.
    """

    size_bytes: int
    erase_bytes: int
    page_bytes: int
    erase_s: float
    program_s: float
    endurance_cycles: int


@dataclass(frozen=True)
class DeviceProfile:
    """A board.

    Attributes:
        name: as in the file name.
        cores: processor cores, at least 1.
        clock_hz: their highest clock.
        ram_bytes: memory.
        idle_w: watts of the whole board while it does nothing.
        load_w: watts of the whole board with every core busy; more than `idle_w`.
        flops_per_s: float32 operations per second of all cores, sustained; a multiply-add is two.
        bytes_per_s: memory traffic, read and written, sustained.
        j_per_flop: joules above idle of one such operation; 0 or more.
        j_per_byte: joules above idle of one byte read or written; 0 or more.
        celsius_max: temperature at which the processor slows down.
        flash: of a microcontroller; None for a board that stores on a card or a disk.
        measured_by: the meter that the energy figures were measured with; "" if they were not.
    """

    name: str
    cores: int
    clock_hz: int
    ram_bytes: int
    idle_w: float
    load_w: float
    flops_per_s: float
    bytes_per_s: float
    j_per_flop: float
    j_per_byte: float
    celsius_max: float
    flash: Flash | None = None
    measured_by: str = ""


_MAY_BE_ZERO = ("j_per_flop", "j_per_byte")
_RULES = {
    "str": "a text that is not empty",
    "int": "a whole number above 0",
    "float": "a finite number above 0",
    "Flash | None": "a table",
}


def profile_names() -> list[str]:
    """Names of the profiles that come with sel-edge, sorted."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load_profile(name_or_path: str | Path) -> DeviceProfile:
    """Read a profile by its name, or from a file if the argument ends in .toml.

    Hyphens in names may be left out, as in esp32c3.

    Raises:
        ConfigError: there is none, or its keys or values are not those of a profile.
    """
    path = _path(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The device profile {path} cannot be read: {error}.",
            "A TOML file is expected.",
            "Correct the file.",
        ) from error
    if isinstance(flash := values.get("flash"), dict):
        values["flash"] = _built(Flash, path, flash, "flash.")
    profile: DeviceProfile = _built(DeviceProfile, path, values)
    if profile.load_w <= profile.idle_w:
        raise ConfigError(
            f"The device profile {path} has load_w {profile.load_w} and idle_w {profile.idle_w}.",
            "A board draws more under load than idle.",
            "Correct the values.",
        )
    return profile


def load_sources(name_or_path: str | Path) -> dict[str, str]:
    """Key -> where its value comes from: the comment behind it, and the comment lines below it.

    Keys of the table [flash] are "flash.KEY". Keys without a comment are missing.

    Raises:
        ConfigError: there is no such profile.
    """
    sources: dict[str, str] = {}
    table, key = "", ""
    for line in _path(name_or_path).read_text(encoding="utf-8").splitlines():
        if found := _VALUE_WITH_SOURCE.fullmatch(line):
            key = table + found[1]
            sources[key] = found[2].strip()
        elif key and (found := _MORE_OF_THE_SOURCE.fullmatch(line)):
            sources[key] += f" {found[1].strip()}"
        else:
            key = ""
            table = "flash." if line.strip() == "[flash]" else table
    return sources


def detect_profile(system: System = THIS_MACHINE) -> DeviceProfile:
    """The profile of this machine: by the device tree's model name, else by the architecture.

    A board that has no profile of its own gets the smallest Pi's on Arm and the generic x86 profile
    elsewhere; what is computed with it is an estimate in any case.
    """
    model = board(system)
    for name in sorted(_BOARDS, key=len, reverse=True):
        if model.startswith(name):
            return load_profile(_BOARDS[name])
    is_arm = platform.machine().lower().startswith(("aarch64", "arm"))
    return load_profile("pi-zero-2w" if is_arm else DEFAULT_PROFILE)


def _directory() -> Path:
    return next((path for path in _DIRECTORIES if path.is_dir()), _DIRECTORIES[-1])


def _path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    known = {name.replace("-", ""): name for name in profile_names()}
    stem = known.get(text.replace("-", ""), Path(text).name)
    path = Path(text) if text.endswith(".toml") else _directory() / f"{stem}.toml"
    if not path.is_file():
        raise ConfigError(
            f"There is no device profile {text}.",
            f"One of {', '.join(profile_names())}, or the path of a .toml file, is expected.",
            "Choose one of them, or write a file with the same keys.",
        )
    return path


def _built(kind: type[Any], path: Path, values: dict[str, Any], prefix: str = "") -> Any:
    """A dataclass of the values, all of them checked; `prefix` stands before keys in errors."""
    types = {field.name: str(field.type) for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    unknown, missing = sorted(values.keys() - types.keys()), sorted(needed - values.keys())
    if unknown or missing:
        problems = [f"unknown keys {', '.join(prefix + key for key in unknown)}"] if unknown else []
        problems += (
            [f"missing keys {', '.join(prefix + key for key in missing)}"] if missing else []
        )
        raise ConfigError(
            f"The device profile {path} has {' and '.join(problems)}.",
            f"Its keys are {', '.join(prefix + key for key in types)}.",
            "Correct the file.",
        )
    for name, value in values.items():
        if not _fits(value, name, types[name]):
            raise ConfigError(
                f"The device profile {path} has {prefix}{name} = {value!r}.",
                f"{prefix}{name} is {_RULES[types[name]]}{' or 0' * (name in _MAY_BE_ZERO)}.",
                "Correct the value.",
            )
    return kind(**values)


def _fits(value: object, name: str, kind: str) -> bool:
    if kind == "Flash | None":
        return isinstance(value, Flash)
    if kind == "str":
        return isinstance(value, str) and value != ""
    numbers = (int,) if kind == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, numbers):
        return False
    return 0 < value < float("inf") or (value == 0 and name in _MAY_BE_ZERO)
