"""Ed25519 keys: who made a delta, or vouches for a bundle or a release.

A private key is a PKCS #8 PEM file that only its owner can read; its public key lies beside it as
SubjectPublicKeyInfo PEM. Both are what `openssl pkey` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sel_edge.core.errors import BundleError
from sel_edge.core.files import sha256_bytes, write_atomic
from sel_edge.core.key_files import read_private_key, read_public_key, write_private_key

KEY_BYTES, SIGNATURE_BYTES = 32, 64
_PRIVATE, _PUBLIC = b"PRIVATE KEY-----", b"PUBLIC KEY-----"


@dataclass(frozen=True)
class PublicKey:
    """Who signed.

    Attributes:
        raw: 32 bytes.
    """

    raw: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key as 64 hex digits."""
        return sha256_bytes(self.raw)

    def verify(self, purpose: str, content: bytes, signature: bytes) -> None:
        """Check who signed these bytes for this purpose.

        Raises:
            BundleError: it was not this key, or not these bytes, or another purpose.
        """
        try:
            key = Ed25519PublicKey.from_public_bytes(self.raw)
            key.verify(signature, _message(purpose, content))
        except (InvalidSignature, ValueError) as error:
            raise BundleError(
                f"A signature is not that of the key {self.fingerprint}.",
                "Bytes exactly as the owner of the key signed them are expected.",
                "Do not use them; get them again from a source you trust.",
            ) from error


class PrivateKey:
    """Signs.

    Args:
        key: the key itself.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @cached_property
    def public(self) -> PublicKey:
        """Its public key."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, purpose: str, content: bytes) -> bytes:
        """64 bytes that hold for these bytes and this purpose only.

        Args:
            purpose: what is signed, without a zero byte, e.g. "delta 1".
            content: any bytes.
        """
        return self._key.sign(_message(purpose, content))

    def sign_ssh(self, message: bytes) -> bytes:
        """64 bytes over a message of OpenSSH, which says itself what it is for.

        Args:
            message: begins with SSHSIG, so it is never what `sign` signs.
        """
        if not message.startswith(b"SSHSIG"):
            raise ValueError("a message of PROTOCOL.sshsig is expected")
        return self._key.sign(message)


def open_key(path: Path) -> PrivateKey:
    """The private key in a file; at first use it is made, with the public key beside it.

    A public file that is another key's, because the private key was replaced, is replaced as well:
    who checks deltas by it would refuse all new ones.

    Args:
        path: ends in .pem; the public key's file ends in .pub.pem.

    Raises:
        ConfigError: others can read the private key.
        BundleError: a file is no Ed25519 key.
        StorageError: the files cannot be read or written.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private_key(path, made)
    key = load_private_key(path)
    beside, public = public_path(path), _pem(key.public)
    if not beside.exists() or read_public_key(beside) != public:
        write_atomic(beside, public)
    return key


def public_path(path: Path) -> Path:
    """Where the public key of a private key's file lies."""
    return path.with_suffix(".pub.pem")


def load_private_key(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        ConfigError: others can read it.
        BundleError: it is no Ed25519 key.
        StorageError: it cannot be read.
    """
    content = read_private_key(path)
    action = "Restore it from a copy; or remove it, and a new key is made that knows no earlier "
    action += "delta."
    if _PUBLIC in content:
        beside = "Name the private key, which was made beside it."
        raise _no_key(path, "it is a public one", beside)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError as error:
        without = "Make one without a password: `sel-edge keys new`."
        raise _no_key(path, "it has a password", without) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "it is damaged, or another kind of file", action) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "it is of another kind", action)
    return PrivateKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        BundleError: it is no Ed25519 key.
        StorageError: it cannot be read.
    """
    content = read_public_key(path)
    action = "Get it again from whoever has the private key."
    if is_private(content):
        beside = f"Name its public key, {public_path(path).name}; a private one is for nobody else."
        raise _no_key(path, "it is a private one", beside)
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "it is damaged, or another kind of file", action) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "it is of another kind", action)
    return PublicKey(key.public_bytes_raw())


def is_private(content: bytes) -> bool:
    """Whether a key file says that it holds a private key."""
    return _PRIVATE in content


def _message(purpose: str, content: bytes) -> bytes:
    return b"sel-edge " + purpose.encode() + b"\0" + content


def _pem(key: PublicKey) -> bytes:
    return Ed25519PublicKey.from_public_bytes(key.raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _no_key(path: Path, detail: str, action: str) -> BundleError:
    return BundleError(
        f"{path} is no key that can be used: {detail}.",
        "An Ed25519 key in a PEM file is expected.",
        action,
    )
