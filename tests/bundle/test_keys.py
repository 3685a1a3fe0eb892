"""Keys: made once, private, and good for one purpose at a time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.keys import (
    PublicKey,
    load_private_key,
    load_public_key,
    open_key,
    public_path,
)
from sel_edge.core.errors import BundleError, ConfigError, StorageError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    open_key(path)
    return path


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    key = open_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_key(path).public == key.public == load_public_key(public_path(path))
    assert sorted(file.name for file in path.parent.iterdir()) == ["key.pem", "key.pub.pem"]


def test_making_a_key_leaves_the_umask_as_it_was(tmp_path: Path) -> None:
    open_key(tmp_path / "key.pem")
    (tmp_path / "file").touch(0o666)
    assert public_path(tmp_path / "key.pem").stat().st_mode == (tmp_path / "file").stat().st_mode


def test_a_missing_public_file_is_written_again(tmp_path: Path) -> None:
    key = open_key(tmp_path / "key.pem")
    public_path(tmp_path / "key.pem").unlink()
    assert open_key(tmp_path / "key.pem").public == key.public
    assert load_public_key(public_path(tmp_path / "key.pem")) == key.public


def test_a_new_private_key_brings_its_own_public_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = open_key(path).public
    path.unlink()
    after = open_key(path).public
    assert after != before and load_public_key(public_path(path)) == after


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    open_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        open_key(path)


def test_two_devices_have_two_keys(tmp_path: Path) -> None:
    keys = [open_key(tmp_path / f"{i}.pem").public for i in range(2)]
    assert keys[0].fingerprint != keys[1].fingerprint and len(keys[0].fingerprint) == 64


@given(st.binary(max_size=64), st.sampled_from(["delta 1", "bundle 1"]), st.integers(0, 511))
def test_a_signature_holds_for_these_bytes_this_purpose_and_this_key(
    path: Path, content: bytes, purpose: str, bit: int
) -> None:
    key, other = load_private_key(path), "frame 1"
    signature = key.sign(purpose, content)
    key.public.verify(purpose, content, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    for wrong in (
        (other, content, signature),
        (purpose, content + b"\0", signature),
        (purpose, content, bytes(flipped)),
        (purpose, content, signature[:-1]),
    ):
        with pytest.raises(BundleError, match="not that of the key"):
            key.public.verify(*wrong)
    with pytest.raises(BundleError, match="not that of the key"):
        PublicKey(bytes(32)).verify(purpose, content, signature)


def test_purpose_and_content_cannot_be_shifted_into_one_another(path: Path) -> None:
    key = load_private_key(path)
    with pytest.raises(BundleError):
        key.public.verify("a", b"bc", key.sign("ab", b"c"))


def foreign(kind: str) -> bytes:
    if kind == "empty":
        return b""
    if kind == "text":
        return b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    key = x25519.X25519PrivateKey.generate() if kind == "x25519" else None
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    made = key or ec.generate_private_key(ec.SECP256R1())
    return made.private_bytes(*encoding, serialization.NoEncryption())


@pytest.mark.parametrize("kind", ["empty", "text", "x25519", "ec"])
def test_other_files_are_no_keys(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(foreign(kind))
    path.chmod(0o600)
    for load in (load_private_key, load_public_key):
        with pytest.raises(BundleError, match="is no key that can be used"):
            load(path)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        load_public_key(tmp_path / "key.pub.pem")


def test_openssl_reads_both_files_as_the_same_key(path: Path, tmp_path: Path) -> None:
    try:
        told = subprocess.run(
            ["openssl", "pkey", "-in", path, "-pubout"], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    if "unsupported" in told.stderr.lower():
        pytest.skip("this openssl knows no Ed25519")
    assert told.stdout == public_path(path).read_text()
