"""Frames: whatever the line does to them, a message arrives as it was sent or not at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.link.frames import (
    FRAGMENT_BYTES,
    MAX_PACKET_BYTES,
    FrameDecoder,
    Kind,
    Packet,
    cobs_decode,
    cobs_encode,
)

SEQUENCES = st.integers(0, 2**16 - 1)
BLOCKS = st.sampled_from([b"\0", b"\1", b"\xff", b"a" * 253, b"b" * 254, b"c" * 255, b"\0" * 300])
LUMPY = st.lists(BLOCKS | st.binary(max_size=40), max_size=12).map(b"".join)
SIZES = st.sampled_from([0, 1, 1039, 1040, 1041, 2080, 2081, 5000]) | st.integers(0, 3500)


@st.composite
def packets(draw: st.DrawFn, kind: Kind = Kind.RESPONSE) -> Packet:
    size, pattern = draw(SIZES), draw(LUMPY) or b"\7"
    content = (pattern * (size // len(pattern) + 1))[:size]
    return Packet(kind, draw(SEQUENCES), content)


def frames_of(packet: Packet) -> list[bytes]:
    """The frames of a packet, each with the bytes of 0 around it."""
    return [b"\0" + frame + b"\0" for frame in packet.encode().strip(b"\0").split(b"\0")]


@given(LUMPY)
def test_cobs_has_no_zero_and_reads_back(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded and cobs_decode(encoded) == data
    assert len(encoded) <= len(data) + len(data) // 254 + 1


def test_cobs_of_the_paper() -> None:
    """The examples of Cheshire and Baker, and others of the same kind."""
    assert cobs_encode(b"\0") == b"\1\1"
    assert cobs_encode(b"\x11\x22\0\x33") == b"\3\x11\x22\2\x33"
    assert cobs_encode(b"\x11\0\0\0") == b"\2\x11\1\1\1"
    assert cobs_encode(bytes(range(1, 255)))[:2] == b"\xff\1"


@given(st.lists(packets(), max_size=4), st.lists(st.integers(0, 20_000), max_size=8))
def test_messages_arrive_whole_in_whatever_pieces(sent: list[Packet], cuts: list[int]) -> None:
    line, decoder, arrived = (
        b"".join(packet.encode() for packet in sent),
        FrameDecoder(Kind.RESPONSE),
        [],
    )
    edges = sorted({0, len(line), *(min(cut, len(line)) for cut in cuts)})
    for start, end in pairwise(edges):
        arrived += decoder.feed(line[start:end])
    assert arrived == sent and decoder.dropped == 0


@given(st.lists(st.binary(max_size=3000), max_size=6), packets())
def test_any_bytes_are_dropped_and_what_comes_after_them_arrives(
    noise: list[bytes], packet: Packet
) -> None:
    decoder = FrameDecoder(Kind.RESPONSE)
    for piece in noise:
        assert decoder.feed(piece) == []
    assert decoder.feed(packet.encode()) == [packet]


@given(packets(), st.data())
def test_a_message_with_a_wrong_byte_never_arrives(packet: Packet, data: st.DataObject) -> None:
    line = bytearray(packet.encode())
    at = data.draw(st.integers(1, len(line) - 2))
    line[at] ^= data.draw(st.integers(1, 255))
    decoder = FrameDecoder(Kind.RESPONSE)
    assert decoder.feed(bytes(line)) == []
    assert decoder.dropped >= 1


@given(packets(), st.data())
def test_fragments_lost_repeated_or_out_of_order(packet: Packet, data: st.DataObject) -> None:
    """What arrives is what was sent, and it does arrive when it is sent again."""
    frames = frames_of(packet)
    numbers = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=8))
    decoder = FrameDecoder(Kind.RESPONSE)
    for number in numbers:
        assert decoder.feed(frames[number]) in ([], [packet])
    assert decoder.feed(packet.encode()) == [packet]


@given(packets(), st.integers(0, 5))
def test_a_repeated_fragment_does_not_spoil_the_message(packet: Packet, number: int) -> None:
    frames = frames_of(packet)
    number = min(number, len(frames) - 1)
    frames.insert(number, frames[number])
    decoder = FrameDecoder(Kind.RESPONSE)
    arrived = [found for frame in frames for found in decoder.feed(frame)]
    assert set(arrived) == {packet}


@given(packets(), packets())
def test_a_message_that_another_one_interrupts_is_given_up(first: Packet, second: Packet) -> None:
    decoder = FrameDecoder(Kind.RESPONSE)
    whole = frames_of(first)
    for frame in whole[:-1]:
        decoder.feed(frame)
    assert decoder.feed(second.encode()) == [second]
    if len(whole) > 1:
        assert decoder.feed(whole[-1]) == []


@given(packets(Kind.REQUEST))
def test_what_the_other_kind_of_side_sends_is_dropped(packet: Packet) -> None:
    decoder = FrameDecoder(Kind.RESPONSE)
    assert decoder.feed(packet.encode()) == []
    assert decoder.dropped == len(frames_of(packet))


def test_the_longest_message_and_one_that_is_too_long() -> None:
    packet = Packet(Kind.RESPONSE, 1, bytes(range(256)) * (MAX_PACKET_BYTES // 256))
    assert FrameDecoder(Kind.RESPONSE).feed(packet.encode()) == [packet]
    with pytest.raises(ValueError, match="too long"):
        Packet(Kind.RESPONSE, 1, packet.content + b"x").encode()


def test_a_line_without_an_end_takes_no_memory() -> None:
    decoder = FrameDecoder(Kind.RESPONSE)
    for _ in range(50):
        decoder.feed(b"\1" * 10_000)
    assert len(decoder._buffer) < 2 * FRAGMENT_BYTES
    assert decoder.feed(b"\0") == [] and decoder.dropped == 1
