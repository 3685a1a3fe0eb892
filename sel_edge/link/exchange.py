"""Questions and answers over a line that loses some: what is lost is asked again, and nothing else.

The waiting time follows the round trips as in RFC 6298. A line keeps the order of what it carries,
so whatever was asked before a question that is answered already, and is not answered itself, is
lost.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from sel_edge.core.errors import NoAnswerError, RefusedError
from sel_edge.link.frames import FrameDecoder, Kind, Packet
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.envelope import Request, decode_answer, encode_request
from sel_edge.link.messages.refusal import Refusal
from sel_edge.link.transport import Transport

A = TypeVar("A", bound=Message)

FIRST_WAIT_S = 1.0
MIN_MARGIN_S = 0.25
"""Beyond the usual time: a board may erase flash meanwhile."""
MAX_DOUBLINGS = 2
"""Of the waiting time: a line of one's own is rather bad than crowded."""
_SEQUENCES = 2**16


class Exchange:
    """Asks a board and waits for its answers.

    Args:
        transport: the line.
        timeout_s: longest time without any answer.
    """

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport, self._timeout_s = transport, timeout_s
        self._decoder = FrameDecoder(Kind.RESPONSE)
        self._round_trips: dict[int, _RoundTrip] = {}
        # What still comes for a program that ran before this one is not taken for an answer.
        self._sequence = secrets.randbelow(_SEQUENCES)
        self._sent = 0

    def ask(self, request: Request[A]) -> A:
        """The answer to one question.

        Raises:
            NoAnswerError: none came within the time limit.
            RefusedError: the board said no.
            LinkError: what it said cannot be right.
        """
        (answer,) = self.ask_all((request,), window=1)
        return answer

    def ask_all(self, requests: Iterable[Request[A]], window: int) -> Iterator[A]:
        """The answers to many questions, in the order in which they come.

        Args:
            requests: what is asked.
            window: questions under way at a time, at least 1.

        Raises:
            NoAnswerError: none came within the time limit, counted from the last one.
            RefusedError: the board said no to one of them.
            LinkError: what it said cannot be right.
        """
        to_come, waiting = iter(requests), dict[int, _Waiting]()
        heard_s = time.monotonic()
        while True:
            for request in islice(to_come, window - len(waiting)):
                self._sequence = (self._sequence + 1) % _SEQUENCES
                waiting[self._sequence] = self._send(self._question(request), heard_s)
            if not waiting:
                return
            for sequence, answer in self._answers(waiting, heard_s):
                asked = waiting.pop(sequence)
                heard_s = self._heard(asked)
                for other, lost in waiting.items():
                    if lost.order < asked.earliest:
                        again = self._send(lost, heard_s)
                        waiting[other] = replace(again, earliest=again.order)
                yield answer

    def _question(self, request: Request[Any]) -> _Waiting:
        packet = Packet(Kind.REQUEST, self._sequence, encode_request(request))
        return _Waiting(request, packet.encode())

    def _send(self, question: _Waiting, heard_s: float) -> _Waiting:
        """Send a question, for the first time or again; returns it as it waits from now on."""
        left_s = heard_s + self._timeout_s - time.monotonic()
        self._transport.write(question.frames, max(left_s, 0.0))
        self._sent += 1
        earliest = question.earliest or self._sent
        return replace(question, sent_s=time.monotonic(), order=self._sent, earliest=earliest)

    def _answers(self, waiting: dict[int, _Waiting], heard_s: float) -> Iterator[tuple[int, Any]]:
        """Wait once; what is due is sent again before that.

        Yields:
            the sequence of a question that waits, and its answer.
        """
        now_s = time.monotonic()
        if now_s >= heard_s + self._timeout_s:
            raise self._no_answer(waiting)
        for sequence, question in waiting.items():
            if self._due_s(question) <= now_s:
                waiting[sequence] = self._send(replace(question, late=question.late + 1), heard_s)
        until_s = min(map(self._due_s, waiting.values()))
        until_s = min(until_s, heard_s + self._timeout_s)
        for packet in self._decoder.feed(self._transport.read(until_s - time.monotonic())):
            asked = waiting.get(packet.sequence)
            if asked is None or packet.content[:1] != asked.operation:
                continue
            try:
                yield packet.sequence, decode_answer(asked.request, packet.content)
            except RefusedError as refusal:
                if refusal.status != Refusal.BUSY:
                    raise
                self._heard(asked)
                waiting[packet.sequence] = replace(asked, busy=refusal)

    def _due_s(self, question: _Waiting) -> float:
        """When a question is asked again."""
        patience = 2.0 ** min(question.late, MAX_DOUBLINGS)
        return question.sent_s + self._round_trip(question).wait_s * patience

    def _heard(self, question: _Waiting) -> float:
        """Learn from an answer that came just now; returns when."""
        now_s = time.monotonic()
        if question.earliest == question.order:  # else nobody knows which of them was answered
            self._round_trip(question).add(now_s - question.sent_s)
        return now_s

    def _round_trip(self, question: _Waiting) -> _RoundTrip:
        """How long such questions take; a board thinks longer about some than about others."""
        return self._round_trips.setdefault(question.request.operation, _RoundTrip())

    def _no_answer(self, waiting: dict[int, _Waiting]) -> NoAnswerError | RefusedError:
        for question in waiting.values():
            if question.busy is not None:
                return question.busy
        trouble = self._transport.trouble
        return NoAnswerError(
            f"The board at {self._transport.name} has not answered for {self._timeout_s:g} s"
            f"{trouble and f' ({trouble})'}.",
            "An answer to every request is expected.",
            "Check the port, its speed and the board's power; a longer --timeout may help.",
        )


@dataclass(frozen=True)
class _Waiting:
    """A question without an answer.

    Attributes:
        request: what was asked.
        frames: that as bytes.
        sent_s: when it was sent last, on the monotonic clock.
        order: number of that among all that was ever sent, from 1.
        earliest: the same of the first time it was sent that may still be answered.
        late: how often it was sent again because the time was over.
        busy: what the board said meanwhile.
    """

    request: Request[Any]
    frames: bytes
    sent_s: float = 0.0
    order: int = 0
    earliest: int = 0
    late: int = 0
    busy: RefusedError | None = None

    @property
    def operation(self) -> bytes:
        """The byte with which its answer begins."""
        return bytes((self.request.operation,))


class _RoundTrip:
    """How long to wait for an answer, from how long others took (RFC 6298)."""

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._spread_s = 0.0

    @property
    def wait_s(self) -> float:
        """After this time an answer is taken for lost."""
        if self._mean_s is None:
            return FIRST_WAIT_S
        return self._mean_s + max(MIN_MARGIN_S, 4 * self._spread_s)

    def add(self, seconds: float) -> None:
        """An answer took so long."""
        if self._mean_s is None:
            self._mean_s, self._spread_s = seconds, seconds / 2
        else:
            self._spread_s += (abs(seconds - self._mean_s) - self._spread_s) / 4
            self._mean_s += (seconds - self._mean_s) / 8
