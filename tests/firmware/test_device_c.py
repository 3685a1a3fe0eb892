"""A whole board answers a host, message by message."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import OtherVersionError
from sel_edge.link.frames import FrameDecoder, Kind, Packet
from sel_edge.link.messages.control import (
    RebootRequest,
    TimeRequest,
)
from sel_edge.link.messages.envelope import encode_request
from sel_edge.link.messages.hello import Ability, HelloRequest
from sel_edge.link.messages.infer import InferRequest, Wanted
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.status import StatusRequest
from sel_edge.mcu.image import Image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.firmware.board import AREA_BYTES, CHUNK_BYTES, DEVICE_ID, Board, next_delta
from tests.firmware.devices import SMALL, WIDE, frames
from tools.small_network import (
    INPUT_BYTES,
    small_delta,
    varied_image,
)


def test_hello_tells_what_the_board_is(board: Board) -> None:
    hello = board.ask(HelloRequest(1, 3))
    assert (hello.version, hello.device_id, hello.fragment_bytes) == (1, DEVICE_ID, 1040)
    assert (hello.window, hello.longest_message) == (4, 4096)
    assert hello.abilities == (
        Ability.HAS_KEY | Ability.TAKES_KEY | Ability.HAS_IMAGE | Ability.REBOOTS
    )


def test_hello_refuses_other_versions(board: Board) -> None:
    with pytest.raises(OtherVersionError, match="1 to 1"):
        board.ask(HelloRequest(2, 5))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", Refusal.MALFORMED),
        (b"\x02", Refusal.MALFORMED),
        (b"\x02\x01", Refusal.MALFORMED),
        (b"\x02\x00\x00", Refusal.MALFORMED),
        (b"\x01\x00\x01", Refusal.MALFORMED),
        (b"\x7f\x00", Refusal.UNKNOWN_OPERATION),
        (b"\x00\x00", Refusal.UNKNOWN_OPERATION),
        (b"\x10\x00\x00\x00" + bytes(INPUT_BYTES - 1), Refusal.MALFORMED),
        (b"\x10\x00\x08\x00" + bytes(INPUT_BYTES), Refusal.MALFORMED),
        (b"\x10\x00\x00\x01" + bytes(INPUT_BYTES), Refusal.MALFORMED),
        (b"\x11\x00" + struct.pack("<HBBHH", 0, 3, 0, 1, 0), Refusal.MALFORMED),
        (b"\x21\x00" + bytes(4 + CHUNK_BYTES + 1), Refusal.MALFORMED),
        (b"\x21\x00" + bytes(4 + 4), Refusal.INCOMPLETE),
        (b"\x31\x00" + bytes(4 + 4), Refusal.INCOMPLETE),
    ],
)
def test_what_is_no_request_is_refused(board: Board, content: bytes, status: Refusal) -> None:
    operation = content[0] if content else 0
    assert board.ask_bytes(content) == bytes((operation, status))


def test_status_of_a_new_image(board: Board) -> None:
    status = board.status
    assert status.image.hex() == status.network.hex() == SMALL.hash
    assert (status.counter, status.classes, status.faults) == (0, 3, 0)
    assert (status.overlay_bytes, status.segments) == (AREA_BYTES, 0)


def test_the_clock_goes_on_from_what_it_was_set_to(board: Board) -> None:
    assert board.status.time_ms == 0
    board.ask(TimeRequest(1_700_000_000_000))
    board.advance(1500)
    assert (board.status.time_ms, board.status.uptime_ms) == (1_700_000_001_500, 1500)


@pytest.mark.parametrize("image", [SMALL, WIDE, varied_image()])
@pytest.mark.parametrize("wanted", [0, Wanted.LOGITS, Wanted.FEATURES, sum(Wanted)])
def test_infer_answers_as_the_reference(board: Board, image: Image, wanted: int) -> None:
    board.install(image)
    inputs = frames(8)
    expected = infer(running(image), inputs)
    for i, frame in enumerate(inputs):
        answer = board.ask(InferRequest(wanted, frame.tobytes()))
        numbers = (answer.label, answer.uncertainty, answer.embarrassment)
        assert numbers == (
            expected.labels[i],
            expected.uncertainty[i],
            expected.embarrassment[i],
        )
        assert answer.logits == (tuple(expected.logits[i]) if wanted & Wanted.LOGITS else ())
        assert answer.features in (
            (expected.features[i].tobytes(), b"") if wanted & Wanted.FEATURES else (b"",)
        )
        assert board.observe(frame.tobytes()) == (0, numbers)


def test_observing_counts_once_however_often_it_is_asked(board: Board) -> None:
    request = InferRequest(Wanted.OBSERVE, frames(1).tobytes())
    assert [board.ask(request, sequence).frame for sequence in (7, 7, 7, 8)] == [1, 1, 1, 2]
    assert board.ask(replace(request, wanted=0)).frame == 2
    assert board.status.frames == 2


def test_a_board_in_a_file_remembers(tmp_path: Path) -> None:
    payload = small_delta(SMALL)
    with Board(tmp_path / "flash") as board:
        board.install(SMALL)
        kept = board.push(next_delta(board, payload).to_bytes(), payload)
    with Board(tmp_path / "flash", key=None) as board:
        assert board.status.network == kept.network
        assert board.ask(HelloRequest(1, 1)).abilities & Ability.HAS_KEY


def test_reboot_answers_first(board: Board) -> None:
    board.advance(1000)
    board.ask(RebootRequest())
    assert board.status.uptime_ms == 0


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_line_is_answered_by_nothing_or_by_the_right_thing(data: st.DataObject) -> None:
    with Board() as board:
        request = encode_request(StatusRequest())
        line = bytearray(Packet(Kind.REQUEST, 5, request).encode())
        for _ in range(data.draw(st.integers(1, 3))):
            line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
        for packet in FrameDecoder(Kind.RESPONSE).feed(board.exchange(bytes(line))):
            assert packet.sequence == 5
            assert packet.content[:2] == b"\x02\x00"
        assert board.status.frames_dropped >= 0


def test_requests_in_one_piece_are_all_answered(board: Board) -> None:
    line = b"".join(
        Packet(Kind.REQUEST, sequence, encode_request(StatusRequest())).encode()
        for sequence in range(20)
    )
    answers = FrameDecoder(Kind.RESPONSE).feed(board.exchange(line))
    assert [answer.sequence for answer in answers] == list(range(20))
