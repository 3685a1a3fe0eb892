"""What happened, in plain words: the first screen of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sel_edge.report import wording
from sel_edge.report.costs import Cost
from sel_edge.report.numbers import Findings, Run
from sel_edge.report.stream import Progress, Stream
from sel_edge.report.trigger_score import TriggerScore

MOST_CARDS = 6
UNSEEN = "new classes"
"""What evaluations call the frames of classes that the network was never trained on."""


@dataclass(frozen=True)
class Card:
    """One result: a name, the value now, the value before ("" if none), and a remark."""

    name: str
    value: str
    before: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Story:
    """A title, a few sentences, and the results that matter most."""

    title: str
    sentences: tuple[str, ...]
    cards: tuple[Card, ...]


def tell(found: Findings) -> Story:
    """The story of a directory: of its stream if it has one, else of its runs.

    Its title and sentences hold no control characters, so that they can go to a terminal.
    """
    story = _story(found)
    sentences = tuple(wording.printable(sentence) for sentence in story.sentences)
    return Story(wording.printable(story.title), sentences, story.cards)


def _story(found: Findings) -> Story:
    if found.streams:
        return _stream_story(found.streams[0])
    if found.comparisons:
        return comparison_story(found.comparisons[0].numbers)
    return _run_story(found.runs[0])


def comparison_story(numbers: Mapping[str, Any]) -> Story:
    """What SEL reached and what it took, against dense."""
    dense, sel, savings = numbers["dense"], numbers["sel"], numbers["savings"]
    title = (
        f"SEL reached {wording.percent(sel['test_full_acc'])}, "
        f"dense {wording.percent(dense['test_full_acc'])}"
    )
    words = (
        ("FLOPs on paper", "paper_flops", "fewer"),
        ("FLOPs executed", "executed_flops", "fewer"),
        ("Time", "time", "less"),
        ("Energy", "energy", "less"),
    )
    cards = [
        Card(
            "Test accuracy",
            wording.percent(sel["test_full_acc"]),
            wording.percent(dense["test_full_acc"]),
            wording.points(savings["test_full_acc"]),
        )
    ]
    for name, key, fewer in words:
        if savings[key] is not None:
            cards.append(Card(name, wording.saved(savings[key], fewer), "", "SEL against dense"))
    flops = f"SEL took {wording.saved(savings['paper_flops'], 'fewer')} FLOPs on paper"
    if savings["executed_flops"] is not None:
        executed = wording.saved(savings["executed_flops"], "fewer")
        flops += f" and {executed} in operations really executed"
    times = f"{wording.duration(sel['time_s'])} against {wording.duration(dense['time_s'])}"
    sentences = [f"{flops}, in {times}."]
    if numbers.get("data_note"):
        sentences.append(f"Images: {numbers['data_note']}.")
    return Story(title, tuple(sentences), tuple(cards))


def cost_words(joules: Mapping[str, float]) -> str:
    """Joules of each origin: "0.4 J estimated", "1 J measured and 0.4 J estimated"."""
    return " and ".join(wording.energy(value, origin) for origin, value in joules.items()) or (
        wording.UNKNOWN
    )


def _stream_story(stream: Stream) -> Story:
    tried = stream.kept + stream.rejected + stream.stopped
    title = (
        f"{stream.kept} of {wording.counted(tried, 'update')} kept"
        if tried
        else "No update was made"
    )
    gained = max(stream.progress, key=lambda item: _gain(item) or 0.0, default=None)
    if gained is not None and _gain(gained):
        title += (
            f", accuracy on \u201c{wording.printable(gained.subset, 40)}\u201d "
            f"{wording.percent(gained.first, 0)} \u2192 {wording.percent(gained.last, 0)}"
        )
    sentences = _changes(stream.progress)
    sentences.append(
        f"In {wording.counted(stream.frames, 'frame')} the network was {_times(stream.triggers)} "
        "embarrassed enough to learn."
    )
    if stream.deferred:
        sentences.append(f"Learning was put off {_times(stream.deferred)} by the budget.")
    if tried:
        sentences.append(_updates_sentence(stream))
    if stream.rollbacks:
        sentences.append(f"An earlier network was put back into use {_times(stream.rollbacks)}.")
    sentences += _trigger_sentence(stream.trigger)
    if stream.notes:
        sentences.append(f"Images: {stream.notes}.")
    return Story(title, tuple(sentences), tuple(_stream_cards(stream)[:MOST_CARDS]))


def _gain(item: Progress) -> float | None:
    return None if item.first is None or item.last is None else item.last - item.first


def _changes(progress: Sequence[Progress]) -> list[str]:
    """The largest loss beside the gain in the title, and which gain is no wonder."""
    twice = [item for item in progress if item.first_name != item.last_name]
    known = [(gain, item) for item in twice if (gain := _gain(item)) is not None]
    if not known:
        return []
    gain, item = min(known, key=lambda pair: pair[0])
    sentences = ["No evaluated set of frames lost accuracy."]
    if gain < 0:
        sentences = [
            f"Largest loss: \u201c{wording.printable(item.subset, 40)}\u201d "
            f"{wording.percent(item.first)} \u2192 {wording.percent(item.last)}, "
            f"{wording.points(gain)} on {wording.counted(item.n, 'frame')}."
        ]
    if any(_is_zero_by_construction(item) for _, item in known):
        sentences.append(
            f"The 0{wording.NBSP}% on \u201c{UNSEEN}\u201d before is so by construction: the head "
            "had no row for them."
        )
    return sentences


def _is_zero_by_construction(item: Progress) -> bool:
    return item.subset == UNSEEN and item.first == 0


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number:,} times")


def _updates_sentence(stream: Stream) -> str:
    parts = [f"Learning cost {_spent(stream.updating)}"]
    if stream.stopped:
        parts.append(f"{_were(stream.stopped)} stopped by the limits and undone")
    if stream.rejected:
        check = f"{_were(stream.rejected)} dropped by the check"
    else:
        check = f"every {'other ' if stream.stopped else ''}update passed the check"
    if stream.kept or stream.rejected:
        parts.append(f"{check} on held-out frames and old examples")
    return f"{'; '.join(parts)}."


def _were(updates: int) -> str:
    return f"{wording.counted(updates, 'update')} {'was' if updates == 1 else 'were'}"


def _trigger_sentence(scores: Sequence[TriggerScore]) -> list[str]:
    """F1 of our trigger beside the trivial ones; nothing where it is not known."""
    f1 = [f"{score.f1:.2f}" for score in scores if score.f1 is not None]
    if not f1:
        return []
    ours, always, never = f1
    worse = wording.counted(scores[0].worse, "segment")
    return [
        f"It noticed {scores[0].caught:,} of {worse} in which the network got worse: F1 of its "
        f"trigger is {ours}; of one that always fires {always}, of one that never fires {never}."
    ]


def _spent(cost: Cost) -> str:
    return f"{cost_words(cost.joules)} and {wording.duration(cost.seconds)}"


def _stream_cards(stream: Stream) -> list[Card]:
    cards = []
    for item in stream.progress:
        why = ", 0 before by construction" if _is_zero_by_construction(item) else ""
        cards.append(
            Card(
                f"Accuracy, {wording.printable(item.subset, 40)}",
                wording.percent(item.last),
                wording.percent(item.first),
                f"{wording.points(_gain(item))}, {wording.counted(item.n, 'frame')}{why}",
            )
        )
    if not cards:
        cards = [
            Card(
                f"Accuracy, {wording.printable(segment.name, 40)}",
                wording.percent(segment.accuracy_last),
                wording.percent(segment.accuracy_first),
                "first to last fifth of the segment",
            )
            for segment in stream.segments
            if segment.accuracy is not None
        ]
    if stream.updates:
        flops = wording.scaled(stream.updating.executed_flops, "FLOP")
        energy = cost_words(stream.updating.joules)
        cards.insert(MOST_CARDS - 1, Card("Energy for learning", energy, "", f"{flops} executed"))
    return cards


def _run_story(run: Run) -> Story:
    result = run.result
    title = f"{wording.percent(result.test_full_acc)} on the test set"
    sentence = (
        f"{wording.printable(run.system.label)}, {wording.counted(result.epochs, 'epoch')} in "
        f"{wording.duration(result.time_s)}."
    )
    cards = (
        Card("Test accuracy", wording.percent(result.test_full_acc)),
        Card("FLOPs on paper", wording.scaled(result.paper_flops, "FLOP")),
        Card("FLOPs executed", wording.scaled(result.executed_flops, "FLOP")),
        Card("Energy", wording.energy(result.energy_j, result.energy_origin)),
    )
    return Story(title, (sentence,), tuple(card for card in cards if card.value != wording.UNKNOWN))
