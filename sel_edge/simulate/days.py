"""The days of a device: frames come, are answered and learned from, until the battery is empty."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from sel_edge.core.solar import DAY_S
from sel_edge.data.stream import FrameBatch
from sel_edge.runtime.loop import Runtime
from sel_edge.simulate.board import SimulatedBoard
from sel_edge.simulate.diary import Moment


@dataclass(frozen=True)
class Schedule:
    """How long it goes on, and how often frames come.

    Attributes:
        days: above 0.
        frames_per_day: 1 or more, evenly spread.
    """

    days: float
    frames_per_day: int

    @property
    def end_s(self) -> float:
        """Seconds from the start to the end."""
        return self.days * DAY_S

    def lasts_s(self, frames: int) -> float:
        """Seconds in which so many frames come."""
        return frames * DAY_S / self.frames_per_day


def live(
    schedule: Schedule,
    board: SimulatedBoard,
    switch_on: Callable[[], Runtime],
    frames: Iterator[FrameBatch],
) -> Generator[Moment]:
    """Live through the days; a moment for every batch of frames, answered or missed.

    The device answers a batch, waits for the next and learns if need be; frames that come while it
    does are no sooner there. While it is off, frames come and go. An empty battery switches it off
    in good order at the end of a batch, and what it does not keep on disk is gone. Close the
    iterator to switch it off early.

    Args:
        schedule: when.
        board: the machine.
        switch_on: opens the runtime, on what it kept.
        frames: never ending.
    """
    while board.elapsed_s < schedule.end_s:
        if board.is_on:
            yield from _awake(schedule, board, switch_on, frames)
        else:
            yield _missed(schedule, board, next(frames))


def _awake(
    schedule: Schedule,
    board: SimulatedBoard,
    switch_on: Callable[[], Runtime],
    frames: Iterator[FrameBatch],
) -> Iterator[Moment]:
    with switch_on() as runtime:
        while board.is_on and board.elapsed_s < schedule.end_s:
            yield _answered(schedule, board, runtime, next(frames))


def _answered(
    schedule: Schedule, board: SimulatedBoard, runtime: Runtime, batch: FrameBatch
) -> Moment:
    begun_s, drawn_j = board.elapsed_s, board.drawn.total_j
    board.expect_answers(begun_s + schedule.lasts_s(len(batch.frames)))
    report = runtime.process(batch)
    seconds = board.elapsed_s - begun_s
    scores = report.tick.scores.values()
    return Moment(
        time_s=board.elapsed_s,
        seconds=seconds,
        is_on=True,
        charge_j=board.charge_j,
        watts_in=board.sunshine_j(begun_s) / seconds,
        watts_out=(board.drawn.total_j - drawn_j) / seconds,
        celsius=board.celsius,
        frames=len(batch.frames),
        scored=sum(n for n, _ in scores),
        correct=sum(right for _, right in scores),
        decisions=report.decisions,
        updates=report.updates,
    )


def _missed(schedule: Schedule, board: SimulatedBoard, batch: FrameBatch) -> Moment:
    begun_s, seconds = board.elapsed_s, schedule.lasts_s(len(batch.frames))
    board.sleep(begun_s + seconds)
    return Moment(
        time_s=board.elapsed_s,
        seconds=seconds,
        is_on=False,
        charge_j=board.charge_j,
        watts_in=board.sunshine_j(begun_s) / seconds,
        watts_out=0.0,
        celsius=board.celsius,
        frames=len(batch.frames),
    )
