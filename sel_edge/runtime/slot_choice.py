"""What a start goes on with: the deltas of the newest slot that can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sel_edge.bundle.canonical import network_hash
from sel_edge.bundle.delta import Delta
from sel_edge.core.errors import BundleError
from sel_edge.runtime.slot_files import NAMES, SlotFiles
from sel_edge.runtime.slot_record import SlotRecord, Status

T = TypeVar("T")
Step = Callable[[T, Delta], T]


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What a start goes on with.

    Attributes:
        state: what the deltas in use lead to.
        chain: names of these deltas.
        slot: the slot they are from; None if it is the bundle's own network.
        notes: full sentences on what was damaged or dropped.
    """

    state: T
    chain: tuple[str, ...]
    slot: str | None
    notes: tuple[str, ...]


def unchanged_hash(base: str) -> str:
    """Hash of the network of the bundle with hash `base`, as it was exported."""
    return network_hash(base, (), {}, {})


def link(at: str, delta: Delta) -> str:
    """The hash of the network that a delta leads to, from the one with hash `at`.

    Raises:
        BundleError: the delta starts from another network.
    """
    if delta.parent != at:
        raise BundleError(
            f"A delta starts from the network {delta.parent}.",
            f"One that starts from {at} is expected here.",
            "Go on with what is left.",
        )
    return delta.new


def read_records(
    files: SlotFiles,
) -> tuple[dict[str, SlotRecord | None], tuple[str, ...]]:
    """What both slots hold, and full sentences on damaged records."""
    records: dict[str, SlotRecord | None] = {}
    notes = []
    for name in NAMES:
        try:
            records[name] = files.record(name)
        except ValueError as error:
            records[name] = None
            notes.append(f"The record of slot {name.upper()} is damaged: {error}.")
    return records, tuple(notes)


def newest_first(records: Mapping[str, SlotRecord | None]) -> list[tuple[str, SlotRecord]]:
    """Slots that hold something, with their names."""
    found = [(name, record) for name, record in records.items() if record is not None]
    return sorted(found, key=lambda pair: -pair[1].counter)


def follow(
    files: SlotFiles, chain: Iterable[str], state: T, step: Step[T]
) -> tuple[T, tuple[str, ...], str]:
    """Go along a chain as far as its deltas can be used.

    Returns:
        Where that leads, the names of the deltas gone along, and why no further ("" at the end).
    """
    gone: list[str] = []
    for name in chain:
        try:
            state = step(state, files.delta(name))
        except BundleError as error:
            return state, tuple(gone), error.found
        gone.append(name)
    return state, tuple(gone), ""


def choose(
    files: SlotFiles, records: Mapping[str, SlotRecord | None], start: T, step: Step[T]
) -> Choice[T]:
    """What to go on with: the newest slot that is complete, else the most that is left of one.

    A slot that was tried before and never confirmed is not used.

    Args:
        files: where the deltas are.
        records: of both slots.
        start: what an empty chain leads to.
        step: along one delta.
    """
    notes = []
    best: Choice[T] = Choice(start, (), None, ())
    for name, record in newest_first(records):
        if record.status is Status.GIVEN_UP:
            continue
        if record.status is Status.TRIED:
            notes.append(
                f"The update {record.counter} was given up: "
                "it was used twice without being confirmed."
            )
            continue
        state, gone, why = follow(files, record.chain, start, step)
        if not why:
            return Choice(state, gone, name, tuple(notes))
        notes.append(f"Slot {name.upper()} cannot be used as a whole: {why}")
        if len(gone) > len(best.chain) and record.status is Status.CONFIRMED:
            best = Choice(state, gone, name, ())
    return Choice(best.state, best.chain, best.slot, tuple(notes))
