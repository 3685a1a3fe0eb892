"""Unit files of systemd, as far as the supervisor stand-in honours them; all else is refused.

Facts are from systemd 252's manual: systemd.syntax(7), systemd.unit(5), systemd.service(5).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

HONOURED = {
    "Unit": {"ConditionPathExists", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "ExecStart", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec",
        "WatchdogSec", "NotifyAccess", "Environment", "WorkingDirectory", "UMask",
        "PrivateUsers", "ProtectSystem", "ProtectHome", "ReadWritePaths", "InaccessiblePaths",
    },
    "Install": {"WantedBy"},
}  # fmt: skip

# What changes nothing that a test here could see; systemd-analyze judges it.
INERT = {
    "Unit": {"Description"},
    "Service": {
        "ExecReload", "MemoryMax", "CPUQuota", "TasksMax", "PrivateTmp", "NoNewPrivileges",
        "ProtectKernelTunables", "ProtectControlGroups", "RestrictNamespaces", "RestrictRealtime",
        "RestrictSUIDSGID", "LockPersonality", "RestrictAddressFamilies",
        "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber",
    },
    "Install": set(),
}  # fmt: skip

UNITS_S = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "": 1, "s": 1, "sec": 1, "second": 1,
    "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hr": 3600,
    "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip


class UnitError(Exception):
    """A unit file that systemd, or this stand-in, would not take as it is."""


@dataclass(frozen=True)
class Unit:
    """A service as its file says: section -> setting -> values in order."""

    name: str
    settings: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def values(self, setting: str, section: str = "Service") -> list[str]:
        return self.settings.get(section, {}).get(setting, [])

    def value(self, setting: str, default: str, section: str = "Service") -> str:
        return (self.values(setting, section) or [default])[-1]

    def seconds(self, setting: str, default: str, section: str = "Service") -> float:
        return seconds(self.value(setting, default, section))

    def words(self, setting: str, section: str = "Service") -> list[str]:
        return [word for value in self.values(setting, section) for word in shlex.split(value)]

    def command(self) -> list[str]:
        """Program and arguments of ExecStart."""
        (value,) = self.values("ExecStart")
        words = shlex.split(value)
        if not words[0].startswith("/") or re.search(r"(?<!\$)\$(?!\$)", value):
            raise UnitError(f"{value!r} has no absolute path, or variables")
        return [word.replace("$$", "$") for word in words]

    def environment(self) -> dict[str, str]:
        return dict(word.partition("=")[::2] for word in self.words("Environment"))


def seconds(text: str) -> float:
    """A time span such as "1min 30s" or "infinity"."""
    if text == "infinity":
        return float("inf")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", "", text):
        raise UnitError(f"{text!r} is no time span")
    try:
        return sum(float(number) * UNITS_S[unit] for number, unit in parts)
    except KeyError as error:
        raise UnitError(f"{text!r} is no time span") from error


def read_unit(path: Path, specifiers: dict[str, str]) -> Unit:
    """Parse and check one file.

    Args:
        specifiers: what stands for %h, %t and so on: letter -> text.

    Raises:
        UnitError: a line, section, setting or specifier that is not known.
    """
    known = specifiers | {"n": path.name, "N": path.stem, "p": path.stem, "%": "%"}
    unit = Unit(path.name)
    section = ""
    for line in _lines(path.read_text()):
        if line.startswith("["):
            section = line.strip("[]")
            unit.settings.setdefault(section, {})
            continue
        setting, equals, value = line.partition("=")
        setting, value = setting.strip(), value.strip()
        if not equals or setting not in HONOURED.get(section, set()) | INERT.get(section, set()):
            raise UnitError(f"{path.name}: [{section}] {line!r} is not known")
        values = unit.settings[section].setdefault(setting, [])
        # Only an empty value takes back what was said before.
        values[:] = [*values, _expand(value, known)] if value else []
    _check(unit)
    return unit


def _lines(text: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and line[0] not in "#;"]


def _expand(value: str, known: dict[str, str]) -> str:
    def meaning(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UnitError(f"{match[0]} is not known in {value!r}")
        return known[match[1]]

    return re.sub(r"%(.)", meaning, value)


def _check(unit: Unit) -> None:
    if len(unit.values("ExecStart")) != 1:
        raise UnitError(f"{unit.name} has not one ExecStart")
    if unit.value("Type", "simple") not in ("exec", "notify", "oneshot"):
        raise UnitError(f"{unit.name}: this Type is not known here")
    unit.command()
    protecting = {"ProtectSystem", "ProtectHome", "ReadWritePaths", "InaccessiblePaths"}
    protected = protecting & unit.settings["Service"].keys()
    if protected and unit.value("PrivateUsers", "no") != "yes":
        raise UnitError(f"{unit.name}: a user's manager protects nothing without PrivateUsers=yes")
