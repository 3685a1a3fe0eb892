"""Random commits, confirmations and rollbacks of a small network, for `tools.powercut`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.errors import SelEdgeError
from sel_edge.runtime.network import Network
from sel_edge.runtime.slot_book import KEEP_DELTAS
from sel_edge.runtime.slots import Slots, open_slots

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "frozen" / "bundle-v2-trainable"
MAX_FILES = KEEP_DELTAS + 16
"""Deltas, and at most a few more: the slots, the keys, the lock and what one kill leaves."""


class SlotsJob:
    """Slots in a directory, and the networks that may be in use after a kill.

    Args:
        directory: of the state; empty at first.
    """

    longest_s = 0.06

    def __init__(self, directory: Path) -> None:
        self._directory, self._bundle = directory, open_bundle(BUNDLE)
        with self._open() as slots:
            self._confirmed = slots.current().hash
        self._committed = {self._confirmed}

    def work(self, seed: int, tell: Callable[[str], None]) -> None:
        """Change the network for ever; a word before and after whatever is written."""
        rng = np.random.default_rng(seed)
        tell("start")
        with self._open() as slots:
            tell(f"use {slots.current().hash}")
            while True:
                self._act(slots, rng, tell)

    def check(self, told: list[str]) -> list[str]:
        """Whether a network loads that may be in use, and what was confirmed can be gone back to.

        This is the second start of a pending network. Half of them are left pending, for the next
        child to give up.
        """
        may, confirmed = self._expected(told)
        try:
            with self._open() as slots:
                problems = list(slots.notes) if _is_damage(slots.notes) else []
                found = slots.current().hash
                problems += [] if found in may else [f"{found} is in use, which was not due."]
                problems += [] if found in self._committed else [f"{found} was never committed."]
                known = {slots.history().unchanged, *(e.network for e in slots.history().entries)}
                missing = not known.intersection(confirmed)
                problems += [f"{confirmed[0]} was confirmed and is lost."] if missing else []
                self._confirmed = _settled(slots, confirmed[0], len(told) % 2 == 0)
        except SelEdgeError as error:
            return [str(error)]
        files = [path for path in self._directory.rglob("*") if path.is_file()]
        return problems + ([f"There are {len(files)} files."] if len(files) > MAX_FILES else [])

    def _open(self) -> Slots:
        return open_slots(self._directory, self._bundle)

    def _act(self, slots: Slots, rng: np.random.Generator, tell: Callable[[str], None]) -> None:
        kind = rng.random()
        if kind < 0.5:
            network = changed(slots.current(), rng)
            tell(f"commit {network.hash}")
            slots.commit(network, frame=int(rng.integers(1000)))
            tell("done")
        elif kind < 0.85:
            tell("confirm")
            slots.confirm()
            tell("done")
        else:
            entries = slots.history().entries
            if entries:
                target = entries[int(rng.integers(len(entries)))].network
                tell(f"rollback {target}")
                try:
                    slots.rollback(target)
                except SelEdgeError:
                    tell("refused")  # what leads there is too old to be kept
                else:
                    tell("done")

    def _expected(self, told: list[str]) -> tuple[set[str], list[str]]:
        """Networks of which one must be in use, and what is confirmed: before, or after, the last
        action, which may or may not have come to its end."""
        current, confirmed = self._confirmed, self._confirmed
        action = ""
        for line in told:
            word, _, name = line.partition(" ")
            if word == "use":
                current = name
            elif word == "done":
                current, confirmed = _after(action, current, confirmed)
            if word in ("commit", "rollback") and name:
                self._committed.add(name)
            action = line if word in ("commit", "confirm", "rollback") else ""
        later = _after(action, current, confirmed)
        return {current, later[0]}, [confirmed, later[1]]


def changed(network: Network, rng: np.random.Generator) -> Network:
    """Another network: a few random rows of a random parameter."""
    names = sorted(network.base.parameters)
    name = names[int(rng.integers(len(names)))]
    value = network.parameter(name)
    rows = rng.permutation(len(value))[:2]
    return network.with_rows(
        {name: (rows, rng.normal(size=(len(rows), *value.shape[1:])).astype(np.float32))}
    )


def _after(action: str, current: str, confirmed: str) -> tuple[str, str]:
    """The network in use and the confirmed one, once an action has come to its end."""
    word, _, name = action.partition(" ")
    return {
        "commit": (name, confirmed),
        "confirm": (current, current),
        "rollback": (name, name),
    }.get(word, (current, confirmed))


def _settled(slots: Slots, confirmed: str, confirm: bool) -> str:
    """Confirm a pending network or leave it; the hash of the one that is then confirmed."""
    if slots.pending and not confirm:
        return confirmed
    slots.confirm()
    return slots.current().hash


def _is_damage(notes: tuple[str, ...]) -> bool:
    """Whether a start found more than an update that was given up."""
    return any("damaged" in note or "cannot be used" in note for note in notes)
