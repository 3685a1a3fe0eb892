"""The record of a slot: which deltas, in their order, make the network, and how sure that is."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum

from sel_edge.bundle.canonical import HASH_BYTES, Reader

MAGIC = b"SELS"
VERSION = 1
MAX_CHAIN = 256
_START = "<4sHBxQ"
_CRC = "<I"
MAX_RECORD_BYTES = 4096 + MAX_CHAIN * HASH_BYTES


class Status(IntEnum):
    """How sure it is that the network of a slot works."""

    PENDING = 0
    """Committed, and not confirmed yet."""
    TRIED = 1
    """Opened again while pending: if nothing else is heard of it, the slot is given up."""
    CONFIRMED = 2
    GIVEN_UP = 3
    """Never confirmed, and no longer used."""


@dataclass(frozen=True)
class SlotRecord:
    """What a slot holds.

    Attributes:
        status: how sure the network is.
        counter: of the commit or rollback; the higher one of two slots is the newer.
        base: hash of the bundle.
        chain: hashes of the delta files that lead there from the bundle's network, in order.
    """

    status: Status
    counter: int
    base: str
    chain: tuple[str, ...]

    def with_status(self, status: Status) -> SlotRecord:
        """The same with another status."""
        return replace(self, status=status)

    def to_bytes(self) -> bytes:
        """The content of a slot's file, with a CRC-32 of all before it at the end."""
        content = b"".join(
            (
                struct.pack(_START, MAGIC, VERSION, self.status, self.counter),
                bytes.fromhex(self.base),
                struct.pack("<H", len(self.chain)),
                bytes.fromhex("".join(self.chain)),
            )
        )
        return content + struct.pack(_CRC, zlib.crc32(content))


def parse_record(content: bytes) -> SlotRecord:
    """Read what `SlotRecord.to_bytes` wrote, and nothing else.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    body, end = content[:-4], content[-4:]
    if len(end) != 4 or struct.pack(_CRC, zlib.crc32(body)) != end:
        raise ValueError("its checksum is wrong")
    reader = Reader(body)
    magic, version, status, counter = reader.unpack(_START)
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it is no slot of version {VERSION}")
    base, number = reader.hash(), reader.count()
    if number > MAX_CHAIN:
        raise ValueError(f"it names {number} deltas")
    chain = tuple(reader.hash() for _ in range(number))
    reader.finish()
    return SlotRecord(Status(status), counter, base, chain)
