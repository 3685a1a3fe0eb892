"""A whole board takes changes from who shows its key, and nothing else."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest

from sel_edge.core.errors import RefusedError
from sel_edge.link.messages.control import (
    ProvisionRequest,
)
from sel_edge.link.messages.delta import DeltaBeginRequest, DeltaCommitRequest, DeltaDataRequest
from sel_edge.link.messages.hello import Ability, HelloRequest
from sel_edge.link.messages.image import ImageDataRequest
from sel_edge.link.messages.infer import InferRequest, Wanted
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.manifest import TO_IMAGE, delta_manifest, network_hash, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.firmware.board import CHUNK_BYTES, KEY, Board, next_delta
from tests.firmware.devices import LONG_PAYLOAD, SMALL, WIDE, frames, no, refusal
from tools.small_network import (
    changed,
    small_delta,
)


class TestKeys:
    """Who may change what runs."""

    def test_a_board_without_a_key_takes_nothing(self) -> None:
        with Board(key=None) as board:
            assert not board.ask(HelloRequest(1, 1)).abilities & Ability.HAS_KEY
            with pytest.raises(RefusedError) as error:
                board.install(SMALL)
            assert refusal(error) == no(Refusal.NO_KEY)

    def test_a_key_is_given_once(self) -> None:
        with Board(key=None) as board:
            for _ in range(2):
                board.ask(ProvisionRequest(KEY))
            with pytest.raises(RefusedError) as error:
                board.ask(ProvisionRequest(bytes(32)))
            assert refusal(error) == no(Refusal.WRONG_MAC, nonce=board.status.nonce.hex())
            board.restart()
            board.install(SMALL)

    def test_every_label_and_the_key_count(self, board: Board) -> None:
        payload = small_delta(SMALL)
        manifest = next_delta(board, payload).to_bytes()
        for key, purpose in ((KEY, Purpose.COMMIT), (bytes(32), Purpose.BEGIN)):
            nonce = board.status.nonce
            with pytest.raises(RefusedError) as error:
                board.ask(DeltaBeginRequest(manifest, mac(key, purpose, nonce, manifest)))
            assert refusal(error) == no(Refusal.WRONG_MAC, nonce=board.status.nonce.hex())
            assert board.status.nonce != nonce

    def test_nonces_are_used_once(self, board: Board) -> None:
        payload = small_delta(SMALL)
        manifest = next_delta(board, payload).to_bytes()
        nonce = board.status.nonce
        first = board.push(manifest, payload)
        assert first.nonce == board.status.nonce != nonce
        board.roll_back(
            rollback_manifest(first.network.hex(), SMALL.hash, first.counter + 1, 1).to_bytes()
        )
        with pytest.raises(RefusedError) as error:
            board.ask(DeltaCommitRequest(manifest, mac(KEY, Purpose.COMMIT, nonce, manifest)))
        assert error.value.status == Refusal.WRONG_MAC

    def test_restarts_make_new_nonces(self, board: Board) -> None:
        nonces = set()
        for _ in range(5):
            nonces.add(board.status.nonce)
            board.restart()
        assert len(nonces) == 5


class TestDeltas:
    """Changes of the network."""

    def test_a_delta_is_in_use_after_its_commit(self, board: Board) -> None:
        network = changed(running(SMALL), 1)
        payload = difference(running(SMALL), network)
        manifest = next_delta(board, payload).to_bytes()
        kept = board.push(manifest, payload)
        assert kept.network.hex() == network_hash(SMALL.hash, payload)
        assert kept.counter == 1
        for _ in range(2):
            (frame,) = frames(1)
            answer = board.ask(InferRequest(Wanted.LOGITS, frame.tobytes()))
            assert answer.logits == tuple(infer(network, frame[None]).logits[0])
            assert (board.status.network, board.status.counter) == (kept.network, 1)
            board.restart()

    def test_commit_and_rollback_may_be_repeated(self, board: Board) -> None:
        payload = small_delta(SMALL)
        manifest = next_delta(board, payload).to_bytes()
        kept = board.push(manifest, payload)
        again = DeltaCommitRequest(manifest, bytes(32))
        assert board.ask(again) == kept
        back = rollback_manifest(kept.network.hex(), SMALL.hash, 2, 1).to_bytes()
        gone = board.roll_back(back)
        assert (gone.network.hex(), gone.counter) == (SMALL.hash, 2)
        assert board.ask(RollbackRequest(back, bytes(32))) == gone
        with pytest.raises(RefusedError) as error:
            board.ask(again)
        assert error.value.status == Refusal.WRONG_MAC

    def test_chunks_come_in_any_order_and_more_than_once(self, wide: Board) -> None:
        manifest = next_delta(wide, LONG_PAYLOAD).to_bytes()
        count = wide.begin(manifest).count
        assert count == -(-len(LONG_PAYLOAD) // CHUNK_BYTES) > 1
        for number in [*reversed(range(count)), 0, count - 1]:
            wide.send(LONG_PAYLOAD, number)
        expected = network_hash(WIDE.hash, LONG_PAYLOAD)
        assert wide.commit(manifest).network.hex() == expected

    def test_a_transfer_goes_on_after_a_restart(self, wide: Board) -> None:
        manifest = next_delta(wide, LONG_PAYLOAD).to_bytes()
        wide.begin(manifest)
        wide.send(LONG_PAYLOAD, 1)
        wide.restart()
        with pytest.raises(RefusedError) as error:
            wide.send(LONG_PAYLOAD, 0)
        assert refusal(error) == no(Refusal.INCOMPLETE)
        crcs = wide.begin(manifest).crcs
        chunks = [
            LONG_PAYLOAD[at : at + CHUNK_BYTES] for at in range(0, len(LONG_PAYLOAD), CHUNK_BYTES)
        ]
        missing = [i for i, chunk in enumerate(chunks) if zlib.crc32(chunk) != crcs[i]]
        assert missing == [i for i in range(len(chunks)) if i != 1]
        for number in missing:
            wide.send(LONG_PAYLOAD, number)
        wide.commit(manifest)

    def test_a_commit_before_all_chunks_is_incomplete(self, wide: Board) -> None:
        manifest = next_delta(wide, LONG_PAYLOAD).to_bytes()
        wide.begin(manifest)
        wide.send(LONG_PAYLOAD, 0)
        with pytest.raises(RefusedError) as error:
            wide.commit(manifest)
        assert refusal(error) == no(Refusal.INCOMPLETE)
        assert wide.status.network.hex() == WIDE.hash

    def test_another_base_is_refused(self, board: Board) -> None:
        payload = small_delta(SMALL)
        manifest = delta_manifest(WIDE.hash, payload, 1).to_bytes()
        with pytest.raises(RefusedError) as error:
            board.begin(manifest)
        assert refusal(error) == no(Refusal.WRONG_BASE, network=SMALL.hash)

    def test_an_old_counter_is_refused(self, board: Board) -> None:
        payload = small_delta(SMALL)
        kept = board.push(delta_manifest(SMALL.hash, payload, 7).to_bytes(), payload)
        manifest = delta_manifest(kept.network.hex(), payload, 7).to_bytes()
        with pytest.raises(RefusedError) as error:
            board.begin(manifest)
        assert refusal(error) == no(Refusal.STALE_COUNTER, counter=7)

    def test_a_payload_that_does_not_fit_is_refused(self, board: Board) -> None:
        payload = struct.pack("<HHHHii", 0, 1, 99, 1, 0, 1)
        manifest = delta_manifest(SMALL.hash, payload, 1).to_bytes()
        with pytest.raises(RefusedError) as error:
            board.push(manifest, payload)
        assert error.value.status == Refusal.PAYLOAD_REFUSED
        assert board.status.network.hex() == SMALL.hash

    def test_a_payload_that_is_too_long_is_refused(self, board: Board) -> None:
        manifest = replace(delta_manifest(SMALL.hash, b"", 1), payload_bytes=1 << 19).to_bytes()
        with pytest.raises(RefusedError) as error:
            board.begin(manifest)
        assert error.value.status == Refusal.FULL
        assert error.value.fields["needed"] > error.value.fields["available"]

    def test_back_to_the_image_and_no_further(self, board: Board) -> None:
        network = running(SMALL)
        for counter in (1, 2):
            after = changed(network, counter)
            payload = difference(network, after)
            board.push(next_delta(board, payload).to_bytes(), payload)
            network = after
        top = board.status.network.hex()
        board.roll_back(rollback_manifest(top, SMALL.hash, 3, TO_IMAGE).to_bytes())
        assert board.status.network.hex() == SMALL.hash
        with pytest.raises(RefusedError) as error:
            board.roll_back(rollback_manifest(SMALL.hash, SMALL.hash, 4, 1).to_bytes())
        assert refusal(error) == no(Refusal.NOTHING_BEFORE)

    def test_every_flipped_bit_of_a_delta_is_refused(self, board: Board) -> None:
        """Of manifest, MACs and payload as they are sent, one at a time."""
        payload = small_delta(SMALL)
        manifest = next_delta(board, payload).to_bytes()
        for bit in range(8 * (len(manifest) + 32)):
            assert not _accepts_begin(board, manifest, bit)
        board.begin(manifest)
        for bit in range(8 * len(payload)):
            _send_anew(board, manifest, _flipped(payload, bit))
            with pytest.raises(RefusedError) as error:
                board.commit(manifest)
            assert error.value.status == Refusal.INCOMPLETE
        _send_anew(board, manifest, payload)
        for bit in range(8 * (len(manifest) + 32)):
            signed = _flipped(manifest + board.mac(Purpose.COMMIT, manifest), bit)
            with pytest.raises(RefusedError) as error:
                board.ask(DeltaCommitRequest(signed[:128], signed[128:]))
            assert error.value.status == Refusal.WRONG_MAC
        assert board.status.network.hex() == SMALL.hash
        assert board.commit(manifest).network.hex() == network_hash(SMALL.hash, payload)


def _flipped(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def _accepts_begin(board: Board, manifest: bytes, bit: int) -> bool:
    signed = _flipped(manifest + board.mac(Purpose.BEGIN, manifest), bit)
    try:
        board.ask(DeltaBeginRequest(signed[:128], signed[128:]))
    except RefusedError as error:
        assert error.status == Refusal.WRONG_MAC
        return False
    return True


def _send_anew(board: Board, manifest: bytes, payload: bytes) -> None:
    """Send a payload over whatever was sent before."""
    try:
        board.send(payload, 0)
    except RefusedError as error:
        assert error.status == Refusal.INCOMPLETE
        board.begin(manifest)
        board.send(payload, 0)


def test_data_for_one_transfer_is_not_taken_for_another(board: Board) -> None:
    payload = small_delta(SMALL)
    board.begin(next_delta(board, payload).to_bytes())
    with pytest.raises(RefusedError) as error:
        board.ask(ImageDataRequest(0, payload))
    assert refusal(error) == no(Refusal.INCOMPLETE)
    board.ask(DeltaDataRequest(0, payload))
