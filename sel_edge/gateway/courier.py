"""Brings networks to a board: what differs, signed, and nothing if nothing does."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.core.errors import ConfigError
from sel_edge.gateway.shelf import Shelf
from sel_edge.link.client import Client
from sel_edge.link.messages.status import Status
from sel_edge.link.transfer import Progress
from sel_edge.mcu.image import Image
from sel_edge.mcu.manifest import TO_IMAGE, delta_manifest, rollback_manifest
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Running, running


@dataclass(frozen=True)
class Delivery:
    """A change that a board took.

    Attributes:
        network: hash of what the board runs now.
        payload_bytes: that went over the link; 0 if it has gone back to its image.
        counter: of the change.
    """

    network: str
    payload_bytes: int
    counter: int


class Courier:
    """Changes what one board runs.

    Args:
        client: of the board.
        key: of the board, 32 bytes.
        image: that the board has.
        shelf: what it was sent before.
    """

    def __init__(self, client: Client, key: bytes, image: Image, shelf: Shelf) -> None:
        self._client, self._key, self._image, self._shelf = client, key, image, shelf

    def is_running(self, target: Running) -> bool:
        """Whether the board runs a network.

        Raises:
            ConfigError: the board has another image.
            LinkError: the board does not answer.
        """
        _, before = self._found()
        return before is not None and not difference(before, target)

    def deliver(self, target: Running, progress: Progress | None = None) -> Delivery | None:
        """Have the board run a network; None if it does already.

        A board that runs what nobody here has sent goes back to its image first, and no further if
        that is what it is to run.

        Args:
            target: what it is to run.
            progress: told the bytes that are there, and those in all.

        Raises:
            ConfigError: the board has another image.
            BundleError: the difference is too large to be sent.
            LinkError: the board does not answer, or refuses.
            StorageError: what is sent cannot be written down.
        """
        status, before = self._found()
        if before is not None and not difference(before, target):
            return None
        image = running(self._image)
        if before is None or not difference(image, target):
            status, before = self._back_to_image(status), image
        payload = difference(before, target)
        if payload:
            manifest = delta_manifest(status.network.hex(), payload, status.next_counter)
            # First: a board that has it while this process has died is not to begin again.
            self._shelf.put(manifest.after, target)
            status = self._client.push(manifest, payload, self._key, progress)
        return Delivery(status.network.hex(), len(payload), status.counter)

    def _found(self) -> tuple[Status, Running | None]:
        """The board's status, and what it runs; None if nobody here has sent that."""
        status = self._client.status()
        require_image(status, self._image)
        return status, self._shelf.get(status.network.hex())

    def _back_to_image(self, status: Status) -> Status:
        """Have the board go back to its image; returns its status then."""
        before, counter = status.network.hex(), status.next_counter
        manifest = rollback_manifest(before, self._image.hash, counter, TO_IMAGE)
        return self._client.rollback(manifest, self._key)


def require_image(status: Status, image: Image) -> None:
    """Make sure that a board has an image.

    Args:
        status: of the board.
        image: of the bundle.

    Raises:
        ConfigError: it has none, or another one.
    """
    if not status.has_network:
        raise ConfigError(
            "The board has no model image that it can run.",
            f"The bundle's, {image.hash[:12]}, is expected.",
            "Install it with `sel-edge deploy`.",
        )
    if status.image.hex() != image.hash:
        raise ConfigError(
            f"The board has the model image {status.image.hex()[:12]}.",
            f"The bundle's is {image.hash[:12]}.",
            "Name the bundle that the board was given, or install this one with `sel-edge deploy`.",
        )
