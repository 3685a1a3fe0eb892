"""Images: the network that a board begins with, in chunks between a beginning and a commit."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.link.messages.codec import (
    HASH_BYTES,
    MAC_BYTES,
    NONCE_BYTES,
    Message,
    fixed,
    number,
    rest,
)
from sel_edge.link.messages.delta import Chunks, Written
from sel_edge.link.messages.envelope import Request


@dataclass(frozen=True)
class ImageCommitted(Message):
    """The image in use from now on.

    Attributes:
        image: its hash, 32 bytes.
        nonce: what the next MAC has to be of, 16 bytes.
    """

    image: bytes = fixed(HASH_BYTES)
    nonce: bytes = fixed(NONCE_BYTES)


@dataclass(frozen=True)
class ImageBeginRequest(Request[Chunks]):
    """Makes room for an image of so many bytes, or goes on with one."""

    operation = 0x30
    answer = Chunks

    size: int = number("I")
    image: bytes = fixed(HASH_BYTES)
    mac: bytes = fixed(MAC_BYTES)


@dataclass(frozen=True)
class ImageDataRequest(Request[Written]):
    """Writes a chunk of an image.

    Attributes:
        offset: in bytes, of the chunk in the image.
        content: the chunk.
    """

    operation = 0x31
    answer = Written

    offset: int = number("I")
    content: bytes = rest()


@dataclass(frozen=True)
class ImageCommitRequest(Request[ImageCommitted]):
    """Puts an image in use."""

    operation = 0x32
    answer = ImageCommitted

    image: bytes = fixed(HASH_BYTES)
    mac: bytes = fixed(MAC_BYTES)
