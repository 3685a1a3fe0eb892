"""Messages of every kind, and the packets that carry them, for the frozen bytes of the link."""

from __future__ import annotations

from typing import Any

from sel_edge.link.frames import Kind, Packet
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.control import LogPart, LogRequest, ProvisionRequest, TimeRequest
from sel_edge.link.messages.delta import (
    Chunks,
    Committed,
    DeltaBeginRequest,
    DeltaCommitRequest,
    DeltaDataRequest,
    Written,
)
from sel_edge.link.messages.hello import Hello, HelloRequest
from sel_edge.link.messages.image import (
    ImageBeginRequest,
    ImageCommitRequest,
    ImageCommitted,
    ImageDataRequest,
)
from sel_edge.link.messages.infer import Inference, InferRequest
from sel_edge.link.messages.refusal import (
    InUse,
    LastCounter,
    NextNonce,
    Reason,
    Room,
    Versions,
)
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.sample import Sample, SampleRequest, SamplingRequest
from sel_edge.link.messages.status import Status
from sel_edge.mcu.keys import Purpose, device_key, mac
from sel_edge.mcu.manifest import delta_manifest

ONE, TWO, NONCE = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 80))
MANIFEST = delta_manifest(ONE.hex(), b"payload", counter=9).to_bytes()
KEY = device_key(ONE, b"board 01")
CODE = mac(KEY, Purpose.BEGIN, NONCE, MANIFEST)

MESSAGES: tuple[Message, ...] = (
    HelloRequest(1, 2),
    Hello(1, b"board 01", 0, 1, 1040, 8, 65536, 15),
    Status(ONE, TWO, ONE, NONCE, 2**40, 2**41, *(3, 4, 5), *(6, 7), *(8, 9, 10), *(11, 12), 13),
    TimeRequest(1_700_000_000_000),
    LogRequest(77),
    LogPart(70, 100, "grün".encode()),
    ProvisionRequest(KEY),
    InferRequest(5, bytes(8)),
    Inference(1, 2, 3, 4, 2, 3, 2**33, (-2, 300), b"\0\1\2"),
    SamplingRequest(256, 2, 60),
    SampleRequest(2**31),
    Sample(2**31, 1, 2, 3, 4, 1, 5, b"frame"),
    DeltaBeginRequest(MANIFEST, CODE),
    Chunks(1024, 2, (0xDEADBEEF, 1)),
    DeltaDataRequest(1024, b"chunk"),
    Written(1024),
    DeltaCommitRequest(MANIFEST, CODE),
    Committed(TWO, 9, NONCE),
    RollbackRequest(MANIFEST, CODE),
    ImageBeginRequest(4096, ONE, CODE),
    ImageDataRequest(2048, b"chunk"),
    ImageCommitRequest(ONE, CODE),
    ImageCommitted(ONE, NONCE),
    *(InUse(ONE), LastCounter(2**50), NextNonce(NONCE), Room(9, 8), Reason(7), Versions(1, 3)),
)
PACKETS = (
    Packet(Kind.REQUEST, 0, b"\2\0"),
    Packet(Kind.RESPONSE, 0xFFFF, b""),
    Packet(Kind.REQUEST, 0x0102, bytes(range(256)) * 4),
    Packet(Kind.RESPONSE, 7, b"\x55" * 1041),
    Packet(Kind.REQUEST, 8, bytes(2080)),
)


def linked() -> dict[str, Any]:
    """All of them as hex digits."""
    names = [f"{number} {type(message).__name__}" for number, message in enumerate(MESSAGES)]
    messages = (message.encode().hex() for message in MESSAGES)
    return {
        "messages": dict(zip(names, messages, strict=True)),
        "packets": [packet.encode().hex() for packet in PACKETS],
    }
