"""Time, log, restart and key of a board."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.link.messages.codec import Message, fixed, number, rest
from sel_edge.link.messages.envelope import Done, Request

KEY_BYTES = 32


@dataclass(frozen=True)
class TimeRequest(Request[Done]):
    """Sets the clock: milliseconds since 1970."""

    operation = 0x03
    answer = Done

    time_ms: int = number("Q")


@dataclass(frozen=True)
class LogPart(Message):
    """A part of the log.

    Attributes:
        first: number of its first byte, counted since the board's start.
        written: bytes ever written.
        text: bytes `first` and following.
    """

    first: int = number("I")
    written: int = number("I")
    text: bytes = rest()

    def check(self) -> None:
        """No more is told than was written."""
        if self.first + len(self.text) > self.written:
            raise ValueError("a log ends behind its end")


@dataclass(frozen=True)
class LogRequest(Request[LogPart]):
    """Asks for the log from a byte on."""

    operation = 0x04
    answer = LogPart

    first: int = number("I")


@dataclass(frozen=True)
class RebootRequest(Request[Done]):
    """Restarts the board."""

    operation = 0x05
    answer = Done


@dataclass(frozen=True)
class ProvisionRequest(Request[Done]):
    """Gives the board its key, once and for all."""

    operation = 0x06
    answer = Done

    key: bytes = fixed(KEY_BYTES)
