"""What a board answers when it does not do what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

from sel_edge.core.errors import LinkError, OtherVersionError, RefusedError
from sel_edge.link.messages.codec import HASH_BYTES, NONCE_BYTES, Message, fixed, number

OK = 0
LEAST_VERSION = GREATEST_VERSION = 1
"""Of the messages that this program speaks."""


class Refusal(IntEnum):
    """The statuses of docs/SPEC.md that are no success."""

    UNKNOWN_OPERATION = 1
    MALFORMED = 2
    BUSY = 3
    WRONG_BASE = 4
    STALE_COUNTER = 5
    WRONG_MAC = 6
    FULL = 7
    FLASH_FAULT = 8
    NO_IMAGE = 9
    IMAGE_REFUSED = 10
    PAYLOAD_REFUSED = 11
    NO_KEY = 12
    INCOMPLETE = 13
    VERSION = 14
    NOTHING_BEFORE = 15

    @property
    def label(self) -> str:
        """What a person reads."""
        return self.name.lower().replace("_", " ").replace("mac", "MAC")


@dataclass(frozen=True)
class NoDetails(Message):
    """A refusal that tells nothing else."""


@dataclass(frozen=True)
class InUse(Message):
    """The network that runs instead."""

    network: bytes = fixed(HASH_BYTES)


@dataclass(frozen=True)
class LastCounter(Message):
    """The counter that a new one has to exceed."""

    counter: int = number("Q")


@dataclass(frozen=True)
class NextNonce(Message):
    """What the next MAC has to be of."""

    nonce: bytes = fixed(NONCE_BYTES)


@dataclass(frozen=True)
class Room(Message):
    """How many bytes are missing."""

    needed: int = number("I")
    available: int = number("I")


@dataclass(frozen=True)
class Reason(Message):
    """A number of the firmware's source file that refused."""

    reason: int = number("I")


@dataclass(frozen=True)
class Versions(Message):
    """The versions of the messages that the board speaks."""

    least: int = number("B")
    greatest: int = number("B")


DETAILS: dict[Refusal, type[Message]] = {
    Refusal.WRONG_BASE: InUse,
    Refusal.STALE_COUNTER: LastCounter,
    Refusal.WRONG_MAC: NextNonce,
    Refusal.FULL: Room,
    Refusal.IMAGE_REFUSED: Reason,
    Refusal.PAYLOAD_REFUSED: Reason,
    Refusal.VERSION: Versions,
}

_ADVICE: dict[Refusal, tuple[str, str]] = {
    Refusal.UNKNOWN_OPERATION: (
        "A firmware that knows this request is expected.",
        "Update the board's firmware; `sel-edge device status` says which version it has.",
    ),
    Refusal.MALFORMED: (
        "A request that fits the board's network and firmware is expected.",
        "Check that the input has the size of the network's, and update the older side.",
    ),
    Refusal.BUSY: ("A board that has time is expected.", "Ask again later."),
    Refusal.WRONG_BASE: (
        "A change is taken only by the network that it was made from.",
        "Make it again from the network in use, or roll the board back first.",
    ),
    Refusal.STALE_COUNTER: (
        "A counter higher than the last one is expected, so that nothing old comes back.",
        "Make the change again with a higher counter.",
    ),
    Refusal.WRONG_MAC: (
        "A MAC under the key that was given to this board is expected.",
        "Use the key file of the host that set up the board.",
    ),
    Refusal.FULL: (
        "Room for the change in the board's overlay is expected.",
        "Change fewer channels, or install an image of the network as it is now.",
    ),
    Refusal.FLASH_FAULT: ("Flash that works is expected.", "Replace the board."),
    Refusal.NO_IMAGE: (
        "A board with a network is expected.",
        "Install one with `sel-edge deploy` first.",
    ),
    Refusal.IMAGE_REFUSED: (
        "An image that fits the board's flash and memory is expected.",
        "Export the network for this board's profile.",
    ),
    Refusal.PAYLOAD_REFUSED: (
        "A change that fits the network in use is expected.",
        "Make it again from that network.",
    ),
    Refusal.NO_KEY: (
        "A board that has a key of its own is expected.",
        "Give it one with `sel-edge deploy` first.",
    ),
    Refusal.INCOMPLETE: (
        "All chunks as the manifest says are expected.",
        "Send it again; what has arrived is not sent twice.",
    ),
    Refusal.NOTHING_BEFORE: (
        "A network before the one in use is expected.",
        "Nothing is to be done: the board runs the image itself.",
    ),
}


def refused(status: int, content: bytes) -> LinkError:
    """The error for an answer that is no success.

    Args:
        status: of the answer, not 0.
        content: the fields that came with it.

    Raises:
        LinkError: there is no such status, or it has other fields.
    """
    try:
        refusal = Refusal(status)
    except ValueError as error:
        raise LinkError(
            f"The board answered with the unknown status {status}.",
            f"Statuses up to {max(Refusal)} are expected.",
            "Update sel-edge.",
        ) from error
    details = DETAILS.get(refusal, NoDetails).decode(content)
    if isinstance(details, Versions):
        return other_version(details.least, details.greatest)
    told = {part.name: getattr(details, part.name) for part in fields(details)}  # type: ignore[arg-type]
    shown = {name: v.hex() if isinstance(v, bytes) else int(v) for name, v in told.items()}
    return RefusedError(refusal, refusal.label, shown, *_ADVICE[refusal])


def other_version(least: int, greatest: int) -> OtherVersionError:
    """The error for a board whose messages this program does not speak."""
    return OtherVersionError(
        f"The board speaks versions {least} to {greatest} of the messages.",
        f"This program speaks versions {LEAST_VERSION} to {GREATEST_VERSION}.",
        "Update the older of the two: the firmware, or sel-edge.",
    )
