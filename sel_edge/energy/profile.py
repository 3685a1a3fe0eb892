"""Device profiles: what a board has and draws, as TOML files."""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sel_edge
from sel_edge.core.errors import ConfigError

_PACKAGE = Path(sel_edge.__file__).resolve().parent
# In a wheel the profiles lie inside the package, in a checkout beside it.
_DIRECTORIES = (_PACKAGE / "devices" / "profiles", _PACKAGE.parent / "devices" / "profiles")

# Start of the device tree's model name -> profile; the longest match counts.
_BOARDS = {
    "Raspberry Pi Zero 2 W": "pi-zero-2w",
    "Raspberry Pi 3 Model B Plus": "pi-3b-plus",
    "Raspberry Pi 4 Model B": "pi-4b",
}
DEFAULT_PROFILE = "generic-x86"


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
        celsius_max: temperature at which the processor slows down.
    """

    name: str
    cores: int
    clock_hz: int
    ram_bytes: int
    idle_w: float
    load_w: float
    celsius_max: float


def profile_names() -> list[str]:
    """Names of the profiles that come with sel-edge, sorted."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load_profile(name_or_path: str | Path) -> DeviceProfile:
    """Read a profile by its name, or from a file if the argument ends in .toml.

    Raises:
        ConfigError: there is none, or its keys or values are not those of a profile.
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith(".toml") else _directory() / f"{Path(text).name}.toml"
    if not path.is_file():
        raise ConfigError(
            f"There is no device profile {text}.",
            f"One of {', '.join(profile_names())}, or the path of a .toml file, is expected.",
            "Choose one of them, or write a file with the same keys.",
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The device profile {path} cannot be read: {error}.",
            "A TOML file is expected.",
            "Correct the file.",
        ) from error
    return _profile(path, values)


def detect_profile(device_tree_model: Path = Path("/proc/device-tree/model")) -> DeviceProfile:
    """The profile of this machine: by the device tree's model name, else by the architecture.

    A board that has no profile of its own gets the smallest Pi's on Arm and the generic x86 profile
    elsewhere; what is computed with it is an estimate in any case.
    """
    try:
        model = device_tree_model.read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        model = ""
    for board in sorted(_BOARDS, key=len, reverse=True):
        if model.startswith(board):
            return load_profile(_BOARDS[board])
    is_arm = platform.machine().lower().startswith(("aarch64", "arm"))
    return load_profile("pi-zero-2w" if is_arm else DEFAULT_PROFILE)


def _directory() -> Path:
    return next((path for path in _DIRECTORIES if path.is_dir()), _DIRECTORIES[-1])


def _profile(path: Path, values: dict[str, Any]) -> DeviceProfile:
    types = {field.name: field.type for field in fields(DeviceProfile)}
    unknown, missing = sorted(values.keys() - types.keys()), sorted(types.keys() - values.keys())
    if unknown or missing:
        problems = [f"unknown keys {', '.join(unknown)}"] if unknown else []
        problems += [f"missing keys {', '.join(missing)}"] if missing else []
        raise ConfigError(
            f"The device profile {path} has {' and '.join(problems)}.",
            f"A profile has exactly the keys {', '.join(types)}.",
            "Correct the file.",
        )
    for name, kind in types.items():
        if not _fits(values[name], str(kind)):
            raise ConfigError(
                f"The device profile {path} has {name} = {values[name]!r}.",
                f"{name} is a {kind} above 0." if kind != "str" else f"{name} is a text.",
                "Correct the value.",
            )
    profile = DeviceProfile(**values)
    if profile.load_w <= profile.idle_w:
        raise ConfigError(
            f"The device profile {path} has load_w {profile.load_w} and idle_w {profile.idle_w}.",
            "A board draws more under load than idle.",
            "Correct the values.",
        )
    return profile


def _fits(value: object, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str) and value != ""
    numbers = (int,) if kind == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, numbers):
        return False
    return 0 < value < float("inf")
