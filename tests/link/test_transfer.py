"""Deltas and images on their way: only what is missing is sent, and restarts cost nothing else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import LinkError, NoAnswerError, RefusedError
from sel_edge.link.messages.delta import (
    Chunks,
    Committed,
    DeltaBeginRequest,
    DeltaCommitRequest,
    DeltaDataRequest,
    Written,
)
from sel_edge.link.messages.image import (
    ImageBeginRequest,
    ImageCommitRequest,
    ImageCommitted,
    ImageDataRequest,
)
from sel_edge.link.messages.refusal import InUse, NextNonce, Refusal
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.status import StatusRequest
from sel_edge.link.transfer import MAX_TRIES
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.manifest import delta_manifest, parse_manifest, rollback_manifest
from tests.link.peer import STATUS, Peer

KEY = bytes(range(32))
BASE = "11" * 32
PAYLOAD = bytes(range(251)) * 41
MANIFEST = delta_manifest(BASE, PAYLOAD, counter=8)
CHUNK = 1024


class Script:
    """The rules of the link that a board keeps, with one thing to go wrong.

    Args:
        spoil: looks at every request first; its reply is sent, or the rules hold if it is silent.

    Attributes:
        flash: what stands in the flash of a delta under way.
        data: offsets of the chunks that were written, in order.
    """

    def __init__(self, spoil: Callable[[Script, Any], Any] = lambda script, request: None) -> None:
        self.flash = bytearray(b"\xff" * len(PAYLOAD))
        self.data: list[int] = []
        self.nonce, self.network, self.counter = bytes(16), bytes.fromhex(BASE), 7
        self.has_begun = False
        self._spoil = spoil

    def restart(self) -> None:
        """Everything but the flash is lost."""
        self.nonce = bytes([self.nonce[0] + 1]) * 16
        self.has_begun = False

    def __call__(self, request: Any) -> Any:
        spoiled = self._spoil(self, request)
        if spoiled is not None:
            return spoiled
        match request:
            case StatusRequest():
                return replace(STATUS, network=self.network, nonce=self.nonce, counter=self.counter)
            case DeltaBeginRequest():
                return self._begin(request)
            case DeltaDataRequest():
                return self._data(request)
            case DeltaCommitRequest() | RollbackRequest():
                return self._keep(request)
        return None

    def _begin(self, request: DeltaBeginRequest) -> Any:
        if request.mac != mac(KEY, Purpose.BEGIN, self.nonce, request.manifest):
            self.nonce = bytes([self.nonce[0] + 1]) * 16
            return Refusal.WRONG_MAC, NextNonce(self.nonce)
        if parse_manifest(request.manifest).before != self.network.hex():
            return Refusal.WRONG_BASE, InUse(self.network)
        self.has_begun = True
        parts = [bytes(self.flash[at : at + CHUNK]) for at in range(0, len(self.flash), CHUNK)]
        return Chunks(CHUNK, len(parts), tuple(map(zlib.crc32, parts)))

    def _data(self, request: DeltaDataRequest) -> Any:
        if not self.has_begun:
            return Refusal.INCOMPLETE
        self.data.append(request.offset)
        self.flash[request.offset : request.offset + len(request.content)] = request.content
        return Written(request.offset)

    def _keep(self, request: DeltaCommitRequest | RollbackRequest) -> Any:
        manifest = parse_manifest(request.manifest)
        is_rollback = isinstance(request, RollbackRequest)
        purpose = Purpose.ROLLBACK if is_rollback else Purpose.COMMIT
        if (self.network.hex(), self.counter) != (manifest.after, manifest.counter):
            if request.mac != mac(KEY, purpose, self.nonce, request.manifest):
                return Refusal.WRONG_MAC, NextNonce(self.nonce)
            if not is_rollback and not (self.has_begun and self.flash == PAYLOAD):
                return Refusal.INCOMPLETE
            self.network, self.counter = bytes.fromhex(manifest.after), manifest.counter
            self.restart()
        return Committed(self.network, self.counter, self.nonce)


def always(kind: type, reply: Any) -> Callable[[Script, Any], Any]:
    """Replies that to all requests of a kind."""
    return lambda script, request: reply if isinstance(request, kind) else None


def test_a_delta_is_sent_once_and_progress_is_told() -> None:
    script, told = Script(), []
    with Peer(script) as peer:
        status = peer.client().push(MANIFEST, PAYLOAD, KEY, lambda *done: told.append(done))
    assert script.flash == PAYLOAD and status.network.hex() == MANIFEST.after
    assert script.data == list(range(0, len(PAYLOAD), CHUNK))
    assert told[0] == (0, len(PAYLOAD)) and told[-1] == (len(PAYLOAD), len(PAYLOAD))
    assert told == sorted(told) and len(told) == 1 + len(script.data)


@given(st.sets(st.integers(0, len(PAYLOAD) // CHUNK)))
@settings(max_examples=10, deadline=None)
def test_only_chunks_that_differ_are_sent(there: set[int]) -> None:
    script = Script()
    for number in there:
        part = slice(number * CHUNK, (number + 1) * CHUNK)
        script.flash[part] = PAYLOAD[part]
    with Peer(script) as peer:
        peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert sorted(script.data + [number * CHUNK for number in there]) == list(
        range(0, len(PAYLOAD), CHUNK)
    )


def test_what_is_in_use_already_is_not_sent_again() -> None:
    script = Script()
    script.network, script.counter = bytes.fromhex(MANIFEST.after), MANIFEST.counter
    with Peer(script) as peer:
        peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert peer.asked(DeltaBeginRequest) == 0


# As often as MAX_TRIES in a row, without getting on, would be too often.
@given(st.sets(st.integers(1, 14), max_size=MAX_TRIES[Refusal.WRONG_MAC] - 1))
@settings(max_examples=10, deadline=None)
def test_a_board_that_restarts_gets_the_rest(when: set[int]) -> None:
    """After the n-th request of the transfer it has a new nonce and knows no beginning."""
    number = 0

    def spoil(script: Script, request: Any) -> None:
        nonlocal number
        number += not isinstance(request, StatusRequest)
        if number in when:
            when.discard(number)
            script.restart()

    script = Script(spoil)
    with Peer(script) as peer:
        status = peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert status.network.hex() == MANIFEST.after and script.flash == PAYLOAD
    assert sorted(script.data) == list(range(0, len(PAYLOAD), CHUNK))


def test_a_lost_answer_to_the_commit_changes_nothing() -> None:
    def spoil(script: Script, request: Any) -> Any:
        if isinstance(request, DeltaCommitRequest) and script.counter == 7:
            script._keep(request)
            return b""
        return None

    script = Script(spoil)
    with Peer(script) as peer:
        status = peer.client(timeout_s=5).push(MANIFEST, PAYLOAD, KEY)
    assert status.counter == 8 and peer.asked(DeltaCommitRequest) == 2


def test_lost_chunks_alone_are_sent_again() -> None:
    lost = {2 * CHUNK, 5 * CHUNK}

    def spoil(script: Script, request: Any) -> Any:
        if isinstance(request, DeltaDataRequest) and request.offset in lost:
            lost.discard(request.offset)
            return b""
        return None

    script = Script(spoil)
    with Peer(script) as peer:
        peer.client(timeout_s=5).push(MANIFEST, PAYLOAD, KEY)
    assert sorted(script.data) == list(range(0, len(PAYLOAD), CHUNK))
    assert peer.asked(DeltaDataRequest) == len(script.data) + 2


def test_a_line_that_dies_in_the_middle_is_an_error() -> None:
    def spoil(script: Script, request: Any) -> Any:
        return b"" if isinstance(request, DeltaDataRequest) and len(script.data) == 3 else None

    with Peer(Script(spoil)) as peer, pytest.raises(NoAnswerError):
        peer.client(timeout_s=0.3).push(MANIFEST, PAYLOAD, KEY)


def test_no_more_requests_are_under_way_than_the_board_takes() -> None:
    silent: list[int] = []

    def spoil(script: Script, request: Any) -> Any:
        if isinstance(request, DeltaDataRequest):
            silent.append(request.offset)
            return b""
        return None

    with Peer(Script(spoil)) as peer, pytest.raises(NoAnswerError):
        peer.client(timeout_s=0.3).push(MANIFEST, PAYLOAD, KEY)
    assert len(set(silent)) == peer.hello.window


def test_another_base_is_refused_with_the_network_in_use() -> None:
    script = Script()
    script.network = bytes.fromhex("22" * 32)
    with Peer(script) as peer, pytest.raises(RefusedError) as found:
        peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert found.value.name == "wrong base" and found.value.fields == {"network": "22" * 32}


def test_a_wrong_key_is_refused_after_a_few_tries() -> None:
    script = Script()
    with Peer(script) as peer, pytest.raises(RefusedError) as found:
        peer.client().push(MANIFEST, PAYLOAD, bytes(32))
    assert found.value.name == "wrong MAC" and script.data == []
    assert 1 < peer.asked(DeltaBeginRequest) < 10


def test_a_board_that_never_has_it_all_is_given_up() -> None:
    spoil = always(DeltaCommitRequest, Refusal.INCOMPLETE)
    with Peer(Script(spoil)) as peer, pytest.raises(RefusedError) as found:
        peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert found.value.name == "incomplete"
    # Before the first one it got on.
    assert 1 < peer.asked(DeltaCommitRequest) <= 1 + MAX_TRIES[Refusal.INCOMPLETE]


def test_a_board_on_bad_power_is_not_given_up() -> None:
    """It restarts again and again before it has written one more chunk."""
    restarts = 0

    def spoil(script: Script, request: Any) -> None:
        nonlocal restarts
        if isinstance(request, DeltaDataRequest) and len(script.data) == 3 and restarts < 10:
            restarts += 1
            script.restart()

    script = Script(spoil)
    with Peer(script) as peer:
        peer.client().push(MANIFEST, PAYLOAD, KEY)
    assert script.flash == PAYLOAD and restarts == 10


def test_a_board_that_runs_something_else_after_the_commit() -> None:
    spoil = always(DeltaCommitRequest, Committed(bytes.fromhex(MANIFEST.after), 8, bytes(16)))
    with Peer(Script(spoil)) as peer, pytest.raises(LinkError, match="after a commit"):
        peer.client().push(MANIFEST, PAYLOAD, KEY)


@pytest.mark.parametrize(
    "there",
    [Chunks(1024, 0, ()), Chunks(1024, 12, (0,) * 12), Chunks(8192, 2, (0, 0))],
    ids=["none", "too many", "too large"],
)
def test_chunks_that_cannot_be_are_refused(there: Chunks) -> None:
    spoil = always(DeltaBeginRequest, there)
    with Peer(Script(spoil)) as peer, pytest.raises(LinkError, match="The board wants"):
        peer.client().push(MANIFEST, PAYLOAD, KEY)


@pytest.mark.parametrize("offset", [1, 2**31])
def test_a_chunk_that_was_not_sent_is_no_chunk(offset: int) -> None:
    spoil = always(DeltaDataRequest, Written(offset))
    with Peer(Script(spoil)) as peer, pytest.raises(LinkError, match=f"chunk at {offset}"):
        peer.client().push(MANIFEST, PAYLOAD, KEY)


def test_a_rollback_is_done_once_over_a_restart() -> None:
    manifest = rollback_manifest(BASE, "00" * 32, counter=8, depth=1)
    restarts = iter([True])

    def spoil(script: Script, request: Any) -> None:
        if isinstance(request, RollbackRequest) and next(restarts, False):
            script.restart()

    with Peer(Script(spoil)) as peer:
        status = peer.client().rollback(manifest, KEY)
    assert status.network == bytes(32) and peer.asked(RollbackRequest) == 2


def test_a_rollback_with_a_wrong_key_or_to_another_network() -> None:
    manifest = rollback_manifest(BASE, "00" * 32, counter=8, depth=1)
    with Peer(Script()) as peer, pytest.raises(RefusedError, match="wrong MAC"):
        peer.client().rollback(manifest, bytes(32))
    spoil = always(RollbackRequest, Committed(bytes(32), 8, bytes(16)))
    with Peer(Script(spoil)) as peer, pytest.raises(LinkError, match="after a rollback"):
        peer.client().rollback(manifest, KEY)


def test_an_image_goes_over_with_the_codes_that_it_needs() -> None:
    image = b"SELM" + bytes(range(200)) * 20
    image_hash, status = image[16:48], STATUS
    written = bytearray(len(image))

    def script(request: Any) -> Any:
        nonlocal status
        named = struct.pack("<I", len(image)) + image_hash
        right = mac(KEY, Purpose.IMAGE, STATUS.nonce, named)
        match request:
            case ImageBeginRequest():
                assert (request.size, request.image, request.mac) == (len(image), image_hash, right)
                return Chunks(1024, 4, (0,) * 4)
            case ImageDataRequest():
                written[request.offset : request.offset + len(request.content)] = request.content
                return Written(request.offset)
            case ImageCommitRequest():
                assert (request.image, request.mac) == (image_hash, right)
                status = replace(STATUS, image=image_hash)
                return ImageCommitted(image_hash, bytes(16))
            case StatusRequest():
                return status
        return None

    with Peer(script) as peer:
        client = peer.client()
        assert client.install(image, KEY).image == image_hash
        assert written == image
        client.install(image, KEY)
    assert peer.asked(ImageBeginRequest) == 1


def test_a_damaged_image_is_sent_again_though_it_has_the_hash() -> None:
    image = b"SELM" + bytes(2000)
    damaged = replace(STATUS, image=image[16:48], faults=2)
    replies = {StatusRequest: damaged, ImageBeginRequest: Refusal.FLASH_FAULT}
    with (
        Peer(lambda r: replies.get(type(r))) as peer,
        pytest.raises(RefusedError, match="flash fault"),
    ):
        peer.client().install(image, KEY)


def test_what_is_no_image_is_not_sent() -> None:
    with Peer() as peer, pytest.raises(LinkError, match="no model image"):
        peer.client().install(b"ELF", KEY)
    assert peer.requests == []
