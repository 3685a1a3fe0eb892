"""What the worker knows of its own work, and the snapshots that are made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import SelEdgeError
from sel_edge.runtime.board import Board
from sel_edge.serve.capture import Capture
from sel_edge.serve.history import History, Rate
from sel_edge.serve.mailbox import Mailbox
from sel_edge.serve.residence import Found, Residence
from sel_edge.serve.snapshot import Answer, Balance, Flow, Phase, Snapshot, Waiting
from sel_edge.serve.trouble import Trouble

COUNT_S = 1.0
"""Shortest time between two looks at what waits for a label."""

View = tuple[Answer, NDArray[np.uint8 | np.float32]]
"""An answered frame as its source had it, with the answer."""


@dataclass(frozen=True)
class Inflow:
    """Where frames come from.

    Attributes:
        name: of the source.
        capture: what takes frames from it.
        mailbox: where they wait.
    """

    name: str
    capture: Capture
    mailbox: Mailbox


class Journal:
    """Written by the worker alone.

    Args:
        inflow: of frames.
        board: the machine.

    Attributes:
        history: of ticks and decisions.
        trouble: of ticks.
        phase: what the worker does.
        view: the newest answered frame; None before the first.
        refused: frames that did not fit.
    """

    def __init__(self, inflow: Inflow, board: Board) -> None:
        self._inflow, self._board = inflow, board
        self._started_s, self._started_utc_s = time.monotonic(), board.clock()
        self._seen, self._rate = 0, Rate()
        self._queue, self._counted_s = Waiting(0, {}, 0), 0.0
        self.history, self.trouble = History(), Trouble()
        self.phase: Phase = "starting"
        self.view: View | None = None
        self.refused = 0

    def answered(self, views: Sequence[View]) -> None:
        """Count frames that were answered, the newest one last."""
        self._seen += len(views)
        self._rate.add(len(views), time.monotonic())
        self.view = views[-1]

    def count_again(self) -> None:
        """Look at what waits for a label with the next snapshot, however soon that is."""
        self._counted_s = 0.0

    def first(self, found: Found, name: str, state: str) -> Snapshot:
        """Before the runtime is open."""
        bundle = found.bundle.manifest
        return Snapshot(
            version=0,
            utc_s=self._board.clock(),
            started_utc_s=self._started_utc_s,
            phase=self.phase,
            name=name,
            bundle=bundle.bundle_hash,
            network="",
            model=f"{bundle.model.name} of width {bundle.model.width}",
            classes=bundle.classes,
            bundle_classes=bundle.classes,
            frame_shape=bundle.preprocessing.frame_shape,
            flow=self._flow(),
            answer=None,
            embarrassment={},
            normal={},
            points=(),
            events=(),
            balances=(),
            spent=(),
            celsius=None,
            throttled=False,
            queue=self._queue,
            errors=0,
            error="",
            state=state,
        )

    def snapshot(self, before: Snapshot, residence: Residence) -> Snapshot:
        """As everything is now.

        Args:
            before: the one before it.
            residence: what runs.
        """
        runtime, bundle = residence.runtime, residence.found.bundle.manifest
        amounts = runtime.balances()
        return replace(
            self.brief(before),
            bundle=bundle.bundle_hash,
            network=runtime.network.hash,
            model=f"{bundle.model.name} of width {bundle.model.width}",
            classes=runtime.network.classes,
            bundle_classes=bundle.classes,
            frame_shape=bundle.preprocessing.frame_shape,
            answer=None if self.view is None else self.view[0],
            embarrassment=self.history.embarrassment,
            normal=runtime.normal,
            points=self.history.curve.points,
            balances=tuple(Balance(name, one.left, one.size) for name, one in amounts.items()),
            spent=self.history.spent,
            queue=self._counts(residence),
            state=str(residence.folder),
        )

    def brief(self, before: Snapshot) -> Snapshot:
        """The one before, with what may be told without asking the runtime."""
        heat = self._board.heat()
        return replace(
            before,
            utc_s=self._board.clock(),
            phase=self.phase,
            flow=self._flow(),
            events=self.history.events,
            celsius=heat.celsius,
            throttled=heat.throttled,
            errors=self.trouble.errors,
            error=self.trouble.text,
        )

    def _flow(self) -> Flow:
        inflow = self._inflow
        return Flow(
            seen=self._seen,
            dropped=inflow.mailbox.dropped,
            refused=inflow.capture.refused + self.refused,
            frames_per_s=self._rate.read(time.monotonic(), self._started_s),
            source=inflow.name,
            source_state=inflow.capture.state,
        )

    def _counts(self, residence: Residence) -> Waiting:
        """What waits for a label; as before, where the store cannot be read just now."""
        if time.monotonic() - self._counted_s >= COUNT_S:
            self._counted_s = time.monotonic()
            try:
                counts = residence.runtime.samples()
            except SelEdgeError:
                return self._queue
            self._queue = Waiting(counts.waiting, counts.labels, counts.not_useful)
        return self._queue
