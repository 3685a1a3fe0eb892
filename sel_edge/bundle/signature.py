"""Signed bundles: who vouches for one, and whether that is somebody whom this machine trusts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.keys import PrivateKey, PublicKey
from sel_edge.bundle.signature_file import SIGNATURE_FILE, pack_signature
from sel_edge.core.errors import BundleError
from sel_edge.core.files import storage_errors, sync_directory, write_atomic


def sign_bundle(path: Path, key: PrivateKey) -> Bundle:
    """Sign a bundle in its place, after checking every byte of it; its hash stays the same.

    A bundle has one signature: an older one is replaced.

    Args:
        path: the bundle's directory.
        key: who vouches for it.

    Raises:
        BundleError: it cannot be opened, or carries a signature that is damaged.
        StorageError: the file cannot be written beside and in the bundle.
    """
    bundle = open_bundle(path)
    place = path.resolve()
    # A half-written file inside would make the bundle a damaged one.
    aside = place.with_name(f".{place.name}.{SIGNATURE_FILE}")
    write_atomic(aside, pack_signature(bundle.manifest, key))
    with storage_errors(path / SIGNATURE_FILE):
        aside.replace(place / SIGNATURE_FILE)
        sync_directory(place)
    return replace(bundle, signer=key.public)


def require_signed(bundle: Bundle, trusted: Collection[PublicKey]) -> PublicKey:
    """Refuse a bundle that none of the trusted keys has signed.

    Args:
        bundle: as `open_bundle` returned it, so its signature is checked.
        trusted: whose bundles are welcome.

    Returns:
        Who signed it.

    Raises:
        BundleError: it is not signed, or by somebody else.
    """
    signer = bundle.signer
    if signer is not None and signer in trusted:
        return signer
    by = "is not signed" if signer is None else f"was signed by {signer.fingerprint}"
    whom = "the trusted key" if len(trusted) == 1 else f"one of the {len(trusted)} trusted keys"
    raise BundleError(
        f"The bundle {bundle.path} {by}.",
        f"A signature by {whom} is expected.",
        "Sign it with `sel-edge keys sign`, or trust the key of whoever signed it.",
    )
