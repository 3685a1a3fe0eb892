"""What a killed runtime has told of, held against what it left; for `tools.powercut_runtime`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from sel_edge.core.ledger import Ledger
from sel_edge.runtime.samples.desk import LabelDesk


class Told:
    """Everything that must be there, since the device was set up.

    Args:
        start: hash of the bundle's network.

    Attributes:
        frames: as many were told of.
    """

    def __init__(self, start: str) -> None:
        self.frames = 0
        self._due = self._confirmed = self._recorded = frozenset([start])
        self._start = start
        self._decisions: Counter[str] = Counter()
        self._updates: Counter[tuple[bool, str]] = Counter()
        self._ticks: dict[int, int] = {}
        self._labels: dict[int, str] = {}
        self._answers: dict[str, str] = {}
        self._left: dict[str, float] = {}

    def hear(self, lines: Iterable[str]) -> list[str]:
        """Take in what a child told; what is wrong with it."""
        problems, committed, opened = [], False, False
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "use":
                opened = True
                problems += self.wrong_network(rest, ())
                # What waits to be confirmed is used once more, and is given up by the next start.
                self._due = self._confirmed | {rest}
                self._recorded |= self._due
            elif word == "commit":
                # What has answered the batch was confirmed before.
                self._confirmed = self._due
                self._due, committed = self._due | {rest}, True
                self._recorded |= {rest}
            elif word == "tick":
                self._hear_tick(json.loads(rest), committed)
                committed = False
            elif word == "label":
                number, name = rest.split(" ")
                self._labels[int(number)] = name
            elif word == "answer":
                frame, name = rest.split(" ")
                self._answers[frame] = name
        if not opened:  # its start may have been the one that what waits to be confirmed has
            self._due |= self._confirmed
        if not committed:  # what it used may have been confirmed by a tick that was cut off
            self._confirmed |= self._due
        return problems

    def left_with(self, network: str, pending: bool) -> None:
        """A start found the network, and left it confirmed, or pending as it was: it ended in good
        order, and asked it for nothing."""
        self._due = frozenset([network])
        if not pending:
            self._confirmed = self._due

    def wrong_network(self, network: str, notes: Iterable[str]) -> list[str]:
        """What is wrong with the network in use, and with what a start says of it."""
        problems = [note for note in notes if "damaged" in note or "cannot be used" in note]
        return problems + ([] if network in self._due else [f"{network} was not due."])

    def missing_rows(self, ledger: Ledger) -> list[str]:
        """What was told and is not in the ledger."""
        problems = []
        found = {tick.start: tick.n for tick in ledger.ticks}
        if missing := self._ticks.items() - found.items():
            problems.append(f"The ticks {sorted(missing)} are lost.")
        if any(one.start + one.n != other.start for one, other in pairwise(ledger.ticks)):
            problems.append("The ticks do not follow each other.")
        if missed := self._decisions - Counter(decision.reason for decision in ledger.decisions):
            problems.append(f"The decisions {list(missed)} are lost.")
        updates = Counter((update.kept, update.network_after) for update in ledger.updates)
        if absent := self._updates - updates:
            problems.append(f"The updates {list(absent)} are lost.")
        return problems

    def wrong_record(self, network: str | None) -> list[str]:
        """What is wrong with the network that the ledger says is in use."""
        known = (network or self._start) in self._recorded
        return [] if known else [f"The ledger ends with {network}, of which nobody told."]

    def missing_labels(self, labelled: Mapping[int, str | None], desk: LabelDesk) -> list[str]:
        """What was told and is not in the sample store."""
        problems = [
            f"The label {name} of frame {number} is lost."
            for number, name in self._labels.items()
            if labelled.get(number) != name
        ]
        for frame, name in self._answers.items():
            if (effect := desk.answer(frame, name).effect) != "same":
                problems.append(f"The answer {name} to {frame} is lost: {effect}.")
        return problems

    def too_full(self, left: Mapping[str, float]) -> list[str]:
        """What there is in the wallet although it was told to be spent."""
        return [
            f"{left.get(name)} of {name} is left, and {amount} was told."
            for name, amount in self._left.items()
            if not 0 <= left.get(name, -1.0) <= amount
        ]

    def _hear_tick(self, tick: Mapping[str, Any], committed: bool) -> None:
        network = frozenset([tick["network"]])
        if not committed:
            self._confirmed = network
        self._due = self._recorded = network
        self._ticks[tick["start"]] = tick["n"]
        self._decisions.update(tick["decisions"])
        self._updates.update((kept, after) for kept, after in tick["updates"])
        self._labels.update({int(number): name for number, name in tick["labels"].items()})
        self._left = tick["left"]
        self.frames = tick["start"] + tick["n"]
