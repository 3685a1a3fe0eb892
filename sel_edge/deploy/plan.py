"""What a deployment would change on a board."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sel_edge.deploy.release import Release
from sel_edge.deploy.unit import without_logins

SETTINGS = {
    "version": "sel-edge",
    "bundle": "bundle",
    "requirements": "packages",
    "index": "pip asks its index",
    "system_packages": "uses the board's own packages",
    "port": "port of the page",
    "token": "the page asks for a token",
    "ready_s": "seconds to get ready in",
    "watch_s": "seconds that it is watched",
}
"""Key of release.json -> what it is called."""
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Plan:
    """The difference between what runs and what would run.

    Attributes:
        release: hash of what would run.
        current: hash of what runs; None for nothing.
        is_working: what runs is what would run, and works.
        added, changed, removed: paths of files.
        settings: name -> what it is (None without a release) and what it would be.
        unit: lines of a unified diff, without the logins of network cameras.
    """

    release: str
    current: str | None
    is_working: bool
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    unit: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def lines(self, is_dry: bool) -> list[str]:
        """The difference in words.

        Args:
            is_dry: nothing is going to be changed.
        """
        told = [f"Release {self.release[:12]} {self._comes(is_dry)}."]
        if self.is_working:
            return told
        for name, (old, new) in self.settings.items():
            before = "" if old is None else f"{_in_words(name, old)} -> "
            told.append(f"  {SETTINGS[name]}: {before}{_in_words(name, new)}")
        if self.current is None:
            for name, count in Counter(path.partition("/")[0] for path in self.added).items():
                told.append(
                    f"  + {name}: {count} files" if name not in self.added else f"  + {name}"
                )
            return told
        for sign, paths in (("+", self.added), ("~", self.changed), ("-", self.removed)):
            told += [f"  {sign} {path}" for path in paths]
        return told + [f"  {line}" for line in self.unit]

    def _comes(self, is_dry: bool) -> str:
        """What becomes of the release, behind its name."""
        if self.is_working:
            return f"runs already; nothing {'would change' if is_dry else 'is changed'}"
        if self.current is None:
            return f"{'would be' if is_dry else 'is'} the first on this board"
        if self.current == self.release:
            return f"is there, does not work, and {'would be' if is_dry else 'is'} restarted"
        return f"{'would follow' if is_dry else 'follows'} {self.current[:12]}"


def make_plan(state: Mapping[str, Any], release: Release) -> Plan:
    """Compare a release with what a board has.

    Args:
        state: the agent's answer to `state`; nothing in it is believed.
        release: what would run.
    """
    current = state.get("current")
    new = json.loads(release.content)
    old = _described(state.get("release"))
    files, there = new["files"], _table(old.get("files"))
    return Plan(
        release=release.hash,
        current=current if isinstance(current, str) else None,
        is_working=current == release.hash and _is_working(state, new["bundle"]),
        added=tuple(sorted(files.keys() - there.keys())),
        changed=tuple(sorted(n for n in files.keys() & there.keys() if files[n] != there[n])),
        removed=tuple(sorted(str(name) for name in there.keys() - files.keys())),
        settings={n: (old.get(n), new[n]) for n in SETTINGS if old.get(n) != new[n]},
        unit=_unit_difference(state.get("unit"), release),
    )


def _is_working(state: Mapping[str, Any], bundle: str) -> bool:
    ready, service = _table(state.get("readyz")), _table(state.get("service"))
    is_ready = ready.get("ready") is True and ready.get("bundle") == bundle
    return is_ready and service.get("ActiveState") == "active"


def _unit_difference(there: Any, release: Release) -> tuple[str, ...]:
    old = there.splitlines() if isinstance(there, str) else []
    lines = difflib.unified_diff(old, release.unit.splitlines(), lineterm="", n=0)
    shown = (line for line in lines if not line.startswith(("---", "+++", "@@")))
    return tuple(without_logins(line) for line in shown)


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)[:_SHOWN_DIGITS] if name == "bundle" else str(value)


def _described(text: Any) -> dict[str, Any]:
    try:
        return _table(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
