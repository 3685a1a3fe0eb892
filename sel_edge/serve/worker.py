"""The worker: everything that is done with the runtime, by one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError, SelEdgeError
from sel_edge.core.ledger import LEDGER_FILE
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.engine import MAX_BATCH
from sel_edge.runtime.learn_now import NOTHING, learn_now
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.tick_report import TickReport
from sel_edge.runtime.undo import roll_back
from sel_edge.serve.journal import Inflow, Journal, View
from sel_edge.serve.mailbox import Arrival
from sel_edge.serve.past import recall
from sel_edge.serve.pictures import fit
from sel_edge.serve.published import Published
from sel_edge.serve.requests import Requests, busy, ending, refuse, resolve
from sel_edge.serve.residence import (
    Found,
    Residence,
    Settings,
    find,
    folder_of,
    move_in,
    require_same,
)
from sel_edge.serve.snapshot import Answer, Event
from sel_edge.serve.sources.interface import Source

Fitted = tuple[Arrival, NDArray[np.uint8 | np.float32]]
"""A frame as it came, and as the network takes it."""

PATIENCE_S = 0.5
"""A frame waits so long for others that are answered together with it."""
IDLE_S = 0.5
"""Longest time in which nobody looks whether anything else is to be done."""
LOOK_S = 2.0
"""Between two looks for answers that other processes gave, while no frames come."""
PUBLISH_S = 0.1
"""Shortest time between two snapshots."""


class Worker:
    """Made anywhere, used by one thread.

    Args:
        found: what is to run.
        settings: of the device.
        source: of its frames.
        inflow: of them.
        stopping: set once the worker is to end.

    Attributes:
        published: what others may know.
        requests: what others ask.
        found: what runs.
        view: the newest answered frame, for people; None before the first.
        beats: rises as long as the worker gets on, at least every second and with every step of
            learning.
        is_labelled: set by others where a label was given.
    """

    def __init__(
        self,
        found: Found,
        settings: Settings,
        source: Source,
        inflow: Inflow,
        stopping: threading.Event,
    ) -> None:
        self.found, self._settings, self._source = found, settings, source
        self._inflow, self._stopping = inflow, stopping
        self._board = replace(settings.board, may_go_on=self._may_go_on)
        self._journal, self.requests = Journal(inflow, self._board), Requests()
        folder = folder_of(found.bundle, settings.state)
        self.published = Published(self._journal.first(found, settings.name, str(folder)))
        self._residence: Residence | None = None
        self._published_s = self._looked_s = 0.0
        self.beats, self.is_labelled = 0, False
        self._ticks_due = 0

    @property
    def view(self) -> View | None:
        """The newest answered frame, for people; None before the first."""
        return self._journal.view

    def open(self) -> None:
        """Open the runtime, and take up what is known of earlier sessions.

        Raises:
            SelEdgeError: it cannot be opened, or its network does not answer.
        """
        folder = folder_of(self.found.bundle, self._settings.state)
        recall(folder / LEDGER_FILE, self._journal.history)
        self._move_in(self.found)
        self._tell("restart", "The service was started.")
        self._publish()

    def turn(self) -> None:
        """Do what is to be done next, and what was asked; wait a moment if that is nothing."""
        self.beats += 1
        self.requests.serve()
        if self._residence is None and not self._journal.trouble.is_resting:
            self._try_to_move_in()
        if self._residence is None:
            self._stopping.wait(IDLE_S)
        elif arrivals := self._inflow.mailbox.take(MAX_BATCH, PATIENCE_S, IDLE_S):
            self._answer(arrivals, self._residence)
        else:
            self._look_for_labels(self._residence)
        if time.monotonic() - self._published_s >= PUBLISH_S:
            self._publish()

    def close(self) -> None:
        """Save what is in memory, and let everything go.

        Raises:
            StorageError: something cannot be saved; the rest is closed all the same.
        """
        self._journal.phase = "stopping"
        self._publish()
        for arrival in self._inflow.mailbox.close():
            refuse(arrival.wanted, ending())
        self.requests.close()
        self._move_out()

    def adapt(self) -> tuple[str, ...]:
        """Learn now; sentences on what came of it."""
        residence = self._at_home()
        try:
            steps = learn_now(residence.runtime)
        finally:
            self._rest()
        now_s = self._board.clock()
        for step in steps:
            self._journal.history.decided(step.decisions, step.updates, now_s)
        self._process_nothing(residence)
        self._publish()
        reasons = [f"{one.kind}: {one.reason}" for step in steps for one in step.decisions]
        return tuple(reasons) or (NOTHING,)

    def roll_back(self, to: str | None) -> str:
        """Go over to another network that was kept; its hash."""
        residence = self._at_home()
        self._move_out()
        try:
            undone = roll_back(residence.folder, to)
        finally:
            self._move_back_in(residence.found)
        self._process_nothing(self._at_home())  # the ledger and the timeline tell of it at once
        self._publish()
        return undone.network

    def reload(self) -> str:
        """Look at bundle and budget anew, and go over to them; the hash of the bundle."""
        try:
            self._go_over_to(find(self._settings, self._source))
        except SelEdgeError as error:
            self._tell("error", f"Nothing was reloaded. {error}")
            raise
        finally:
            self._publish()
        return self.found.bundle.manifest.bundle_hash

    def _go_over_to(self, found: Found) -> None:
        if self._residence is not None and found.is_like(self.found):
            self._tell("reload", "Bundle and budget are as they were.")
            return
        before = self.found
        self._move_out()
        try:
            self._move_in(found)
        except SelEdgeError:
            self._move_back_in(before)
            raise
        self._tell("reload", f"The bundle {found.bundle.manifest.bundle_hash} is in use.")

    def _at_home(self) -> Residence:
        if self._residence is None:
            raise busy(f"The runtime is not open. {self._journal.trouble.text}")
        return self._residence

    def _move_in(self, found: Found) -> None:
        self.found = found
        try:
            self._residence = move_in(found, self._settings, self._board, self._inflow.name)
        except SelEdgeError as error:
            self._failed(error)
            raise
        for note in self._residence.runtime.notes:
            self._tell("error", note)
        self._journal.history.forget_windows()
        self._journal.trouble.recovered()
        self._rest()

    def _move_back_in(self, found: Found) -> None:
        """Open again what was open before."""
        self.found = found
        try:
            require_same(found)
        except SelEdgeError as error:
            self._failed(error)
            raise
        self._move_in(found)

    def _try_to_move_in(self) -> None:
        try:
            self._move_back_in(self.found)
        except SelEdgeError:
            return  # it was told of, and is tried again

    def _move_out(self) -> None:
        residence, self._residence = self._residence, None
        if residence is not None:
            self._journal.phase = "starting" if not self._stopping.is_set() else "stopping"
            residence.close()

    def _answer(self, arrivals: list[Arrival], residence: Residence) -> None:
        """Answer for frames, those of one segment at a time."""
        shape = residence.found.bundle.manifest.preprocessing.frame_shape
        for segment, group in groupby(self._fitting(arrivals, shape), lambda one: one[0].segment):
            self._answer_segment(segment, list(group), residence)

    def _fitting(self, arrivals: list[Arrival], shape: tuple[int, ...]) -> list[Fitted]:
        """Those of which a frame can be made."""
        fitted = []
        for arrival in arrivals:
            try:
                fitted.append((arrival, fit(arrival.picture, shape)))
            except DataError as error:
                self._journal.refused += 1
                refuse(arrival.wanted, error)
        return fitted

    def _answer_segment(self, segment: str, fitted: list[Fitted], residence: Residence) -> None:
        arrivals, frames = [one for one, _ in fitted], np.stack([frame for _, frame in fitted])
        labels = tuple(arrival.label for arrival in arrivals)
        truths = tuple(arrival.truth for arrival in arrivals)
        report = self._process(FrameBatch(0, frames, labels, truths, segment), residence)
        try:
            if report is None:  # what cannot be recorded is answered all the same
                answers = _said(residence.runtime, frames, arrivals)
            else:
                answers = _told(report, arrivals)
        except SelEdgeError as error:
            self._failed(error)
            for arrival in arrivals:
                refuse(arrival.wanted, error)
            return
        views = [(answer, one.picture) for answer, one in zip(answers, arrivals, strict=True)]
        self._journal.answered(views)
        if any(arrival.wanted is not None for arrival in arrivals):
            self._publish()  # whoever gets an answer finds it in the newest snapshot
        for arrival, answer in zip(arrivals, answers, strict=True):
            resolve(arrival.wanted, answer)

    def _process(self, batch: FrameBatch, residence: Residence) -> TickReport | None:
        """Let the runtime have frames, and learn; None while it cannot record them."""
        journal = self._journal
        if journal.trouble.is_resting:
            return None
        try:
            report = residence.runtime.process(batch)
        except SelEdgeError as error:
            self._failed(error)
            return None
        finally:
            self._rest()
        journal.trouble.recovered()
        now_s = self._board.clock()
        journal.history.tick(report.tick, now_s)
        journal.history.decided(report.decisions, report.updates, now_s)
        return report

    def _look_for_labels(self, residence: Residence) -> None:
        """While no frames come: see whether labels do, and whether trouble is over."""
        is_early = time.monotonic() - self._looked_s < LOOK_S
        if is_early and not self.is_labelled and not self._ticks_due:
            return
        self._looked_s, self.is_labelled = time.monotonic(), False
        try:
            has_answers = residence.runtime.has_answers
        except SelEdgeError as error:
            self._failed(error)
            return
        if has_answers:
            # There may be more of them; and what they show must last some ticks until it counts.
            config = self._settings.config or RuntimeConfig()
            self.is_labelled, self._ticks_due = True, 1 + config.patience_ticks
        if self._ticks_due or self._journal.trouble.text:
            self._process_nothing(residence)
            self._ticks_due = max(self._ticks_due - 1, 0)

    def _process_nothing(self, residence: Residence) -> None:
        """Let the runtime take labels that came without frames, and tell what has changed."""
        view = residence.found.bundle.manifest.preprocessing
        nothing = np.zeros((0, *view.frame_shape), view.dtype)
        self._process(FrameBatch(0, nothing, (), (), "between frames"), residence)
        self._journal.count_again()

    def _failed(self, error: SelEdgeError) -> None:
        if self._journal.trouble.failed(error):
            self._tell("error", str(error))

    def _tell(self, kind: str, reason: str) -> None:
        frames = self._residence.runtime.frames if self._residence else 0
        self._journal.history.tell(Event(self._board.clock(), frames, kind, reason, ()))

    def _may_go_on(self) -> bool:
        """Between two steps of learning: others are told that it goes on."""
        self.beats += 1
        is_begun = self._journal.phase != "learning"
        self._journal.phase = "learning"
        if is_begun or time.monotonic() - self._published_s >= IDLE_S:
            self._published_s = time.monotonic()
            self.published.publish(self._journal.brief(self.published.newest))
        return not self._stopping.is_set()

    def _rest(self) -> None:
        """No step of learning is under way."""
        self._journal.phase = "running"

    def _publish(self) -> None:
        self._published_s = time.monotonic()
        before, residence = self.published.newest, self._residence
        if residence is None:
            self.published.publish(self._journal.brief(before))
        else:
            self.published.publish(self._journal.snapshot(before, residence))


def _told(report: TickReport, arrivals: Sequence[Arrival]) -> list[Answer]:
    """A report, frame by frame."""
    return [
        Answer(
            frame=report.tick.start + number,
            utc_s=arrival.utc_s,
            prediction=report.predictions[number],
            confidence=report.confidences[number],
            domain=report.domains[number],
            is_novel=report.strange[number],
        )
        for number, arrival in enumerate(arrivals)
    ]


def _said(
    runtime: Runtime, frames: NDArray[np.uint8 | np.float32], arrivals: Sequence[Arrival]
) -> list[Answer]:
    """Answers alone, of which nothing is recorded."""
    return [
        Answer(runtime.frames, one.utc_s, s.prediction, s.confidence, s.domain, is_novel=False)
        for one, s in zip(arrivals, runtime.say(frames), strict=True)
    ]
