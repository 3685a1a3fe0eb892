"""The frames in C against those in Python, on lines that are right and on lines that are not."""

from __future__ import annotations

import ctypes
import struct
import zlib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.link.frames import FRAGMENT_BYTES, FrameDecoder, Kind, Packet, cobs_encode
from tests.firmware.build import CORE, shared_library

LONGEST = 4 * FRAGMENT_BYTES
"""Bytes of the longest message here."""


class Found(ctypes.Structure):
    """Where the probe has put a message."""

    _fields_ = (("sequence", ctypes.c_uint16), ("at", ctypes.c_uint32), ("bytes", ctypes.c_uint32))


@cache
def library() -> ctypes.CDLL:
    probe = Path(__file__).with_name("frames_probe.c")
    return ctypes.CDLL(str(shared_library([probe, CORE / "sel_frames.c", CORE / "sel_crc.c"])))


def encode_in_c(packet: Packet, piece: int) -> bytes:
    out = ctypes.create_string_buffer(2 * len(packet.content) + 64)
    content = packet.content
    count = library().probe_encode(
        int(packet.kind), packet.sequence, content, len(content), piece, out
    )
    assert count > 0, "the board sends pieces that are too long"
    return out.raw[:count]


def decode_in_c(line: bytes, piece: int, room: int = LONGEST) -> tuple[list[Packet], int]:
    """The requests in a line, and how many frames were dropped."""
    guard = 64
    buffer = ctypes.create_string_buffer(b"\xa5" * (room + guard), room + guard)
    out = ctypes.create_string_buffer(len(line) + 1)
    found = (Found * (len(line) // 10 + 1))()
    dropped = ctypes.c_uint32()
    count = library().probe_decode(
        int(Kind.REQUEST), line, len(line), piece, buffer, room, out, found, ctypes.byref(dropped)
    )
    assert buffer.raw[room:] == b"\xa5" * guard
    packets = [
        Packet(Kind.REQUEST, each.sequence, out.raw[each.at : each.at + each.bytes])
        for each in found[:count]
    ]
    return packets, dropped.value


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Messages with runs of every length of zeros and of other bytes."""
    parts = draw(
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.builds(lambda count: b"\0" * count, st.integers(0, 300)),
                st.builds(
                    lambda byte, count: bytes([byte]) * count,
                    st.integers(1, 255),
                    st.sampled_from([1, 253, 254, 255, 508, 1039, 1040, 1041]),
                ),
            ),
            max_size=4,
        )
    )
    return b"".join(parts)[:LONGEST]


packets = st.builds(
    Packet, st.just(Kind.REQUEST), st.integers(0, 0xFFFF), contents() | st.binary(max_size=8)
)
pieces = st.sampled_from([1, 2, 7, 64, 255, 256, 1040, 5000])


@given(packet=packets, piece=pieces)
def test_python_reads_what_c_writes(packet: Packet, piece: int) -> None:
    decoder = FrameDecoder(Kind.REQUEST)
    assert decoder.feed(encode_in_c(packet, piece)) == [packet]
    assert decoder.dropped == 0


@given(sent=st.lists(packets, max_size=3), piece=pieces)
def test_c_reads_what_python_writes(sent: list[Packet], piece: int) -> None:
    line = b"".join(packet.encode() for packet in sent)
    assert decode_in_c(line, piece) == (sent, 0)


@pytest.mark.parametrize("length", [*range(240, 270), 500, 508, 1039, 1040, 1041, 2080, 4160])
def test_a_message_of_any_length_comes_back(length: int) -> None:
    packet = Packet(Kind.REQUEST, length, bytes(1 + i % 255 for i in range(length)))
    assert decode_in_c(encode_in_c(packet, 100), 33) == ([packet], 0)


@given(packet=packets, room=st.integers(0, LONGEST))
def test_a_message_that_is_too_long_for_the_buffer_is_dropped(packet: Packet, room: int) -> None:
    found, dropped = decode_in_c(packet.encode(), 50, room)
    if len(packet.content) <= room:
        assert (found, dropped) == ([packet], 0)
    else:
        assert found == []
        assert dropped >= 1


@st.composite
def damaged_lines(draw: st.DrawFn) -> tuple[list[Packet], bytes]:
    """Messages, and their line with bytes changed, lost, doubled, inserted or moved."""
    sent = draw(st.lists(packets, min_size=1, max_size=3))
    line = bytearray(b"".join(packet.encode() for packet in sent))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(line) - 1))
        what = draw(st.sampled_from(["change", "lose", "double", "insert", "move"]))
        if what == "change":
            line[at] ^= draw(st.integers(1, 255))
        elif what == "lose" and len(line) > 8:
            del line[at : at + draw(st.integers(1, 4))]
        elif what == "double":
            line[at:at] = line[at : at + draw(st.integers(1, 300))]
        elif what == "insert":
            line[at:at] = draw(st.binary(min_size=1, max_size=6))
        else:
            part = line[at : at + 20]
            del line[at : at + 20]
            line.extend(part)
    return sent, bytes(line)


@settings(max_examples=400)
@given(damaged=damaged_lines(), piece=pieces)
def test_a_damaged_line_never_delivers_another_message(
    damaged: tuple[list[Packet], bytes], piece: int
) -> None:
    sent, line = damaged
    found, _ = decode_in_c(line, piece)
    assert all(packet in sent for packet in found)


@given(damaged=damaged_lines(), piece=pieces, packet=packets)
def test_after_any_damage_the_next_whole_message_arrives(
    damaged: tuple[list[Packet], bytes], piece: int, packet: Packet
) -> None:
    found, _ = decode_in_c(damaged[1] + packet.encode(), piece)
    assert found[-1] == packet


@given(line=st.binary(max_size=3000), piece=pieces)
def test_noise_is_no_message(line: bytes, piece: int) -> None:
    found, _ = decode_in_c(line, piece)
    assert found == []


@given(packet=packets, position=st.floats(0, 1), bit=st.integers(0, 7))
def test_c_and_python_agree_on_a_flipped_bit(packet: Packet, position: float, bit: int) -> None:
    line = bytearray(packet.encode())
    line[int(position * (len(line) - 1))] ^= 1 << bit
    found, dropped = decode_in_c(bytes(line), 64)
    decoder = FrameDecoder(Kind.REQUEST)
    assert decoder.feed(bytes(line)) == found
    assert (dropped > 0) == (decoder.dropped > 0)


def framed(fragment: int, last: int, content: bytes, version: int = 1) -> bytes:
    """A frame whose CRC is right, whatever it says."""
    frame = struct.pack("<BBHBB", version, Kind.REQUEST, 3, fragment, last) + content
    return b"\0" + cobs_encode(frame + struct.pack("<I", zlib.crc32(frame))) + b"\0"


@pytest.mark.parametrize(
    "line",
    [
        framed(0, 0, bytes(FRAGMENT_BYTES + 1)),
        framed(0, 0, bytes(3000)),
        framed(0, 1, bytes(FRAGMENT_BYTES - 1)),
        framed(1, 0, b""),
        framed(1, 1, b""),
        framed(0, 0, b"", version=2),
    ],
)
def test_frames_against_the_rules_are_dropped(line: bytes) -> None:
    assert decode_in_c(line, 64) == ([], 1)


def test_responses_are_not_requests() -> None:
    line = Packet(Kind.RESPONSE, 1, b"\x02\x00").encode()
    assert decode_in_c(line, 1) == ([], 1)


def test_fragments_of_two_messages_are_not_mixed() -> None:
    first, second = (
        Packet(Kind.REQUEST, sequence, bytes([sequence]) * (FRAGMENT_BYTES + 1))
        for sequence in (1, 2)
    )
    frames = [
        b"\0" + frame + b"\0"
        for packet in (first, second)
        for frame in packet.encode().split(b"\0")
        if frame
    ]
    assert decode_in_c(frames[0] + frames[3], 64) == ([], 1)
    assert decode_in_c(frames[0] + frames[2] + frames[3], 64) == ([second], 0)
