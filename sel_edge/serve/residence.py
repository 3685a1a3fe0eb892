"""A bundle, its state directory and the runtime that lives there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.keys import PublicKey
from sel_edge.bundle.signature import require_signed
from sel_edge.core.budget import Budget, load_budget
from sel_edge.core.errors import BundleError, DataError
from sel_edge.core.frames import described, noun
from sel_edge.core.ledger import LEDGER_FILE, LedgerWriter
from sel_edge.runtime.board import Board
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.opening import NamedSource, open_runtime
from sel_edge.serve.sources.interface import Source

HASH_DIGITS = 12
"""Of the bundle's hash, in the name of its state directory."""
TICKS_WAIT_S = 30.0
"""Ticks in which nothing was decided are written together. Two a second would take some hundred
megabytes a week, and wear an SD card with a flush each; a power cut loses what was counted in as
many seconds."""


@dataclass(frozen=True)
class Settings:
    """What a device is made of.

    Attributes:
        bundle: where it lies; looked at again by every reload.
        state: directory in which each bundle has one of its own.
        board: the machine.
        name: of the device, for people.
        budget: file with what learning may cost; None for no limits.
        trusted: keys by one of which the bundle must be signed; none if it need not be.
        threads: of the engine; None for every core.
        config: of the runtime.
    """

    bundle: Path
    state: Path
    board: Board
    name: str
    budget: Path | None = None
    trusted: frozenset[PublicKey] = frozenset()
    threads: int | None = None
    config: RuntimeConfig | None = None


@dataclass(frozen=True)
class Found:
    """What the settings name, as it is now.

    Attributes:
        bundle: that is to run.
        budget: what learning may cost.
    """

    bundle: Bundle
    budget: Budget

    def is_like(self, other: Found) -> bool:
        """Whether the same would run, from the same files."""
        mine, others = self.bundle, other.bundle
        is_same = mine.manifest.bundle_hash == others.manifest.bundle_hash
        return is_same and mine.path == others.path and self.budget == other.budget


@dataclass(frozen=True)
class Residence:
    """An open runtime.

    Attributes:
        found: what it was opened with.
        folder: of everything that it keeps.
        runtime: used by one thread only.
        close: lets all of it go.
    """

    found: Found
    folder: Path
    runtime: Runtime
    close: Callable[[], None]


def find(settings: Settings, source: Source) -> Found:
    """The bundle and the budget, if they may be used.

    A link in the bundle's path is followed once: what is open goes on with its own files.

    Raises:
        BundleError: the bundle cannot be used, or none of the trusted keys has signed it.
        ConfigError: the budget cannot be used.
        DataError: the source brings what the bundle was not made for.
    """
    bundle = open_bundle(settings.bundle.resolve())
    if settings.trusted:
        require_signed(bundle, settings.trusted)
    shape, signals = bundle.manifest.preprocessing.frame_shape, source.signal_shape
    if (signals or noun(shape) == "signal") and signals != shape:
        found = described(signals) if signals else "images"
        raise DataError(
            f"The source {source.name} brings {found}.",
            f"The bundle was made for {described(shape)}.",
            "Name a source of that kind.",
        )
    return Found(bundle, load_budget(settings.budget) if settings.budget else Budget())


def require_same(found: Found) -> None:
    """See that the files of a bundle that was open before are still its own.

    Raises:
        BundleError: they were replaced, or damaged.
    """
    now, before = open_bundle(found.bundle.path), found.bundle.manifest.bundle_hash
    if now.manifest.bundle_hash != before:
        raise BundleError(
            f"The bundle in {found.bundle.path} is another one than when it was opened.",
            f"The files of {before} are expected.",
            "Reload; and replace a bundle as a whole, by a link that leads elsewhere.",
        )


def folder_of(bundle: Bundle, state: Path) -> Path:
    """Where a bundle keeps everything."""
    return state / bundle.manifest.bundle_hash[:HASH_DIGITS]


def move_in(found: Found, settings: Settings, board: Board, source: str) -> Residence:
    """Open a runtime, and see that it answers: one frame of the bundle's own, of which nothing is
    learned or recorded.

    Args:
        found: what is to run.
        settings: of the device.
        board: the machine, with what is to be told of learning.
        source: its name, for the ledger.

    Raises:
        SelEdgeError: it cannot be opened, or does not answer.
    """
    bundle, folder = found.bundle, folder_of(found.bundle, settings.state)
    seen, threads, config = NamedSource(source), settings.threads, settings.config
    with ExitStack() as stack:
        ledger = stack.enter_context(LedgerWriter(folder / LEDGER_FILE, TICKS_WAIT_S))
        runtime = stack.enter_context(
            open_runtime(bundle, ledger, board, seen, found.budget, threads, config)
        )
        runtime.test(bundle.anchors().frames[:1])
        close = stack.pop_all().close
    return Residence(found, folder, runtime, close)
