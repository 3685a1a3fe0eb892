"""A whole board answers a host, message by message."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import OtherVersionError, RefusedError
from sel_edge.link.frames import FrameDecoder, Kind, Packet
from sel_edge.link.messages.control import (
    LogRequest,
    ProvisionRequest,
    RebootRequest,
    TimeRequest,
)
from sel_edge.link.messages.delta import DeltaBeginRequest, DeltaCommitRequest, DeltaDataRequest
from sel_edge.link.messages.envelope import encode_request
from sel_edge.link.messages.hello import Ability, HelloRequest
from sel_edge.link.messages.image import ImageBeginRequest, ImageCommitRequest, ImageDataRequest
from sel_edge.link.messages.infer import InferRequest, Wanted
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.sample import Form, SampleRequest, SamplingRequest
from sel_edge.link.messages.status import Fault, StatusRequest
from sel_edge.mcu.image import Image
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.layer import Layer, Operation
from sel_edge.mcu.manifest import TO_IMAGE, delta_manifest, network_hash, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.firmware import nets
from tests.firmware.board import AREA_BYTES, CHUNK_BYTES, DEVICE_ID, KEY, Board, next_delta
from tools.small_network import (
    INPUT_BYTES,
    SIDE,
    changed,
    small_delta,
    small_image,
    varied_image,
)

SMALL = small_image()
WIDE = small_image(width=32)
LONG_PAYLOAD = small_delta(WIDE)
"""Of several chunks."""


@pytest.fixture
def board() -> Iterator[Board]:
    with Board() as one:
        one.install(SMALL)
        yield one


@pytest.fixture
def wide() -> Iterator[Board]:
    with Board() as one:
        one.install(WIDE)
        yield one


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def refusal(error: pytest.ExceptionInfo[RefusedError]) -> tuple[int, dict[str, int | str]]:
    return error.value.status, error.value.fields


def no(status: Refusal, **fields: int | str) -> tuple[int, dict[str, int | str]]:
    return status, fields


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


class TestSamples:
    """What the board keeps for the host."""

    def test_a_sample_stays_until_it_is_acknowledged(self, board: Board) -> None:
        board.ask(TimeRequest(10**12))
        board.ask(SamplingRequest(0, Form.FRAME, 60))
        inputs = frames(3)
        for frame in inputs:
            board.observe(frame.tobytes())
        arrived, found = 0, []
        while (sample := board.ask(SampleRequest(arrived))).sample:
            assert board.ask(SampleRequest(arrived)) == sample
            found.append(sample)
            arrived = sample.sample
        assert [sample.content for sample in found] == [frame.tobytes() for frame in inputs]
        assert [sample.frame for sample in found] == [1, 2, 3]
        assert [sample.waiting for sample in found] == [2, 1, 0]
        assert {sample.time_ms for sample in found} == {10**12}
        expected = infer(running(SMALL), inputs)
        assert [sample.label for sample in found] == expected.labels.tolist()
        assert [sample.embarrassment for sample in found] == expected.embarrassment.tolist()
        assert board.status.samples_waiting == 0

    def test_features_are_fewer_bytes(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FEATURES, 60))
        (frame,) = frames(1)
        board.observe(frame.tobytes())
        sample = board.ask(SampleRequest(0))
        features = infer(running(SMALL), frame[None]).features[0].tobytes()
        assert (sample.form, sample.content) in (
            (Form.FEATURES, features),
            (Form.FRAME, frame.tobytes()),
        )

    def test_none_is_taken_unless_asked_for(self, board: Board) -> None:
        board.observe(frames(1).tobytes())
        assert board.ask(SampleRequest(0)).sample == 0

    def test_frames_below_the_threshold_are_not_taken(self, board: Board) -> None:
        inputs = frames(20)
        embarrassment = infer(running(SMALL), inputs).embarrassment
        threshold = int(np.median(embarrassment)) + 1
        board.ask(SamplingRequest(threshold, Form.FRAME, 1000))
        for frame in inputs:
            board.observe(frame.tobytes())
        taken = int((embarrassment >= threshold).sum())
        assert 0 < taken < 20
        assert board.status.samples_waiting == taken

    def test_the_rate_is_kept_in_the_long_run(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 3))
        (frame,) = frames(1)

        def taken_of(count: int) -> int:
            before = board.status.samples_waiting
            for _ in range(count):
                board.observe(frame.tobytes())
            return board.status.samples_waiting - before

        assert taken_of(5) == 3
        board.advance(19_999)
        assert taken_of(5) == 0
        board.advance(1)
        assert taken_of(5) == 1
        board.ask(SamplingRequest(0, Form.FRAME, 3))
        assert taken_of(5) == 0
        board.advance(10 * 60_000)
        assert taken_of(5) == 3

    def test_what_finds_no_room_is_counted(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 1000))
        for frame in frames(30):
            board.observe(frame.tobytes())
        status = board.status
        assert status.samples_waiting == 4096 // (INPUT_BYTES + 28)
        assert status.samples_waiting + status.samples_lost == 30

    def test_the_queue_goes_round(self, board: Board) -> None:
        board.ask(SamplingRequest(0, Form.FRAME, 60_000))
        arrived = 0
        for frame in frames(60):
            board.observe(frame.tobytes())
            sample = board.ask(SampleRequest(arrived))
            assert sample.content == frame.tobytes()
            arrived = sample.sample

    def test_an_acknowledgement_from_before_a_restart_means_nothing(self, board: Board) -> None:
        sampling = SamplingRequest(0, Form.FRAME, 60)
        board.ask(sampling)
        board.observe(frames(1).tobytes())
        old = board.ask(SampleRequest(0)).sample
        board.restart()
        board.ask(sampling)
        board.observe(frames(1).tobytes())
        assert board.ask(SampleRequest(old)).sample not in (0, old)


class TestLog:
    """The board's own words."""

    def test_it_is_told_from_any_byte_on(self, board: Board) -> None:
        whole = board.ask(LogRequest(0))
        assert whole.first == 0
        assert whole.written == len(whole.text)
        assert b"network in use" in whole.text
        assert board.ask(LogRequest(5)).text == whole.text[5:]
        assert board.ask(LogRequest(whole.written)).text == b""
        assert board.ask(LogRequest(whole.written + 1)) == whole

    def test_only_the_newest_is_left(self, board: Board) -> None:
        manifest = bytes(128)
        for _ in range(200):
            with pytest.raises(RefusedError):
                board.ask(DeltaBeginRequest(manifest, bytes(32)))
        part = board.ask(LogRequest(0))
        assert part.first + len(part.text) == part.written
        assert len(part.text) == 1024
        assert part.text.endswith(b"wrong MAC\n")


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


def test_data_for_one_transfer_is_not_taken_for_another(board: Board) -> None:
    payload = small_delta(SMALL)
    board.begin(next_delta(board, payload).to_bytes())
    with pytest.raises(RefusedError) as error:
        board.ask(ImageDataRequest(0, payload))
    assert refusal(error) == no(Refusal.INCOMPLETE)
    board.ask(DeltaDataRequest(0, payload))
