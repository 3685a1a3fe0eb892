"""Infer: what a board's network answers for an input of the host's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from sel_edge.link.messages.codec import Message, counted, number, rest
from sel_edge.link.messages.envelope import Request


class Wanted(IntFlag):
    """What is wanted beside the answer itself.

    OBSERVE treats the input as a frame of the board's own: it is counted and may become a sample.
    """

    OBSERVE = 1
    FEATURES = 2
    LOGITS = 4


@dataclass(frozen=True)
class Inference(Message):
    """An answer.

    Attributes:
        frame: frames observed so far.
        label: number of the class.
        uncertainty: 1/65536.
        embarrassment: 1/256 nat.
        logit_count, feature_count: how many follow; 0 where they were not asked for.
        cycles: clock cycles that the inference took.
        logits: int16 each, 1/256 nat.
        features: quantized, a byte each.
    """

    frame: int = number("I")
    label: int = number("H")
    uncertainty: int = number("H")
    embarrassment: int = number("H")
    logit_count: int = number("H")
    feature_count: int = number("H", zeros=2)
    cycles: int = number("Q")
    logits: tuple[int, ...] = counted("h", "logit_count")
    features: bytes = rest()

    def check(self) -> None:
        """As many features are there as it says."""
        if len(self.features) != self.feature_count:
            raise ValueError(f"{len(self.features)} of {self.feature_count} features are there")


@dataclass(frozen=True)
class InferRequest(Request[Inference]):
    """Asks for that.

    Attributes:
        wanted: a `Wanted`.
        content: [height][width][channels] pixels, or values that are quantized already.
    """

    operation = 0x10
    answer = Inference

    wanted: int = number("B", zeros=1)
    content: bytes = rest()

    def check(self) -> None:
        """Nothing unknown is wanted."""
        if self.wanted > sum(Wanted):
            raise ValueError(f"flags {self.wanted} are unknown")
