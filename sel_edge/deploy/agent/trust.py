"""Whose releases this board takes: the signature decides, not who is at the other end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from .place import Place, write_atomic
from .process import MISSING, call
from .wire import Refusal

RELEASE, TRUST = "sel-edge-release", "sel-edge-trust"
PRINCIPAL = "sel-edge"
LONGEST_SIGNATURE = 4096
SLOWEST_S = 60
_KEY = re.compile(r"[0-9a-f]{64}")
_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""Of an Ed25519 key as SubjectPublicKeyInfo: RFC 8410."""


def fingerprints(place: Place) -> list[str]:
    """The keys that the board was given."""
    return sorted(_keys(place))


def add_keys(place: Place, keys: list[str], signature: str | None, nonce: str) -> None:
    """Take keys: the first ones from whoever installs, later ones from whoever has one of them.

    Args:
        keys: 64 hex digits each.
        signature: of the keys and the nonce; None is enough for the first ones.
        nonce: of this conversation, so that a signature cannot be used again.

    Raises:
        Refusal: a key is none, or nobody whom the board knows has signed them.
    """
    if not keys or len(keys) > 100:
        raise untrusted(f"{len(keys)} keys were sent.")
    for key in keys:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise untrusted("What was sent is no Ed25519 key.")
    require_owner(place, nonce, signature, keys=keys)
    for key in keys:
        raw = bytes.fromhex(key)
        text = base64.b64encode(_PREFIX + raw).decode()
        pem = f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"
        write_atomic(place.keys / f"{hashlib.sha256(raw).hexdigest()}.pub.pem", pem.encode())


def require_owner(place: Place, nonce: str, signature: str | None, **said: Any) -> None:
    """Refuse what changes whom the board trusts, unless somebody whom it trusts has signed it.

    A board that was never given a key takes it from anybody; one whose key files are damaged from
    nobody.

    Args:
        place: the folder of the releases.
        nonce: of this conversation, so that a signature cannot be used again.
        signature: of the nonce and what is said; None is enough for the first keys.
        said: what is asked for.

    Raises:
        Refusal: nobody whom the board knows has signed it.
    """
    if any(place.keys.glob("*.pub.pem")):
        told = {**said, "nonce": nonce}
        content = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
        verify(place, TRUST, content, signature or "")


def verify(place: Place, namespace: str, content: bytes, signature: str) -> None:
    """Have ssh-keygen check who signed.

    Raises:
        Refusal: none of the board's keys did.
    """
    signers = "".join(f"{PRINCIPAL} {_openssh(raw)}\n" for raw in _keys(place).values())
    if not signers:
        raise untrusted("The board was not given any key yet, or cannot read it.")
    if not signature.isascii() or len(signature) > LONGEST_SIGNATURE:
        raise untrusted("The signature is none.")
    with tempfile.TemporaryDirectory() as scratch:
        allowed, signed = Path(scratch, "allowed_signers"), Path(scratch, "signature")
        allowed.write_text(signers)
        signed.write_text(signature)
        command = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", PRINCIPAL]
        command += ["-n", namespace, "-s", str(signed)]
        code, _ = call(command, SLOWEST_S, content=content)
    if code == MISSING:
        raise Refusal(
            "signature",
            "There is no ssh-keygen on this board.",
            "Signatures are checked with it.",
            "Install it: `sudo apt-get install openssh-client`.",
        )
    if code:
        raise untrusted("It is not signed by a key that this board was given.")


def untrusted(found: str) -> Refusal:
    """Something that nobody vouches for."""
    return Refusal(
        "signature",
        found,
        "A board takes what one of its own keys has signed, whoever sends it.",
        "Sign with such a key (--sign), or have its owner add yours (--trust).",
    )


def _keys(place: Place) -> dict[str, bytes]:
    """Fingerprint -> key. A file that is damaged, or whose name is not its key's, is nobody's."""
    found = {}
    for path in place.keys.glob("*.pub.pem"):
        with contextlib.suppress(OSError, ValueError):
            raw = base64.b64decode("".join(path.read_text().splitlines()[1:-1]))[len(_PREFIX) :]
            fingerprint = hashlib.sha256(raw).hexdigest()
            if path.name == f"{fingerprint}.pub.pem":
                found[fingerprint] = raw
    return found


def _openssh(raw: bytes) -> str:
    """A key as `ssh-ed25519 BASE64`; RFC 8709."""
    parts = (b"ssh-ed25519", raw)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"
