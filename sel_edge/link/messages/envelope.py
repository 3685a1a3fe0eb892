"""What is around the fields of a message: the operation, and the status of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from sel_edge.core.errors import LinkError
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.refusal import OK, refused

A = TypeVar("A", bound=Message)


class Request(Message, Generic[A]):
    """A message that asks for an answer of type A."""

    operation: ClassVar[int]
    answer: ClassVar[type[Message]]


@dataclass(frozen=True)
class Done(Message):
    """An answer that says no more than that it is done."""


def encode_request(request: Request[A]) -> bytes:
    """A request as the content of a packet.

    Raises:
        LinkError: a field has a value that the format cannot tell.
    """
    return bytes((request.operation, 0)) + request.encode()


def decode_answer(request: Request[A], content: bytes) -> A:
    """The answer in the content of a packet.

    Raises:
        RefusedError: the board said no.
        OtherVersionError: it speaks other versions of the messages.
        LinkError: it is no answer to this request, or damaged.
    """
    if len(content) < 2 or content[0] != request.operation:
        raise LinkError(
            "The board answered another question than it was asked.",
            f"An answer to operation 0x{request.operation:02x} is expected.",
            "Check that firmware and program are of the same release.",
        )
    status, fields = content[1], content[2:]
    if status != OK:
        raise refused(status, fields)
    answer: A = request.answer.decode(fields)  # type: ignore[assignment]
    return answer
