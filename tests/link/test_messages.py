"""Messages: every one reads back, and nothing else is read."""

from __future__ import annotations

import typing
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import LinkError, OtherVersionError, RefusedError
from sel_edge.link.frames import Kind, Packet
from sel_edge.link.messages.codec import Message
from sel_edge.link.messages.control import LogPart
from sel_edge.link.messages.delta import Chunks, DeltaDataRequest
from sel_edge.link.messages.envelope import decode_answer, encode_request
from sel_edge.link.messages.hello import Hello, HelloRequest
from sel_edge.link.messages.infer import Inference, InferRequest
from sel_edge.link.messages.refusal import DETAILS, NoDetails, Refusal
from sel_edge.link.messages.sample import Sample, SamplingRequest
from sel_edge.link.messages.status import StatusRequest
from tests.link.peer import HELLO, REQUESTS, STATUS, answer_bytes

MESSAGES = sorted(
    {*REQUESTS, *(kind.answer for kind in REQUESTS), *DETAILS.values(), NoDetails},
    key=lambda kind: kind.__name__,
)
RANGES = {"B": (0, 2**8), "H": (0, 2**16), "I": (0, 2**32), "Q": (0, 2**64), "h": (-(2**15), 2**15)}


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Any message of a kind that keeps its rules."""
    values: dict[str, Any] = {}
    for part in fields(kind):  # type: ignore[arg-type]
        wire = part.metadata["wire"]
        match type(wire).__name__:
            case "_Number":
                least, end = RANGES[wire.layout[-1]]
                values[part.name] = draw(st.integers(least, end - 1))
            case "_Fixed":
                values[part.name] = draw(st.binary(min_size=wire.size, max_size=wire.size))
            case "_Counted":
                least, end = RANGES[wire.layout[-1]]
                numbers = draw(st.lists(st.integers(least, end - 1), max_size=9))
                values[part.name], values[wire.count] = tuple(numbers), len(numbers)
            case _:
                values[part.name] = draw(st.binary(max_size=64))
    return kind(**lawful(kind, values, draw))


def lawful(kind: type[Message], values: dict[str, Any], draw: st.DrawFn) -> dict[str, Any]:
    """The values with what `check` looks at made right."""
    match kind.__name__:
        case "Hello":
            values["window"] = draw(st.integers(1, 2**16 - 1))
            values["longest_message"] = draw(st.integers(1040, 2**32 - 1))
        case "HelloRequest":
            values["least"], values["greatest"] = sorted((values["least"], values["greatest"]))
        case "LogPart":
            values["first"] = draw(st.integers(0, 2**31))
            values["written"] = values["first"] + len(values["text"]) + draw(st.integers(0, 2**30))
        case "InferRequest":
            values["wanted"] = draw(st.integers(0, 7))
        case "Inference":
            values["feature_count"] = len(values["features"])
        case "SamplingRequest" | "Sample":
            values["form"] = draw(st.integers(1, 2))
        case "Chunks":
            values["chunk_bytes"] = draw(st.integers(256, 2**32 - 1))
    return values


@pytest.mark.parametrize("kind", MESSAGES)
@given(data=st.data())
@settings(max_examples=40)
def test_a_message_reads_back(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    content = message.encode()
    assert kind.decode(content) == message
    if not has_rest(kind):
        with pytest.raises(LinkError, match="follow its end"):
            kind.decode(content + b"\0")
        if content:
            with pytest.raises(LinkError, match="too early"):
                kind.decode(content[:-1])


def has_rest(kind: type[Message]) -> bool:
    return any(type(p.metadata["wire"]).__name__ == "_Rest" for p in fields(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MESSAGES)
@given(content=st.binary(max_size=200))
@settings(max_examples=60)
def test_any_bytes_are_a_message_that_writes_them_or_an_error(
    kind: type[Message], content: bytes
) -> None:
    try:
        message = kind.decode(content)
    except LinkError:
        return
    assert message.encode() == content


@pytest.mark.parametrize("refusal", sorted(set(Refusal) - {Refusal.VERSION}))
@given(data=st.data())
@settings(max_examples=10)
def test_every_refusal_tells_its_name_fields_and_what_to_do(
    refusal: Refusal, data: st.DataObject
) -> None:
    details = data.draw(messages(DETAILS.get(refusal, NoDetails)))
    content = answer_bytes(StatusRequest(), (refusal, details))
    with pytest.raises(RefusedError) as found:
        decode_answer(StatusRequest(), content)
    error = found.value
    assert (error.status, error.name, error.exit_code) == (refusal, refusal.label, 11)
    assert list(error.fields) == [part.name for part in fields(details)]  # type: ignore[arg-type]
    assert error.expected and error.action
    assert all(str(value) in str(error) for value in error.fields.values())


def test_another_version_names_both() -> None:
    content = answer_bytes(HelloRequest(1, 1), (Refusal.VERSION, DETAILS[Refusal.VERSION](2, 3)))
    with pytest.raises(OtherVersionError, match=r"versions 2 to 3 .* versions 1 to 1\."):
        decode_answer(HelloRequest(1, 1), content)


@pytest.mark.parametrize("content", [b"", b"\2", b"\1\0", b"\2\x10", b"\2\x06", b"\2\x01\0"])
def test_answers_that_cannot_be(content: bytes) -> None:
    """None, half, of another operation, of an unknown status, without fields, with too many."""
    with pytest.raises(LinkError):
        decode_answer(StatusRequest(), content)


@pytest.mark.parametrize(
    "message",
    [
        replace(HELLO, window=0),
        replace(HELLO, longest_message=1039),
        replace(HELLO, device_id=b"short"),
        replace(HELLO, firmware_major=2**16),
        replace(STATUS, counter=-1),
        HelloRequest(2, 1),
        LogPart(5, 5, b"x"),
        Inference(0, 0, 0, 0, 2, 0, 0, (1,), b""),
        Inference(0, 0, 0, 0, 1, 0, 0, (2**15,), b""),
        Inference(0, 0, 0, 0, 0, 1, 0, (), b""),
        InferRequest(8, b""),
        SamplingRequest(0, 3, 1),
        SamplingRequest(0, 1, 2**16),
        Sample(1, 0, 0, 0, 0, 0, 0, b""),
        Chunks(255, 0, ()),
    ],
)
def test_what_the_format_cannot_tell_is_not_sent(message: Message) -> None:
    with pytest.raises(LinkError, match="cannot be sent"):
        message.encode()


def test_bytes_that_are_to_be_zero() -> None:
    content = bytearray(HELLO.encode())
    content[1] = 1
    with pytest.raises(LinkError, match="to be 0"):
        Hello.decode(bytes(content))


def test_every_operation_has_its_own_number_and_answers_are_what_they_are_said_to_be() -> None:
    assert len({kind.operation for kind in REQUESTS}) == len(REQUESTS) == 16
    for kind in REQUESTS:
        (base,) = kind.__orig_bases__
        assert typing.get_args(base) == (kind.answer,)


def test_a_chunk_takes_little_more_of_the_line_than_itself() -> None:
    """One frame holds it, and 97 % of that are the chunk."""
    request = DeltaDataRequest(2**20, bytes(1024))
    frames = Packet(Kind.REQUEST, 1, encode_request(request)).encode()
    assert frames.count(0) == 2 and 1024 / len(frames) > 0.97
