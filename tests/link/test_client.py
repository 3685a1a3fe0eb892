"""The client against a scripted other side: what is lost is asked again, what is wrong is said."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from sel_edge.core.errors import (
    LinkError,
    NoAnswerError,
    OtherVersionError,
    RefusedError,
    WrongDeviceError,
)
from sel_edge.link.client import Client
from sel_edge.link.frames import FrameDecoder, Kind
from sel_edge.link.messages.control import LogPart, LogRequest, RebootRequest, TimeRequest
from sel_edge.link.messages.envelope import Done
from sel_edge.link.messages.hello import HelloRequest
from sel_edge.link.messages.infer import Inference, InferRequest
from sel_edge.link.messages.refusal import Refusal, Versions
from sel_edge.link.messages.sample import Sample, SampleRequest
from sel_edge.link.messages.status import StatusRequest
from sel_edge.link.transport import LoopbackTransport, loopback
from tests.link.peer import HELLO, STATUS, Peer, Script, answer_bytes

ANSWER = Inference(6, 3, 100, 20, 2, 3, 9000, (-5, 7), b"abc")
QUICK_S = 0.3


def replies(table: dict[type, Any]) -> Script:
    """Answers by the kind of request."""
    return lambda request: table.get(type(request))


def test_what_is_asked_and_what_is_answered() -> None:
    script = replies({InferRequest: ANSWER, TimeRequest: Done(), RebootRequest: Done()})
    with Peer(script) as peer:
        client = peer.client()
        assert client.hello() == HELLO and client.status() == STATUS
        assert client.infer(b"frame", observe=True, logits=True) == ANSWER
        client.set_time(123)
        client.reboot()
    assert peer.requests == [
        *(HelloRequest(1, 1), StatusRequest(), InferRequest(5, b"frame")),
        *(TimeRequest(123), RebootRequest()),
    ]


@pytest.mark.parametrize(("longest", "size"), [(4096, 5000), (2**32 - 1, 300_000)])
def test_a_message_that_is_too_long_is_not_sent(longest: int, size: int) -> None:
    with Peer(hello=replace(HELLO, longest_message=longest)) as peer:
        with pytest.raises(LinkError, match="takes at most"):
            peer.client().infer(bytes(size))
        assert not peer.asked(InferRequest)


def test_the_time_is_now_unless_told() -> None:
    with Peer(replies({TimeRequest: Done()})) as peer:
        before = time.time_ns() // 1_000_000
        peer.client().set_time()
    assert before <= peer.requests[-1].time_ms <= time.time_ns() // 1_000_000


def test_a_log_in_parts_that_begins_late_and_has_bytes_that_are_no_text() -> None:
    text = "grün ".encode() * 500 + b"\xff"
    written = len(text) + 100

    def script(request: Any) -> LogPart | None:
        if not isinstance(request, LogRequest):
            return None
        first = max(request.first, 100)
        return LogPart(first, written, text[first - 100 : first - 100 + 1024])

    with Peer(script) as peer:
        assert peer.client().log() == text.decode(errors="replace")
    assert peer.asked(LogRequest) == 3


def test_a_log_that_begins_anew_because_the_board_restarts() -> None:
    parts = iter([LogPart(500, 2000, b"x" * 1000), LogPart(0, 9, b"new start")])
    with Peer(lambda request: next(parts) if isinstance(request, LogRequest) else None) as peer:
        assert peer.client().log() == "x" * 1000


def waiting_samples(numbers: list[int]) -> Script:
    """A board with these samples, which forgets what has arrived."""
    queue = list(numbers)

    def script(request: Any) -> Sample | None:
        if not isinstance(request, SampleRequest):
            return None
        if queue and request.arrived == queue[0]:
            queue.pop(0)
        if not queue:
            return Sample(0, 0, 0, 0, 0, 0, 0, b"")
        return Sample(queue[0], 1, 2, 3, 4, 1, len(queue) - 1, b"frame")

    return script


@pytest.mark.parametrize(("most", "taken", "left"), [(0, [], [8, 9, 10]), (2, [8, 9], [10])])
def test_no_more_samples_are_taken_than_asked_for(
    most: int, taken: list[int], left: list[int]
) -> None:
    """The board has forgotten all of these, and no other."""
    with Peer(waiting_samples([8, 9, 10])) as peer:
        client = peer.client()
        assert [sample.sample for sample in client.samples(most)] == taken
        assert [sample.sample for sample in client.samples()] == left


def test_samples_are_taken_until_there_are_none() -> None:
    with Peer(waiting_samples([8, 9, 10])) as peer:
        client = peer.client()
        assert [sample.sample for sample in client.samples()] == [8, 9, 10]
        assert list(client.samples()) == []


def test_a_sample_that_was_not_stored_comes_again() -> None:
    with Peer(waiting_samples([8, 9])) as peer:
        client = peer.client()
        samples = client.samples()
        next(samples), next(samples)
        samples.close()
        assert [sample.sample for sample in client.samples()] == [9]


def test_a_board_that_keeps_a_sample_is_not_asked_forever() -> None:
    stuck = Sample(5, 0, 0, 0, 0, 1, 0, b"frame")
    with Peer(replies({SampleRequest: stuck})) as peer:
        samples = peer.client().samples()
        assert next(samples) == stuck
        with pytest.raises(LinkError, match="sample 5 again"):
            next(samples)


def silent_at_first(times: int, kind: type, answer: Any) -> Script:
    """Says nothing to the first requests of a kind."""
    heard = 0

    def script(request: Any) -> Any:
        nonlocal heard
        if not isinstance(request, kind):
            return None
        heard += 1
        return answer if heard > times else b""

    return script


class Deaf(LoopbackTransport):
    """An end of a line that loses what is written to it the n-th time, or always.

    Attributes:
        written: all that was.
    """

    def __init__(self, inner: LoopbackTransport, loses: int | None = None) -> None:
        super().__init__(inner._arriving, inner._leaving)
        self._loses = loses
        self.written: list[bytes] = []

    def write(self, data: bytes, timeout_s: float) -> None:
        self.written.append(data)
        if self._loses not in (None, len(self.written)):
            super().write(data, timeout_s)


def test_a_lost_request_is_sent_again() -> None:
    with Peer() as peer:
        peer.host = deaf = Deaf(peer.host, loses=2)
        client = peer.client(timeout_s=5)
        client.hello()
        assert client.status() == STATUS
    assert len(deaf.written) == 3 and deaf.written[1] == deaf.written[2]


def test_a_silent_line_ends_within_the_time_limit() -> None:
    with Peer(lambda request: b"") as peer:
        start = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"memory has not answered for 0\.3 s") as found:
            peer.client(QUICK_S).hello()
    assert time.monotonic() - start < 10 * QUICK_S
    assert isinstance(found.value, LinkError) and found.value.exit_code == 11


def test_noise_is_no_answer() -> None:
    with Peer(lambda request: b"") as peer:
        for _ in range(5):
            peer.line.write(b"boot: \0 ok\r\n\0\0" * 40, 1.0)
        with pytest.raises(NoAnswerError):
            peer.client(QUICK_S).hello()


def test_late_answers_to_earlier_questions_are_ignored() -> None:
    """What came for another program, or for a question that was given up, answers no new one."""
    with Peer() as peer:
        stale = answer_bytes(StatusRequest(), replace(STATUS, counter=99))
        for sequence in range(0, 2**16, 64):
            peer.send(sequence, stale)
        client = peer.client()
        client.hello()
        assert client.status() == STATUS


def test_a_busy_board_is_asked_again_and_is_busy_at_last() -> None:
    with Peer(silent_at_first(0, StatusRequest, Refusal.BUSY)) as peer:
        client = peer.client(QUICK_S)
        with pytest.raises(RefusedError) as found:
            client.status()
    assert found.value.name == "busy"


def test_a_board_that_was_busy_answers() -> None:
    says = iter([Refusal.BUSY, Refusal.BUSY, STATUS])
    with Peer(lambda request: next(says) if isinstance(request, StatusRequest) else None) as peer:
        assert peer.client(timeout_s=10).status() == STATUS
    assert peer.asked(StatusRequest) == 3


def test_a_refusal_is_told_at_once_and_not_repeated() -> None:
    refused = pytest.raises(RefusedError, match=r"refused: no image\. .*deploy")
    with Peer(replies({InferRequest: Refusal.NO_IMAGE})) as peer, refused:
        peer.client().infer(b"")
    assert peer.asked(InferRequest) == 1


@pytest.mark.parametrize("reply", [(Refusal.VERSION, Versions(2, 4)), replace(HELLO, version=2)])
def test_other_versions_are_refused_by_name(reply: Any) -> None:
    with Peer(replies({HelloRequest: reply})) as peer, pytest.raises(OtherVersionError):
        peer.client().status()
    assert peer.asked(StatusRequest) == 0


def test_another_board_than_expected() -> None:
    with Peer() as peer:
        client = peer.client(device_id=b"board  2")
        with pytest.raises(WrongDeviceError, match=b"board  1".hex()):
            client.status()


def test_a_board_that_was_exchanged_meanwhile() -> None:
    with Peer() as peer:
        client = peer.client()
        client.hello()
        peer.hello = replace(HELLO, device_id=b"board  2")
        with pytest.raises(WrongDeviceError):
            client.hello()


def test_other_frames_than_these_are_refused() -> None:
    hello = replace(HELLO, fragment_bytes=512)
    with Peer(hello=hello) as peer, pytest.raises(LinkError, match="512 bytes into a frame"):
        peer.client().hello()


@pytest.mark.parametrize("content", [b"\2", b"\2\0", b"\2\x63", b"\2\0" + bytes(300)])
def test_answers_that_cannot_be_right_are_errors(content: bytes) -> None:
    with Peer(replies({StatusRequest: content})) as peer, pytest.raises(LinkError):
        peer.client().status()


def test_a_message_that_the_board_cannot_take_is_not_sent() -> None:
    with Peer() as peer, pytest.raises(LinkError, match="at most 4096"):
        peer.client().infer(bytes(4093))
    assert peer.asked(InferRequest) == 0


def test_long_messages_in_both_directions() -> None:
    features = bytes(range(256)) * 20
    answer = Inference(0, 0, 0, 0, 0, len(features), 0, (), features)
    with Peer(replies({InferRequest: answer})) as peer:
        assert peer.client().infer(bytes(4092)).features == features
    assert peer.requests[-1].content == bytes(4092)


def test_sequences_begin_anywhere_so_that_two_programs_do_not_share_them() -> None:
    firsts = set()
    for _ in range(8):
        deaf = Deaf(loopback()[0])
        with pytest.raises(NoAnswerError):
            Client(deaf, timeout_s=0.01).hello()
        (packet,) = FrameDecoder(Kind.REQUEST).feed(deaf.written[0])
        firsts.add(packet.sequence)
    assert len(firsts) > 4
