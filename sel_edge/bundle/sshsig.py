"""OpenSSH signatures: what a machine checks with its own `ssh-keygen -Y verify`.

A device verifies a release before any of this program is there, and ssh-keygen is. The format is
PROTOCOL.sshsig of OpenSSH; Ed25519 signs without random numbers, so these are the very bytes that
`ssh-keygen -Y sign` makes with the same key.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from base64 import b64encode

from sel_edge.bundle.keys import PrivateKey, PublicKey
from sel_edge.core.errors import ConfigError

RELEASE_NAMESPACE = "sel-edge-release"

_ALGORITHM, _HASH = b"ssh-ed25519", b"sha512"
_MAGIC, _VERSION = b"SSHSIG", (1).to_bytes(4, "big")
_LINE_WIDTH = 70
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,99}")


def sshsig(key: PrivateKey, namespace: str, content: bytes) -> bytes:
    """An armored signature, as `ssh-keygen -Y sign -n NAMESPACE` writes it.

    Args:
        key: who signs.
        namespace: what for; a verifier names the same one.
        content: any bytes.

    Raises:
        ConfigError: the namespace is none.
    """
    _require_name(namespace, "namespace")
    head = _string(namespace.encode()) + _string(b"") + _string(_HASH)
    signed = key.sign_ssh(_MAGIC + head + _string(hashlib.sha512(content).digest()))
    blob = _MAGIC + _VERSION + _string(_blob(key.public)) + head
    blob += _string(_string(_ALGORITHM) + _string(signed))
    lines = textwrap.wrap(b64encode(blob).decode(), _LINE_WIDTH)
    armored = ["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]
    return "\n".join(armored).encode()


def allowed_signer(key: PublicKey, principal: str) -> str:
    """A line for the allowed_signers file of `ssh-keygen -Y verify`, good for releases only.

    Args:
        key: whose signatures are believed.
        principal: the name that the verifier gives with -I.

    Raises:
        ConfigError: the principal is none; patterns are not either.
    """
    _require_name(principal, "principal")
    return f'{principal} namespaces="{RELEASE_NAMESPACE}" {openssh_key(key)}\n'


def openssh_key(key: PublicKey) -> str:
    """A key as OpenSSH writes it in one line, without a comment."""
    return f"{_ALGORITHM.decode()} {b64encode(_blob(key)).decode()}"


def openssh_fingerprint(key: PublicKey) -> str:
    """A key's fingerprint as `ssh-keygen -l` shows it."""
    digest = hashlib.sha256(_blob(key)).digest()
    return f"SHA256:{b64encode(digest).decode().rstrip('=')}"


def _blob(key: PublicKey) -> bytes:
    return _string(_ALGORITHM) + _string(key.raw)


def _string(content: bytes) -> bytes:
    """A string of RFC 4251, section 5."""
    return len(content).to_bytes(4, "big") + content


def _require_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a {what} of a signature.",
            "1 to 100 ASCII letters, digits and @ . _ - are expected, the first a letter or digit.",
            f"Choose another {what}.",
        )
