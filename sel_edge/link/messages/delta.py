"""Deltas: a change of the network in use, in chunks between a beginning and a commit."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.link.messages.codec import (
    HASH_BYTES,
    MAC_BYTES,
    NONCE_BYTES,
    Message,
    counted,
    fixed,
    number,
    rest,
)
from sel_edge.link.messages.envelope import Request

MANIFEST_BYTES = 128
MIN_CHUNK_BYTES = 256
"""Smaller ones would only cost time."""


@dataclass(frozen=True)
class Chunks(Message):
    """What is there of a payload or an image.

    Attributes:
        chunk_bytes: bytes of every chunk but the last.
        count: chunks in all.
        crcs: CRC-32 of each as it stands in flash.
    """

    chunk_bytes: int = number("I")
    count: int = number("H", zeros=2)
    crcs: tuple[int, ...] = counted("I", "count")

    def check(self) -> None:
        """Chunks are of a sensible size."""
        if self.chunk_bytes < MIN_CHUNK_BYTES:
            raise ValueError(f"chunks of {self.chunk_bytes} bytes are too small")


@dataclass(frozen=True)
class Written(Message):
    """Where the chunk is that was written."""

    offset: int = number("I")


@dataclass(frozen=True)
class Committed(Message):
    """The network in use from now on.

    Attributes:
        network: its hash, 32 bytes.
        counter: of the commit or rollback.
        nonce: what the next MAC has to be of, 16 bytes.
    """

    network: bytes = fixed(HASH_BYTES)
    counter: int = number("Q")
    nonce: bytes = fixed(NONCE_BYTES)


@dataclass(frozen=True)
class DeltaBeginRequest(Request[Chunks]):
    """Makes room for a delta, or goes on with one."""

    operation = 0x20
    answer = Chunks

    manifest: bytes = fixed(MANIFEST_BYTES)
    mac: bytes = fixed(MAC_BYTES)


@dataclass(frozen=True)
class DeltaDataRequest(Request[Written]):
    """Writes a chunk of a payload.

    Attributes:
        offset: in bytes, of the chunk in the payload.
        content: the chunk.
    """

    operation = 0x21
    answer = Written

    offset: int = number("I")
    content: bytes = rest()


@dataclass(frozen=True)
class DeltaCommitRequest(Request[Committed]):
    """Puts a delta in use."""

    operation = 0x22
    answer = Committed

    manifest: bytes = fixed(MANIFEST_BYTES)
    mac: bytes = fixed(MAC_BYTES)
