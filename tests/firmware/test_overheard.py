"""What one who is on the line without the key can make of what was overheard: no erased flash."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sel_edge.core.errors import RefusedError
from sel_edge.link.messages.delta import DeltaBeginRequest, DeltaDataRequest
from sel_edge.link.messages.image import ImageBeginRequest, ImageCommitRequest, ImageDataRequest
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.status import Fault
from sel_edge.mcu.keys import Purpose
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import running
from tests.firmware.board import CHUNK_BYTES, Board, next_delta
from tools.small_network import changed, small_delta, small_image

WIDE = small_image(width=32)
PAYLOAD = small_delta(WIDE)
OTHER_PAYLOAD = difference(running(WIDE), changed(running(WIDE), 5))
ONES, ZEROS = b"\xff" * CHUNK_BYTES, bytes(CHUNK_BYTES)
REPEATS = 40


@pytest.fixture
def board() -> Iterator[Board]:
    with Board() as one:
        one.install(WIDE)
        yield one


def delta_begin(board: Board, payload: bytes) -> DeltaBeginRequest:
    """A begin as the host sends it just now."""
    manifest = next_delta(board, payload).to_bytes()
    return DeltaBeginRequest(manifest, board.mac(Purpose.BEGIN, manifest))


def refused(board: Board, request: object) -> Refusal | None:
    """Why a board does not do something; None if it does."""
    try:
        board.ask(request)  # type: ignore[arg-type]
    except RefusedError as error:
        return Refusal(error.status)
    return None


def spoil(board: Board, data: type[DeltaDataRequest] | type[ImageDataRequest]) -> None:
    """Send what can be programmed, and then what cannot be in its place."""
    board.ask(data(0, ZEROS))
    assert refused(board, data(0, PAYLOAD[:CHUNK_BYTES])) == Refusal.INCOMPLETE


def test_a_begin_may_be_repeated_until_its_commit(board: Board) -> None:
    begin = delta_begin(board, PAYLOAD)
    first = board.ask(begin)
    used = board.status.overlay_used
    assert [board.ask(begin) for _ in range(3)] == [first] * 3
    assert board.status.overlay_used == used


def test_a_begin_is_no_use_after_a_chunk_that_cannot_be_programmed(board: Board) -> None:
    begin = delta_begin(board, PAYLOAD)
    board.ask(begin)
    spoil(board, DeltaDataRequest)
    before = board.status
    for _ in range(REPEATS):
        assert refused(board, begin) == Refusal.WRONG_MAC
        assert refused(board, DeltaDataRequest(0, ONES)) == Refusal.INCOMPLETE
    after = board.status
    assert (after.erases, after.overlay_used) == (before.erases, before.overlay_used)
    board.push(begin.manifest, PAYLOAD)


def test_two_begins_cannot_be_repeated_in_turn(board: Board) -> None:
    begins = [delta_begin(board, payload) for payload in (PAYLOAD, OTHER_PAYLOAD)]
    board.ask(begins[0])
    before = board.status
    for number in range(1, REPEATS):
        assert refused(board, begins[number % 2]) == Refusal.WRONG_MAC
    after = board.status
    assert (after.erases, after.overlay_used) == (before.erases, before.overlay_used)
    board.push(begins[1].manifest, OTHER_PAYLOAD)


def test_an_image_begin_is_no_use_either(board: Board) -> None:
    image = small_image(seed=9, width=32)
    name, size = bytes.fromhex(image.hash), len(image.content)
    signed = size.to_bytes(4, "little") + name
    begin = ImageBeginRequest(size, name, board.mac(Purpose.IMAGE, signed))
    board.ask(begin)
    spoil(board, ImageDataRequest)
    assert refused(board, begin) == Refusal.WRONG_MAC
    assert refused(board, ImageCommitRequest(name, begin.mac)) is not None
    assert board.status.faults == Fault.NO_IMAGE
    board.install(image)
    assert board.status.network == name


def test_chunks_on_the_way_do_not_spend_the_next_nonce(board: Board) -> None:
    """Of a window of chunks, the first that cannot be programmed ends the transfer, once."""
    board.ask(delta_begin(board, PAYLOAD))
    spoil(board, DeltaDataRequest)
    nonce = board.status.nonce
    assert refused(board, DeltaDataRequest(CHUNK_BYTES, ONES)) == Refusal.INCOMPLETE
    assert board.status.nonce == nonce
