"""A board at the other end of a line: what can be asked of it, and what can be sent to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

from sel_edge.core.errors import LinkError, RefusedError, WrongDeviceError
from sel_edge.link.exchange import Exchange
from sel_edge.link.frames import FRAGMENT_BYTES, MAX_PACKET_BYTES
from sel_edge.link.messages.codec import HASH_BYTES, Message
from sel_edge.link.messages.control import (
    LogRequest,
    ProvisionRequest,
    RebootRequest,
    TimeRequest,
)
from sel_edge.link.messages.envelope import Request, encode_request
from sel_edge.link.messages.hello import OURS, Hello
from sel_edge.link.messages.infer import Inference, InferRequest, Wanted
from sel_edge.link.messages.refusal import Refusal, other_version
from sel_edge.link.messages.rollback import RollbackRequest
from sel_edge.link.messages.sample import NO_SAMPLE, Form, Sample, SampleRequest, SamplingRequest
from sel_edge.link.messages.status import Status, StatusRequest
from sel_edge.link.transfer import (
    MAX_TRIES,
    DeltaShipment,
    ImageShipment,
    Progress,
    Transfer,
    is_result,
)
from sel_edge.link.transport import Transport
from sel_edge.mcu.image import MAGIC
from sel_edge.mcu.keys import Purpose, mac
from sel_edge.mcu.manifest import Manifest

A = TypeVar("A", bound=Message)

TIMEOUT_S = 10.0
_IMAGE_HASH = slice(16, 16 + HASH_BYTES)
"""Where an image says its hash."""


class Client:
    """Talks with one board; not to be used by two threads at a time.

    Every method may raise
        NoAnswerError: nothing came back for `timeout_s`.
        RefusedError: the board said no; its status and fields are in the error.
        OtherVersionError: the board speaks other versions of the messages.
        WrongDeviceError: another board is on the line.
        LinkError: the board said something that cannot be right.

    Args:
        transport: the line.
        timeout_s: longest time without any answer.
        device_id: the board that is expected, 8 bytes; None for the first that answers.
    """

    def __init__(
        self, transport: Transport, timeout_s: float = TIMEOUT_S, device_id: bytes | None = None
    ) -> None:
        self._exchange = Exchange(transport, timeout_s)
        self._device_id = device_id
        self._hello: Hello | None = None

    def hello(self) -> Hello:
        """Who is there. Said before anything else, and again by all who need to know."""
        hello = self._exchange.ask(OURS)
        if not OURS.least <= hello.version <= OURS.greatest:
            raise other_version(hello.version, hello.version)
        if hello.fragment_bytes != FRAGMENT_BYTES:
            raise LinkError(
                f"The board puts {hello.fragment_bytes} bytes into a frame.",
                f"Frames of version 1 hold {FRAGMENT_BYTES}.",
                "Check that firmware and program are of the same release.",
            )
        if hello.device_id != (self._device_id or hello.device_id):
            raise WrongDeviceError(
                f"The board {hello.device_id.hex()} is on the line.",
                f"The board {(self._device_id or b'').hex()} is expected.",
                "Plug that one in, or name the port that it is on.",
            )
        self._device_id, self._hello = hello.device_id, hello
        return hello

    def status(self) -> Status:
        """What the board runs and how it is."""
        return self._ask(StatusRequest())

    def set_time(self, time_ms: int | None = None) -> None:
        """Set the board's clock.

        Args:
            time_ms: since 1970; None for now.
        """
        self._ask(TimeRequest(time.time_ns() // 1_000_000 if time_ms is None else time_ms))

    def log(self) -> str:
        """What the board's log holds, up to what was written when it is asked."""
        part = self._ask(LogRequest(0))
        text, end = part.text, part.written
        while part.text and (wanted := part.first + len(part.text)) < end:
            part = self._ask(LogRequest(wanted))
            if part.first < wanted:  # the board has restarted, with another log
                break
            text += part.text
        return text.decode(errors="replace")

    def infer(
        self, content: bytes, observe: bool = False, features: bool = False, logits: bool = False
    ) -> Inference:
        """What the board's network answers.

        Args:
            content: [height][width][channels] pixels, or values that are quantized already.
            observe: count it as a frame of the board's own, which may become a sample.
            features, logits: have them told as well.
        """
        wanted = Wanted.OBSERVE * observe | Wanted.FEATURES * features | Wanted.LOGITS * logits
        return self._ask(InferRequest(wanted, content))

    def set_sampling(
        self, least_embarrassment: int, per_minute: int, form: Form = Form.FRAME
    ) -> None:
        """Say which frames the board is to keep for a label.

        Args:
            least_embarrassment: 1/256 nat, 0 to 65535.
            per_minute: at most so many, 0 to 65535.
            form: the frame itself, or its features.
        """
        self._ask(SamplingRequest(least_embarrassment, form, per_minute))

    def samples(self, most: int | None = None) -> Iterator[Sample]:
        """Take the samples that wait.

        The board forgets one when the next is asked for, so that a caller that stores each before
        it goes on loses none, and gets the last one again if it stops there.

        Args:
            most: after so many it ends, and the board has forgotten the last one, too; None for
                all of them and those that come meanwhile.
        """
        arrived, taken = NO_SAMPLE, 0
        while (sample := self._ask(SampleRequest(arrived))).sample != NO_SAMPLE and taken != most:
            if sample.sample == arrived:
                raise LinkError(
                    f"The board sent sample {arrived} again.",
                    "Another one is expected after it has arrived.",
                    "Check that firmware and program are of the same release.",
                )
            yield sample
            arrived, taken = sample.sample, taken + 1

    def push(
        self, manifest: Manifest, payload: bytes, key: bytes, progress: Progress | None = None
    ) -> Status:
        """Send a delta and have it used; nothing is done if it is in use already.

        Args:
            manifest: of the delta.
            payload: that of the manifest.
            key: of the board, 32 bytes.
            progress: told the bytes that are there, and those in all.

        Returns:
            the board's status with the delta in use.
        """
        return self._transfer(DeltaShipment(manifest, payload, key), progress)

    def install(self, image: bytes, key: bytes, progress: Progress | None = None) -> Status:
        """Send an image and have it used; nothing is done if it is there already.

        Args:
            image: docs/SPEC.md, "Model image".
            key: of the board, 32 bytes.
            progress: told the bytes that are there, and those in all.

        Returns:
            the board's status with the image in use.
        """
        if not image.startswith(MAGIC):
            raise LinkError(
                "What is to be installed is no model image.",
                "An image made by `sel-edge export --target mcu` is expected.",
                "Name such a file.",
            )
        return self._transfer(ImageShipment(image, image[_IMAGE_HASH], key), progress)

    def rollback(self, manifest: Manifest, key: bytes) -> Status:
        """Go back to a network that was in use before.

        Args:
            manifest: of the rollback.
            key: of the board, 32 bytes.

        Returns:
            the board's status with that network in use.
        """
        content, most = manifest.to_bytes(), MAX_TRIES[Refusal.WRONG_MAC]
        for tries in range(1, most + 1):
            code = mac(key, Purpose.ROLLBACK, self.status().nonce, content)
            try:
                self._ask(RollbackRequest(content, code))
            except RefusedError as refusal:
                # The board may have restarted since, and have another nonce.
                if refusal.status != Refusal.WRONG_MAC or tries == most:
                    raise
            else:
                break
        status = self.status()
        if not is_result(manifest, status):
            raise LinkError(
                f"The board runs the network {status.network.hex()} after a rollback.",
                "The network that the rollback leads to is expected.",
                "Check that firmware and program are of the same release.",
            )
        return status

    def provision(self, key: bytes) -> None:
        """Give the board its key, 32 bytes, sent as they are: nobody else may read this line."""
        self._ask(ProvisionRequest(key))

    def reboot(self) -> None:
        """Restart the board."""
        self._ask(RebootRequest())

    def _transfer(
        self, shipment: DeltaShipment | ImageShipment, progress: Progress | None
    ) -> Status:
        return Transfer(self._exchange, self.hello, shipment, progress).run()

    def _ask(self, request: Request[A]) -> A:
        hello, size = self._hello or self.hello(), len(encode_request(request))
        most = min(hello.longest_message, MAX_PACKET_BYTES)
        if size > most:
            raise LinkError(
                f"A message of {size} bytes is to be sent.",
                f"The board takes at most {most}.",
                "Check that the input has the size of the network's.",
            )
        return self._exchange.ask(request)
