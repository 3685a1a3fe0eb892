"""Samples: frames that a board found worth a label."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sel_edge.link.messages.codec import Message, number, rest
from sel_edge.link.messages.envelope import Done, Request

NO_SAMPLE = 0


class Form(IntEnum):
    """What a sample consists of: the input itself, or the features that the network made of it."""

    FRAME = 1
    FEATURES = 2


def _check_form(form: int) -> None:
    if form not in tuple(Form):
        raise ValueError(f"samples of form {form} are unknown")


@dataclass(frozen=True)
class SamplingRequest(Request[Done]):
    """Says what is to be sampled.

    Attributes:
        least_embarrassment: of a frame that becomes a sample, 1/256 nat.
        form: a `Form`.
        per_minute: at most so many; 0 for none.
    """

    operation = 0x11
    answer = Done

    least_embarrassment: int = number("H")
    form: int = number("B", zeros=1)
    per_minute: int = number("H", zeros=2)

    def check(self) -> None:
        """The form is known."""
        _check_form(self.form)


@dataclass(frozen=True)
class Sample(Message):
    """A sample, or none.

    Attributes:
        sample: its number; 0 if none is waiting, and everything else means nothing then.
        frame: number of the frame.
        time_ms: when it was seen, since 1970; 0 if the board did not know.
        label: class that the network took it for.
        embarrassment: 1/256 nat.
        form: a `Form`.
        waiting: samples that are still there behind this one.
        content: the frame or its features.
    """

    sample: int = number("I")
    frame: int = number("I")
    time_ms: int = number("Q")
    label: int = number("H")
    embarrassment: int = number("H")
    form: int = number("B", zeros=1)
    waiting: int = number("H")
    content: bytes = rest()

    def check(self) -> None:
        """A sample that there is has a known form."""
        if self.sample != NO_SAMPLE:
            _check_form(self.form)


@dataclass(frozen=True)
class SampleRequest(Request[Sample]):
    """Asks for the next sample and says which one arrived last: the board may forget that one.

    Attributes:
        arrived: number of that one; 0 if none did.
    """

    operation = 0x12
    answer = Sample

    arrived: int = number("I")
