"""A scripted other side: answers each request by a function, on its own end of a line in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sel_edge.link.client import Client
from sel_edge.link.frames import FRAGMENT_BYTES, FrameDecoder, Kind, Packet
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.control import (
    LogRequest,
    ProvisionRequest,
    RebootRequest,
    TimeRequest,
)
from sel_edge.link.messages.delta import (
    DeltaBeginRequest,
    DeltaCommitRequest,
    DeltaDataRequest,
)
from sel_edge.link.messages.envelope import Request
from sel_edge.link.messages.hello import Hello, HelloRequest
from sel_edge.link.messages.image import (
    ImageBeginRequest,
    ImageCommitRequest,
    ImageDataRequest,
)
from sel_edge.link.messages.infer import InferRequest
from sel_edge.link.messages.refusal import DETAILS, OK, NoDetails, Refusal
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.sample import SampleRequest, SamplingRequest
from sel_edge.link.messages.status import Status, StatusRequest
from sel_edge.link.transport import LoopbackTransport, loopback

REQUESTS: tuple[type[Request[Any]], ...] = (
    *(HelloRequest, StatusRequest, TimeRequest, LogRequest, RebootRequest, ProvisionRequest),
    *(InferRequest, SamplingRequest, SampleRequest, DeltaBeginRequest, DeltaDataRequest),
    *(DeltaCommitRequest, RollbackRequest, ImageBeginRequest, ImageDataRequest, ImageCommitRequest),
)
BY_OPERATION = {kind.operation: kind for kind in REQUESTS}
HELLO = Hello(1, b"board  1", 0, 1, FRAGMENT_BYTES, 4, 4096, 15)
STATUS = Status(
    bytes(32),
    bytes(32),
    bytes(32),
    bytes(16),
    *(7, 0, 1000, 5, 0, 0, 10),
    *(256, 65536, 3, 1, 0, 0),
)

Reply = Message | Refusal | tuple[Refusal, Message] | bytes | None
"""An answer, a refusal without or with fields, the content of a packet as it is, or silence."""
Script = Callable[[Any], Reply]


def answer_bytes(
    request: Request[Any], reply: Message | Refusal | tuple[Refusal, Message]
) -> bytes:
    """The content of the packet with an answer."""
    if isinstance(reply, Refusal):
        reply = (reply, DETAILS.get(reply, NoDetails)())
    status, fields = reply if isinstance(reply, tuple) else (OK, reply)
    return bytes((request.operation, status)) + fields.encode()


class Peer:
    """Answers while it is entered.

    Args:
        script: from a request to what is replied; hello and status are answered where it is silent.
        hello: how it introduces itself.

    Attributes:
        requests: all that came, in order.
    """

    def __init__(self, script: Script = lambda request: None, hello: Hello = HELLO) -> None:
        self._script, self.hello = script, hello
        self.host, self._line = loopback()
        self.requests: list[Request[Any]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def client(self, timeout_s: float = 2.0, **options: Any) -> Client:
        return Client(self.host, timeout_s, **options)

    def asked(self, kind: type[Request[Any]]) -> int:
        """How often that was asked."""
        return sum(isinstance(request, kind) for request in self.requests)

    @property
    def line(self) -> LoopbackTransport:
        """Its end of the line."""
        return self._line

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _serve(self) -> None:
        decoder = FrameDecoder(Kind.REQUEST)
        while not self._is_over.is_set():
            for packet in decoder.feed(self._line.read(0.02)):
                kind = BY_OPERATION[packet.content[0]]
                request = kind.decode(packet.content[2:])
                self.requests.append(request)
                reply = self._script(request)
                if reply is None and isinstance(request, HelloRequest):
                    reply = self.hello
                if reply is None and isinstance(request, StatusRequest):
                    reply = STATUS
                if reply is not None:
                    content = reply if isinstance(reply, bytes) else answer_bytes(request, reply)
                    self.send(packet.sequence, content)

    def send(self, sequence: int, content: bytes) -> None:
        """Say something, asked or not."""
        self._line.write(Packet(Kind.RESPONSE, sequence, content).encode(), 1.0)
