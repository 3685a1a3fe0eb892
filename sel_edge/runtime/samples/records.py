"""What goes into the sample store and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sel_edge.core.errors import ConfigError, DataError
from sel_edge.runtime.samples.frame import Frame

Source = Literal["stream", "person", "file"]
"""Who gave a label: the stream itself, a person, or a file or folder of answers."""

Effect = Literal["new", "same", "changed", "deferred"]
"""What an answer did. "deferred": the frame is not in the store; the runtime may remember it."""

NOT_USEFUL = "not useful"
MAX_CLASS_CHARACTERS = 255
LABELLED_LIMIT = 8192


@dataclass(frozen=True)
class SampleSettings:
    """Bounds of the sample store.

    Attributes:
        waiting: frames that wait for a label.
        max_age_frames: frames after which a waiting frame is let go. Counted in frames, because
            a board without a battery clock jumps by days when it finds the time.
        min_distance: cosine distance of features under which two frames are near duplicates, and
            only the one that teaches more waits.
        labelled: labelled frames, shared fairly between the classes; at most 8192.
        recent: frames remembered in memory for labels that come late.
        recent_bytes: memory that those may take.
        flush_s: seconds between two writes of what may be lost.
    """

    waiting: int = 256
    max_age_frames: int = 100_000
    min_distance: float = 0.02
    labelled: int = 2048
    recent: int = 1024
    recent_bytes: int = 32 * 2**20
    flush_s: float = 5.0

    def __post_init__(self) -> None:
        counts = (self.waiting, self.max_age_frames, self.labelled, self.recent, self.recent_bytes)
        rules = {
            "counts are at least 1": min(counts) >= 1,
            f"labelled <= {LABELLED_LIMIT}": self.labelled <= LABELLED_LIMIT,
            "0 <= min_distance < 1": 0 <= self.min_distance < 1,
            "flush_s >= 0": self.flush_s >= 0,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(
                    f"The settings of the sample store break the rule '{rule}'.",
                    "Settings within their documented ranges are expected.",
                    "Correct the setting, or leave it out to use its default.",
                )


@dataclass(frozen=True)
class Waiting:
    """A frame that waits for a label.

    Attributes:
        id: what people call it.
        number: of the frame in the ledger.
        frame: its content.
        predicted: the class name that the network answered.
        score: how much a label would teach, 0 to 1.
        reason: why, for people.
        seen: when it came, seconds since 1970 by the device's clock.
    """

    id: str
    number: int
    frame: Frame
    predicted: str
    score: float
    reason: str
    seen: float


@dataclass(frozen=True)
class Labelled:
    """A frame with its answer.

    Attributes:
        id: what people call it.
        number: of the frame in the ledger.
        frame: its content.
        label: class name; None if the answer is that the frame is not useful, and any earlier
            label of it no longer holds.
        source: who gave it.
        held_out: whether the guard keeps it; None as long as the runtime has not said.
        given: when it was answered, seconds since 1970 by the clock of the machine that took it.
    """

    id: str
    number: int
    frame: Frame
    label: str | None
    source: Source
    held_out: bool | None
    given: float


@dataclass(frozen=True)
class Taken:
    """Answers that came since the runtime asked last.

    Attributes:
        samples: each frame once, with its latest answer; one that was taken before may come again.
        last: what to ask with the next time.
    """

    samples: tuple[Labelled, ...]
    last: int


@dataclass(frozen=True)
class Outcome:
    """What one answer did.

    Attributes:
        id: of the frame, completed where only its number was given and the frame is known.
        label: the answer; None for not useful.
        effect: "new" for a frame without an answer, "same" if it says nothing new, "changed"
            for one that had another, "deferred" if the store does not hold the frame.
        before: the answer it had, where it was changed; None stands for not useful.
    """

    id: str
    label: str | None
    effect: Effect
    before: str | None = None


@dataclass(frozen=True)
class ImportReport:
    """What a file or folder of answers did.

    Attributes:
        outcomes: one for each frame answered in it.
        problems: one sentence each, with the line or the name of the file; the first hundred.
        problem_count: how many there were.
    """

    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[str, ...] = ()
    problem_count: int = 0


@dataclass(frozen=True)
class Counts:
    """What a store holds and what happened to it since it was made.

    Attributes:
        waiting: frames that wait for a label.
        labels: class name -> labelled frames.
        not_useful: frames answered so.
        conflicts: answers that contradicted an earlier one.
        unknown: answers to frames that nobody remembered any more.
    """

    waiting: int
    labels: Mapping[str, int]
    not_useful: int
    conflicts: int
    unknown: int


def parse_label(text: str) -> str | None:
    """A class name as people write it; None for "not useful".

    Raises:
        DataError: empty, longer than 255 characters, or with control characters.
    """
    label = text.strip()
    if label.casefold().replace("-", " ") == NOT_USEFUL:
        return None
    if not label or len(label) > MAX_CLASS_CHARACTERS or not label.isprintable():
        raise DataError(
            f"{text[:80]!r} is no class name.",
            f"A class name has 1 to {MAX_CLASS_CHARACTERS} printable characters.",
            f'Give the name of a class, or "{NOT_USEFUL}".',
        )
    return label
