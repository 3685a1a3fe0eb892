"""Hello: who is there, and which messages both sides speak."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from sel_edge.link.messages.codec import DEVICE_ID_BYTES, Message, fixed, number
from sel_edge.link.messages.envelope import Request
from sel_edge.link.messages.refusal import GREATEST_VERSION, LEAST_VERSION

_LEAST_MESSAGE_BYTES = 1040
"""A manifest and a chunk of data are to fit."""


class Ability(IntFlag):
    """What a board has or can."""

    HAS_KEY = 1
    TAKES_KEY = 2
    HAS_IMAGE = 4
    REBOOTS = 8


@dataclass(frozen=True)
class Hello(Message):
    """A board introduces itself.

    Attributes:
        version: of the messages from now on.
        device_id: 8 bytes that no other board has.
        firmware_major, firmware_minor: version of the firmware.
        fragment_bytes: longest part of a message in one frame.
        window: requests that may be under way at a time, >= 1.
        longest_message: bytes of the longest request.
        abilities: an `Ability`.
    """

    version: int = number("B", zeros=1)
    device_id: bytes = fixed(DEVICE_ID_BYTES)
    firmware_major: int = number("H")
    firmware_minor: int = number("H")
    fragment_bytes: int = number("H")
    window: int = number("H")
    longest_message: int = number("I")
    abilities: int = number("I")

    def check(self) -> None:
        """At least one request of the least length may be under way."""
        if not self.window or self.longest_message < _LEAST_MESSAGE_BYTES:
            raise ValueError(f"{self.window} requests of {self.longest_message} bytes are too few")


@dataclass(frozen=True)
class HelloRequest(Request[Hello]):
    """Asks for that, and tells which versions of the messages this side speaks."""

    operation = 0x01
    answer = Hello

    least: int = number("B")
    greatest: int = number("B")

    def check(self) -> None:
        """The versions are in order."""
        if self.least > self.greatest:
            raise ValueError(f"versions {self.least} to {self.greatest} are none")


OURS = HelloRequest(LEAST_VERSION, GREATEST_VERSION)
