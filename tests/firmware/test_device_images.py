"""A whole board takes another image, or keeps the one that it has."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from sel_edge.core.errors import RefusedError
from sel_edge.link.messages.delta import DeltaBeginRequest, DeltaCommitRequest
from sel_edge.link.messages.hello import Ability, HelloRequest
from sel_edge.link.messages.image import ImageBeginRequest, ImageCommitRequest, ImageDataRequest
from sel_edge.link.messages.infer import InferRequest, Wanted
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.sample import Form, SamplingRequest
from sel_edge.link.messages.status import Fault
from sel_edge.mcu.keys import Purpose
from sel_edge.mcu.layer import Layer, Operation
from sel_edge.mcu.manifest import delta_manifest
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.firmware import nets
from tests.firmware.board import CHUNK_BYTES, Board, next_delta
from tests.firmware.devices import SMALL, WIDE, frames, no, refusal
from tools.small_network import (
    INPUT_BYTES,
    small_delta,
    small_image,
)


class TestImages:
    """The network that a board begins with."""

    def test_without_one_the_board_still_answers(self) -> None:
        with Board() as board:
            status = board.status
            assert status.faults == Fault.NO_IMAGE
            assert status.network == status.image == bytes(32)
            assert not board.ask(HelloRequest(1, 1)).abilities & Ability.HAS_IMAGE
            assert board.observe(bytes(INPUT_BYTES))[0] == Refusal.NO_IMAGE
            manifest = delta_manifest(SMALL.hash, b"", 1).to_bytes()
            for request in (
                InferRequest(0, bytes(INPUT_BYTES)),
                DeltaBeginRequest(manifest, bytes(32)),
                DeltaCommitRequest(manifest, bytes(32)),
                RollbackRequest(manifest, bytes(32)),
            ):
                with pytest.raises(RefusedError) as error:
                    board.ask(request)
                assert refusal(error) == no(Refusal.NO_IMAGE)
            board.install(SMALL)
            assert board.status.faults == 0

    def test_another_image_takes_its_place(self, board: Board) -> None:
        payload = small_delta(SMALL)
        board.push(next_delta(board, payload).to_bytes(), payload)
        other = small_image(seed=9)
        board.install(other)
        (frame,) = frames(1)
        for _ in range(2):
            assert board.status.network.hex() == other.hash
            answer = board.ask(InferRequest(Wanted.LOGITS, frame.tobytes()))
            assert answer.logits == tuple(infer(running(other), frame[None]).logits[0])
            board.restart()

    def test_the_same_image_is_answered_as_done(self, board: Board) -> None:
        payload = small_delta(SMALL)
        kept = board.push(next_delta(board, payload).to_bytes(), payload)
        board.install(SMALL)
        assert board.status.network == kept.network
        done = board.ask(ImageCommitRequest(bytes.fromhex(SMALL.hash), bytes(32)))
        assert done.image.hex() == SMALL.hash

    def test_an_installation_goes_on_after_a_restart(self, board: Board) -> None:
        name, size = bytes.fromhex(WIDE.hash), len(WIDE.content)
        signed = size.to_bytes(4, "little") + name

        def begin() -> tuple[int, ...]:
            right = board.mac(Purpose.IMAGE, signed)
            return board.ask(ImageBeginRequest(size, name, right)).crcs

        begin()
        assert board.status.faults == Fault.NO_IMAGE
        board.ask(ImageDataRequest(0, WIDE.content[:CHUNK_BYTES]))
        board.restart()
        assert board.status.faults == Fault.NO_IMAGE
        assert begin()[0] == zlib.crc32(WIDE.content[:CHUNK_BYTES])
        board.install(WIDE)
        assert board.status.network.hex() == WIDE.hash

    def test_a_wrong_byte_is_found_before_the_commit(self) -> None:
        content, name = bytearray(SMALL.content), bytes.fromhex(SMALL.hash)
        content[700] ^= 1
        with Board() as board:
            signed = len(content).to_bytes(4, "little") + name
            right = board.mac(Purpose.IMAGE, signed)
            for number in range(len(board.ask(ImageBeginRequest(len(content), name, right)).crcs)):
                at = number * CHUNK_BYTES
                board.ask(ImageDataRequest(at, bytes(content[at : at + CHUNK_BYTES])))
            with pytest.raises(RefusedError):
                board.ask(ImageCommitRequest(name, right))
            assert board.status.faults == Fault.NO_IMAGE

    def test_an_image_too_large_for_flash_is_refused(self, board: Board) -> None:
        signed = (1 << 20).to_bytes(4, "little") + bytes(32)
        right = board.mac(Purpose.IMAGE, signed)
        with pytest.raises(RefusedError) as error:
            board.ask(ImageBeginRequest(1 << 20, bytes(32), right))
        assert error.value.status == Refusal.FULL
        assert board.status.network.hex() == SMALL.hash

    @pytest.mark.parametrize(("size", "reason"), [("arena_bytes", 101), ("table_entries", 102)])
    def test_an_image_too_large_for_memory_is_refused(self, size: str, reason: int) -> None:
        with Board(**{size: 8}) as board:
            with pytest.raises(RefusedError) as error:
                board.install(SMALL)
            assert refusal(error) == no(Refusal.IMAGE_REFUSED, reason=reason)

    def test_an_input_that_no_message_holds_is_refused(self) -> None:
        side = 520  # squared, more than 256 fragments
        pool = Layer(
            *(Operation.MAX_POOL, 0, 0, (1, side, side), (1, 10, 10), 0.1),
            kernel=(52, 52),
            stride=(52, 52),
            greatest=255,
        )
        large = nets.network(pool, draw=np.random.default_rng(0))
        with Board(arena_bytes=1 << 21, message_bytes=1 << 20) as board:
            with pytest.raises(RefusedError) as error:
                board.install(large)
            assert refusal(error) == no(Refusal.IMAGE_REFUSED, reason=103)

    def test_a_begin_that_is_refused_changes_nothing(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 60))
        board.observe(bytes(INPUT_BYTES))
        before = board.status
        signed = (1 << 20).to_bytes(4, "little") + bytes(32)
        with pytest.raises(RefusedError):
            board.ask(ImageBeginRequest(1 << 20, bytes(32), board.mac(Purpose.IMAGE, signed)))
        assert board.status == before
        assert before.samples_waiting == 1

    def test_an_image_that_lost_a_bit_is_installed_again(self, tmp_path: Path) -> None:
        path, at = tmp_path / "flash", SMALL.content.rindex(SMALL.layers[0].rows.tobytes())
        with Board(path) as board:
            board.install(SMALL)
            with path.open("r+b") as flash:
                flash.seek(4096 + at)
                flash.write(bytes([SMALL.content[at] ^ 1]))
            board.install(SMALL)
            assert board.status.faults == 0
            (frame,) = frames(1)
            answer = board.ask(InferRequest(Wanted.LOGITS, frame.tobytes()))
            assert answer.logits == tuple(infer(running(SMALL), frame[None]).logits[0])
