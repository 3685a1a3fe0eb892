"""Simulated days in a few numbers, and in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sel_edge.core.ledger import DecisionKind
from sel_edge.core.measurement import Origin
from sel_edge.core.shortfall import duration
from sel_edge.core.solar import DAY_S, HOUR_S
from sel_edge.report.wording import counted, energy, percent
from sel_edge.simulate.board import Drawn, Supply
from sel_edge.simulate.diary import ACCURACY_FRAMES, KINDS, Diary


@dataclass(frozen=True)
class Summary:
    """What became of a device.

    Attributes:
        days: that were simulated.
        days_to_empty: until it ran out of energy for the first time; None if it never did.
        hours_off: in which it was off.
        answered, missed: frames.
        accuracy: share of right answers among all of known truth; None without any.
        accuracy_last: the same over the newest `ACCURACY_FRAMES`.
        decisions: how many of each kind.
        idling_j, answering_j, learning_j: that it drew; the last two are what work added.
        energy_origin: of these.
        lowest_charge, last_charge: of the battery, as shares of its capacity.
        warmest_celsius: of the processor, at the end of a batch of frames.
    """

    days: float
    days_to_empty: float | None
    hours_off: float
    answered: int
    missed: int
    accuracy: float | None
    accuracy_last: float | None
    decisions: Mapping[DecisionKind, int]
    idling_j: float
    answering_j: float
    learning_j: float
    energy_origin: Origin
    lowest_charge: float
    last_charge: float
    warmest_celsius: float


def sum_up(diary: Diary, drawn: Drawn, supply: Supply) -> Summary:
    """The sums of at least one moment."""
    moments = diary.moments
    off = [moment for moment in moments if not moment.is_on]
    kinds = Counter(decision.kind for _, decision in diary.decisions())
    scored = sum(moment.scored for moment in moments)
    known = [accuracy for accuracy in diary.accuracy if accuracy is not None]
    charges = [moment.charge_j / supply.capacity_j for moment in moments]
    return Summary(
        days=moments[-1].time_s / DAY_S,
        days_to_empty=(off[0].time_s - off[0].seconds) / DAY_S if off else None,
        hours_off=sum(moment.seconds for moment in off) / HOUR_S,
        answered=sum(moment.frames for moment in moments if moment.is_on),
        missed=sum(moment.frames for moment in off),
        accuracy=sum(moment.correct for moment in moments) / scored if scored else None,
        accuracy_last=known[-1] if known else None,
        decisions={kind: kinds[kind] for kind in KINDS},
        idling_j=drawn.idling_j,
        answering_j=drawn.answering_j,
        learning_j=drawn.learning_j,
        energy_origin="estimated",
        lowest_charge=min(charges),
        last_charge=charges[-1],
        warmest_celsius=max(moment.celsius for moment in moments),
    )


def in_words(summary: Summary) -> list[str]:
    """A few sentences for a person."""
    return [
        _survival(summary),
        _answers(summary),
        f"{_learning(summary.decisions)}.",
        "The board drew "
        + ", ".join(
            f"{energy(joules, summary.energy_origin)} for {purpose}"
            for purpose, joules in (
                ("idling", summary.idling_j),
                ("answering and watching", summary.answering_j),
                ("learning", summary.learning_j),
            )
        )
        + ".",
    ]


def _survival(summary: Summary) -> str:
    left = (
        f"The battery held {percent(summary.lowest_charge, 0)} at least and "
        f"{percent(summary.last_charge, 0)} at the end; the processor reached "
        f"{summary.warmest_celsius:.1f} °C."
    )
    if summary.days_to_empty is None:
        return f"The device was on for all of {summary.days:.3g} days. {left}"
    return (
        f"The device ran out of energy after {duration(DAY_S * summary.days_to_empty)} and was off "
        f"for {summary.hours_off:.1f} h of {summary.days:.3g} days. {left}"
    )


def _answers(summary: Summary) -> str:
    missed = f", {summary.missed:,} missed while it was off" if summary.missed else ""
    return (
        f"{counted(summary.answered, 'frame')} answered{missed}. Accuracy "
        f"{percent(summary.accuracy)} over all, {percent(summary.accuracy_last)} over the last "
        f"{ACCURACY_FRAMES}."
    )


def _learning(decisions: Mapping[DecisionKind, int]) -> str:
    return (
        f"{counted(decisions['keep'], 'update')} kept, {decisions['reject']} rejected, "
        f"{decisions['stop']} stopped; learning was put off "
        f"{counted(decisions['defer'], 'time')}, labels were wanted "
        f"{counted(decisions['wants_labels'], 'time')}"
    )
