"""The file beside the manifest that says who vouches for a bundle."""

from __future__ import annotations

import struct
from pathlib import Path

from sel_edge.bundle.keys import KEY_BYTES, SIGNATURE_BYTES, PrivateKey, PublicKey
from sel_edge.bundle.manifest import Manifest
from sel_edge.core.errors import BundleError

SIGNATURE_FILE = "signature"
PURPOSE = "bundle 1"

_MAGIC, _VERSION = b"SELB", 1
_FORMAT = struct.Struct(f"<4sHH{KEY_BYTES}s{SIGNATURE_BYTES}s")


def pack_signature(manifest: Manifest, key: PrivateKey) -> bytes:
    """The content of the file: key and signature over the manifest, whose hashes cover the rest."""
    signature = key.sign(PURPOSE, manifest.to_json())
    return _FORMAT.pack(_MAGIC, _VERSION, 0, key.public.raw, signature)


def read_signer(path: Path, manifest: Manifest) -> PublicKey:
    """Who signed the bundle with this manifest; the signature is checked.

    Args:
        path: the signature's file.
        manifest: of the bundle.

    Raises:
        BundleError: the file is no signature, of another version, or of another bundle.
    """
    with path.open("rb") as file:
        content = file.read(_FORMAT.size + 1)
    if len(content) != _FORMAT.size:
        raise _no_signature(path, f"it has not {_FORMAT.size} bytes")
    magic, version, reserved, raw, signature = _FORMAT.unpack(content)
    if (magic, reserved) != (_MAGIC, 0):
        raise _no_signature(path, "it begins otherwise")
    if version != _VERSION:
        raise _no_signature(path, f"it has version {version}, and version {_VERSION} is read")
    signer = PublicKey(raw)
    signer.verify(PURPOSE, manifest.to_json(), signature)
    return signer


def _no_signature(path: Path, detail: str) -> BundleError:
    return BundleError(
        f"{path} is no signature of a bundle: {detail}.",
        "A file as `sel-edge keys sign` writes it is expected.",
        "Get the bundle again from a source you trust; or remove that file and sign the bundle.",
    )
