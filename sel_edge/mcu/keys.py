"""Keys of boards, and the codes that show a request comes from their host."""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
MAC_BYTES = 32
NONCE_BYTES = 16


class Purpose(Enum):
    """What a MAC is for: its label of 16 bytes."""

    BEGIN = b"sel-edge begin 1"
    COMMIT = b"sel-edge keep  1"
    ROLLBACK = b"sel-edge back  1"
    IMAGE = b"sel-edge image 1"


def device_key(host_key: bytes, device_id: bytes) -> bytes:
    """The key of one board, 32 bytes: HKDF-SHA256 of the host's key.

    Args:
        host_key: 32 bytes.
        device_id: 8 bytes.
    """
    info = b"sel-edge device 1" + device_id
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(host_key)


def mac(key: bytes, purpose: Purpose, nonce: bytes, manifest: bytes) -> bytes:
    """The MAC of a request, 32 bytes: HMAC-SHA256 of label, nonce and manifest.

    Args:
        key: of the board.
        purpose: of the request.
        nonce: 16 bytes from the board.
        manifest: 128 bytes, or of an image: u32 bytes of it and its hash.
    """
    return hmac.new(key, purpose.value + nonce + manifest, hashlib.sha256).digest()
