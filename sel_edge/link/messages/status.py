"""Status: what a board runs and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from sel_edge.core.errors import LinkError
from sel_edge.link.messages.codec import HASH_BYTES, NONCE_BYTES, Message, fixed, number
from sel_edge.link.messages.envelope import Request

_LAST_COUNTER = 2**64 - 1


class Fault(IntFlag):
    """What is wrong with a board."""

    NO_IMAGE = 1
    IMAGE_DAMAGED = 2
    OVERLAY_DAMAGED = 4
    FLASH = 8


@dataclass(frozen=True)
class Status(Message):
    """How a board is.

    Attributes:
        image: hash of the image, 32 bytes.
        network: hash of the network in use, 32 bytes.
        previous: hash of the network that a rollback by one leads to, 32 bytes; zeros for none.
        nonce: what the next MAC has to be of, 16 bytes.
        counter: the last one.
        time_ms: since 1970; 0 before it was set.
        uptime_ms: since the start.
        frames: observed since the start.
        samples_lost: samples that found no room.
        samples_waiting: samples for the host to take.
        classes: the network's.
        overlay_used, overlay_bytes: of the area of flash that holds changes.
        erases: of both areas, ever.
        segments: of the stack, as many as can be gone back from.
        faults: a `Fault`.
        frames_dropped: by the link.
    """

    image: bytes = fixed(HASH_BYTES)
    network: bytes = fixed(HASH_BYTES)
    previous: bytes = fixed(HASH_BYTES)
    nonce: bytes = fixed(NONCE_BYTES)
    counter: int = number("Q")
    time_ms: int = number("Q")
    uptime_ms: int = number("I")
    frames: int = number("I")
    samples_lost: int = number("I")
    samples_waiting: int = number("H")
    classes: int = number("H")
    overlay_used: int = number("I")
    overlay_bytes: int = number("I")
    erases: int = number("I")
    segments: int = number("H")
    faults: int = number("H")
    frames_dropped: int = number("I")

    @property
    def next_counter(self) -> int:
        """Of what is sent next.

        Raises:
            LinkError: there is none.
        """
        if self.counter == _LAST_COUNTER:
            raise LinkError(
                "The board's last counter is the highest that there is.",
                "A higher one is expected of every change.",
                "Erase the board's flash and set it up anew.",
            )
        return self.counter + 1

    @property
    def has_network(self) -> bool:
        """Whether the board can answer for frames."""
        return not self.faults & (Fault.NO_IMAGE | Fault.IMAGE_DAMAGED)


@dataclass(frozen=True)
class StatusRequest(Request[Status]):
    """Asks for that."""

    operation = 0x02
    answer = Status
