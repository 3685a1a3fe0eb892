"""Brings networks to a board: what differs, signed, and nothing if nothing does."""

from __future__ import annotations

from dataclasses import dataclass

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
    """A delta that a board took.

    Attributes:
        network: hash of what the board runs now.
        payload_bytes: that went over the link.
        counter: of the delta.
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

    def deliver(self, target: Running, progress: Progress | None = None) -> Delivery | None:
        """Have the board run a network; None if it does already.

        A board that runs what nobody here has sent goes back to its image first.

        Args:
            target: what it is to run.
            progress: told the bytes that are there, and those in all.

        Raises:
            LinkError: the board does not answer, or refuses.
            StorageError: what is sent cannot be written down.
        """
        status = self._client.status()
        before = self._shelf.get(status.network.hex())
        if before is None:
            status, before = self.back(TO_IMAGE, self._image.hash), running(self._image)
        payload = difference(before, target)
        if not payload:
            return None
        manifest = delta_manifest(status.network.hex(), payload, status.counter + 1)
        # First, for a board that has it while this process has died must not go back to its image.
        self._shelf.put(manifest.after, target)
        status = self._client.push(manifest, payload, self._key, progress)
        return Delivery(status.network.hex(), len(payload), status.counter)

    def back(self, depth: int, after: str) -> Status:
        """Have the board go back.

        Args:
            depth: 1, to the network before, or `TO_IMAGE`.
            after: hash of the network that it goes back to.
        """
        status = self._client.status()
        manifest = rollback_manifest(status.network.hex(), after, status.counter + 1, depth)
        return self._client.rollback(manifest, self._key)
