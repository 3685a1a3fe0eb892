"""OpenSSH signatures: the very bytes of ssh-keygen, and ssh-keygen believes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.keys import PrivateKey, load_private_key, open_key, public_path
from sel_edge.bundle.sshsig import (
    RELEASE_NAMESPACE,
    allowed_signer,
    openssh_fingerprint,
    openssh_key,
    sshsig,
)
from sel_edge.core.errors import ConfigError
from tests.tools_needed import missing_tool

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9@._-]{0,20}\Z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with our key, and with the same one as OpenSSH keeps it."""
    if shutil.which("ssh-keygen") is None:
        missing_tool("ssh-keygen is not installed: apt install openssh-client")
    folder = tmp_path_factory.mktemp("ssh")
    open_key(folder / "key.pem")
    loaded = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH)
    (folder / "id").touch(0o600)
    (folder / "id").write_bytes(loaded.private_bytes(*encoding, serialization.NoEncryption()))
    return folder


@pytest.fixture(scope="module")
def key(folder: Path) -> PrivateKey:
    return load_private_key(folder / "key.pem")


def keygen(*arguments: object, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["ssh-keygen", *map(str, arguments)], input=content, capture_output=True, timeout=60
    )


def believes(
    folder: Path, allowed: str, signature: bytes, content: bytes, principal: str, namespace: str
) -> bool:
    (folder / "allowed").write_text(allowed)
    (folder / "sig").write_bytes(signature)
    where = ["-f", folder / "allowed", "-s", folder / "sig", "-I", principal, "-n", namespace]
    return keygen("-Y", "verify", *where, content=content).returncode == 0


@settings(max_examples=20)
@given(content=st.binary(max_size=5000), namespace=NAMES)
def test_ssh_keygen_would_have_written_the_same(
    folder: Path, key: PrivateKey, content: bytes, namespace: str
) -> None:
    theirs = keygen("-Y", "sign", "-f", folder / "id", "-n", namespace, content=content)
    assert theirs.returncode == 0
    assert sshsig(key, namespace, content) == theirs.stdout


@settings(max_examples=15)
@given(content=st.binary(min_size=1, max_size=300), principal=NAMES, data=st.data())
def test_ssh_keygen_believes_this_key_for_these_bytes_and_this_purpose_only(
    folder: Path, key: PrivateKey, content: bytes, principal: str, data: st.DataObject
) -> None:
    signature = sshsig(key, RELEASE_NAMESPACE, content)
    allowed = allowed_signer(key.public, principal)
    stranger = allowed_signer(open_key(folder / "other.pem").public, principal)
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
    good = (allowed, signature, content, principal, RELEASE_NAMESPACE)
    assert believes(folder, *good)
    assert believes(folder, stranger + allowed, *good[1:])
    assert not believes(folder, stranger, *good[1:])
    assert not believes(folder, allowed, signature, flipped, *good[3:])
    assert not believes(folder, *good[:3], f"{principal}x", RELEASE_NAMESPACE)
    assert not believes(folder, *good[:4], "file")


def test_a_signature_for_another_purpose_is_not_believed(folder: Path, key: PrivateKey) -> None:
    """Not even where the verifier forgets which purpose it is: the allowed line names it too."""
    signature = sshsig(key, "git", b"release")
    assert not believes(
        folder, allowed_signer(key.public, "us"), signature, b"release", "us", "git"
    )


def test_a_key_is_shown_as_ssh_keygen_shows_it(folder: Path, key: PrivateKey) -> None:
    public = keygen("-y", "-f", folder / "id").stdout.decode().split()
    assert public[:2] == openssh_key(key.public).split()
    (folder / "shown.pub").write_text(openssh_key(key.public))
    shown = keygen("-l", "-f", folder / "shown.pub").stdout.decode().split()
    assert shown[1] == openssh_fingerprint(key.public)
    imported = keygen("-i", "-m", "PKCS8", "-f", public_path(folder / "key.pem"))
    if imported.returncode == 0:  # OpenSSH older than 9.6 reads no Ed25519 here
        assert imported.stdout.decode().split()[:2] == openssh_key(key.public).split()


@pytest.mark.parametrize(
    "name", ["", "*", "!us", "a,b", 'us" x="', "us\nthem ssh-ed25519", "a b", "-f", "ä", "x" * 101]
)
def test_a_name_that_could_be_more_than_a_name_is_refused(key: PrivateKey, name: str) -> None:
    with pytest.raises(ConfigError, match="principal"):
        allowed_signer(key.public, name)
    with pytest.raises(ConfigError, match="namespace"):
        sshsig(key, name, b"")


def test_what_ssh_believes_is_never_what_we_sign_elsewhere(key: PrivateKey) -> None:
    with pytest.raises(ValueError, match=r"PROTOCOL\.sshsig"):
        key.sign_ssh(b"sel-edge bundle 1\0{}")
