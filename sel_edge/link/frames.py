"""Frames: messages as bytes of a serial line, and back.

COBS is that of Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on
Networking 7(2), 1999: no byte of a frame is 0, so that a 0 ends it wherever one begins to listen.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
FRAGMENT_BYTES = 1040
"""Of a message in each of its frames but the last."""
MAX_FRAGMENTS = 256
MAX_PACKET_BYTES = FRAGMENT_BYTES * MAX_FRAGMENTS
_HEADER = struct.Struct("<BBHBB")
"""Version, kind, sequence, fragment, last fragment."""
_CRC = struct.Struct("<I")
_BLOCK_BYTES = 254
_MAX_FRAME_BYTES = _HEADER.size + FRAGMENT_BYTES + _CRC.size
_MAX_ENCODED_BYTES = _MAX_FRAME_BYTES + _MAX_FRAME_BYTES // _BLOCK_BYTES + 1
_END = b"\0"


class Kind(IntEnum):
    """Who sends a message: the host a request, the board a response."""

    REQUEST = 1
    RESPONSE = 2


@dataclass(frozen=True)
class Packet:
    """A message as frames carry it.

    Attributes:
        kind: request or response.
        sequence: 0 to 65535; a response has the request's.
        content: the message, at most `MAX_PACKET_BYTES`.
    """

    kind: Kind
    sequence: int
    content: bytes

    def encode(self) -> bytes:
        """The frames, with a byte of 0 around each: the first ends whatever the line has carried.

        Raises:
            ValueError: the message is too long.
        """
        last = max(0, len(self.content) - 1) // FRAGMENT_BYTES
        if last >= MAX_FRAGMENTS:
            raise ValueError(f"a message of {len(self.content)} bytes is too long")
        encoded = [_END]
        for number in range(last + 1):
            head = _HEADER.pack(VERSION, self.kind, self.sequence, number, last)
            start = number * FRAGMENT_BYTES
            frame = head + self.content[start : start + FRAGMENT_BYTES]
            encoded += cobs_encode(frame + _CRC.pack(zlib.crc32(frame))), _END
        return b"".join(encoded)


class FrameDecoder:
    """Puts messages of one kind together from bytes as they come in, whatever bytes they are.

    Args:
        kind: what is listened for; other frames are dropped.

    Attributes:
        dropped: frames that did not decode or did not continue the message under way.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._buffer = b""
        self._under_way: _Partial | None = None
        self.dropped = 0

    def feed(self, data: bytes) -> list[Packet]:
        """Take in the next bytes of the line; returns the messages that they complete."""
        *frames, rest = (self._buffer + data).split(_END)
        # One byte more than a frame can have is enough to know that it is none.
        self._buffer = rest[: _MAX_ENCODED_BYTES + 1]
        packets = []
        for encoded in frames:
            if encoded and (packet := self._take(encoded)):
                packets.append(packet)
        return packets

    def _take(self, encoded: bytes) -> Packet | None:
        """The message that a frame completes, if any."""
        fragment = _decode_frame(encoded) if len(encoded) <= _MAX_ENCODED_BYTES else None
        if fragment is None or fragment.kind != self._kind:
            self.dropped += 1
            return None
        if fragment.number == 0:
            self._under_way = _Partial(fragment.sequence, fragment.last, [])
        partial = self._under_way
        if partial is None or not partial.goes_on_with(fragment):
            self.dropped += 1
            return None
        partial.parts.append(fragment.content)
        if fragment.number < fragment.last:
            return None
        self._under_way = None
        return Packet(self._kind, partial.sequence, b"".join(partial.parts))


@dataclass(frozen=True)
class _Fragment:
    """What a frame carries."""

    kind: int
    sequence: int
    number: int
    last: int
    content: bytes


@dataclass(frozen=True)
class _Partial:
    """A message that is being put together."""

    sequence: int
    last: int
    parts: list[bytes]

    def goes_on_with(self, fragment: _Fragment) -> bool:
        """Whether a fragment is the next one of this message."""
        found = (fragment.sequence, fragment.last, fragment.number)
        return found == (self.sequence, self.last, len(self.parts))


def _decode_frame(encoded: bytes) -> _Fragment | None:
    """What a frame carries; None if it is not whole."""
    frame = cobs_decode(encoded)
    if frame is None or len(frame) < _HEADER.size + _CRC.size:
        return None
    body = frame[: -_CRC.size]
    if _CRC.pack(zlib.crc32(body)) != frame[-_CRC.size :]:
        return None
    version, kind, sequence, number, last = _HEADER.unpack(body[: _HEADER.size])
    content = body[_HEADER.size :]
    is_full = len(content) == FRAGMENT_BYTES
    if version != VERSION or number > last or not (is_full or number == last):
        return None
    return _Fragment(kind, sequence, number, last, content)


def cobs_encode(data: bytes) -> bytes:
    """Bytes without a 0 that stand for any bytes."""
    encoded = bytearray()
    for block in data.split(_END):
        whole, rest = divmod(len(block), _BLOCK_BYTES)
        for number in range(whole):
            encoded.append(_BLOCK_BYTES + 1)
            encoded += block[number * _BLOCK_BYTES : (number + 1) * _BLOCK_BYTES]
        encoded.append(rest + 1)
        encoded += block[whole * _BLOCK_BYTES :]
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes | None:
    """What `cobs_encode` was given; None if it can have made no such bytes.

    Args:
        encoded: bytes without a 0.
    """
    data, position = bytearray(), 0
    while position < len(encoded):
        code = encoded[position]
        block = encoded[position + 1 : position + code]
        if len(block) != code - 1:
            return None
        data += block
        position += code
        if code <= _BLOCK_BYTES and position < len(encoded):
            data += _END
    return bytes(data)
