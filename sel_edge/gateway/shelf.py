"""The networks that a board was sent, so that a gateway that was restarted knows what it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sel_edge.core.errors import BundleError
from sel_edge.core.files import storage_errors, write_atomic
from sel_edge.mcu.image import Image
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Running, running

KEPT = 16
"""Networks that are kept, those sent last; a board that runs another one begins again."""
SENT = "sent"
"""Folder of a shelf in the directory of a board."""
SUFFIX = ".overlay"
_DIGEST_BYTES = 32


class Shelf:
    """One small file per network: SHA-256, then the payload that leads to it from the image.

    Args:
        board: directory of the board; it and the shelf in it are made at first use.
        image: that all of them are overlays of.
    """

    def __init__(self, board: Path, image: Image) -> None:
        self._folder, self._image = board / SENT, image

    def put(self, network_hash: str, network: Running) -> None:
        """Keep a network under the hash that a board has for it.

        Raises:
            StorageError: the file cannot be written.
        """
        payload = difference(running(self._image), network)
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path(network_hash), hashlib.sha256(payload).digest() + payload)
            files = sorted(
                self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns
            )
            for path in files[:-KEPT]:
                path.unlink()

    def get(self, network_hash: str) -> Running | None:
        """The network that a board has this hash for; None if nobody here sent it.

        A damaged file is as good as none.
        """
        if network_hash == self._image.hash:
            return running(self._image)
        try:
            content = self._path(network_hash).read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        try:
            return running(self._image).apply(payload)
        except BundleError:
            return None

    def _path(self, network_hash: str) -> Path:
        return self._folder / f"{network_hash}{SUFFIX}"
