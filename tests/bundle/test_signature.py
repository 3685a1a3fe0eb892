"""Signed bundles: one key vouches for every byte, and a machine takes only keys it was given."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import Bundle, open_bundle, write_bundle
from sel_edge.bundle.keys import PrivateKey, open_key
from sel_edge.bundle.manifest import Manifest
from sel_edge.bundle.signature import require_signed, sign_bundle
from sel_edge.bundle.signature_file import SIGNATURE_FILE
from sel_edge.core import files
from sel_edge.core.errors import BundleError, StorageError
from sel_edge.core.files import sha256_bytes

Members = dict[str, bytes]
FROZEN = Path(__file__).parents[1] / "frozen"
FROZEN_SIGNATURE = "bb646f2ed8e37c31dc7a89d69bb19bb403ca009950c457e3a63271594c1389c5"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    return open_key(folder / "us.pem"), open_key(folder / "others.pem")


@pytest.fixture
def bundle(path: Path, manifest: Manifest, members: Members) -> Bundle:
    return write_bundle(path, manifest, members)


@pytest.fixture(scope="module")
def signed(
    tmp_path_factory: pytest.TempPathFactory,
    manifest: Manifest,
    members: Members,
    keys: tuple[PrivateKey, PrivateKey],
) -> Bundle:
    path = tmp_path_factory.mktemp("signed") / "bundle"
    write_bundle(path, manifest, members)
    return sign_bundle(path, keys[0])


def test_a_signed_bundle_says_who_signed_it_and_keeps_its_hash(
    bundle: Bundle, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    assert bundle.signer is None
    signed = sign_bundle(bundle.path, keys[0])
    assert signed == open_bundle(bundle.path) == replace(bundle, signer=keys[0].public)
    assert signed.manifest.bundle_hash == bundle.manifest.bundle_hash
    assert (bundle.path / SIGNATURE_FILE).stat().st_mode & 0o444 == 0o444
    assert [entry.name for entry in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_only_trusted_keys_are_enough(signed: Bundle, keys: tuple[PrivateKey, PrivateKey]) -> None:
    us, others = (key.public for key in keys)
    assert require_signed(signed, [others, us]) == us
    assert require_signed(signed, {us}) == us
    with pytest.raises(BundleError, match=f"was signed by {us.fingerprint}"):
        require_signed(signed, [others])
    for trusted in ((), (us,)):
        with pytest.raises(BundleError, match="is not signed"):
            require_signed(replace(signed, signer=None), trusted)


def test_a_bundle_is_signed_again_by_another_key(
    bundle: Bundle, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    for key in keys:
        sign_bundle(bundle.path, key)
    assert open_bundle(bundle.path).signer == keys[1].public


@given(data=st.data())
def test_any_flipped_bit_of_the_signature_is_noticed(signed: Bundle, data: st.DataObject) -> None:
    file = signed.path / SIGNATURE_FILE
    content = file.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    file.write_bytes(damaged)
    try:
        with pytest.raises(BundleError):
            open_bundle(signed.path)
    finally:
        file.write_bytes(content)


@given(content=st.binary(max_size=200))
def test_anything_else_is_no_signature(signed: Bundle, content: bytes) -> None:
    file = signed.path / SIGNATURE_FILE
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        with pytest.raises(BundleError):
            open_bundle(signed.path)
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-1], "has not 104 bytes"),
        (lambda content: content + b"\0", "has not 104 bytes"),
        (lambda content: b"SELD" + content[4:], "begins otherwise"),
        (lambda content: content[:6] + b"\1\0" + content[8:], "begins otherwise"),
        (lambda content: content[:4] + struct.pack("<H", 2) + content[6:], "version 2"),
        (lambda content: content[:8] + bytes(32) + content[40:], "not that of the key"),
    ],
)
def test_what_is_wrong_with_a_signature_is_told(bundle: Bundle, keys, change, says: str) -> None:
    sign_bundle(bundle.path, keys[0])
    file = bundle.path / SIGNATURE_FILE
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BundleError, match=says):
        open_bundle(bundle.path)


def test_a_signature_holds_for_its_own_bundle_only(
    bundle: Bundle, tmp_path: Path, members: Members, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    other = replace(bundle.manifest, members={}, accuracy={"test_full_acc": 0.99})
    better = write_bundle(tmp_path / "better", other, members)
    sign_bundle(bundle.path, keys[0])
    shutil.copy(bundle.path / SIGNATURE_FILE, better.path)
    with pytest.raises(BundleError, match="not that of the key"):
        open_bundle(better.path)


def test_a_delta_signature_does_not_vouch_for_a_bundle(
    bundle: Bundle, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    forged = keys[0].sign("delta 1", bundle.manifest.to_json())
    sign_bundle(bundle.path, keys[0])
    file = bundle.path / SIGNATURE_FILE
    file.write_bytes(file.read_bytes()[:40] + forged)
    with pytest.raises(BundleError, match="not that of the key"):
        open_bundle(bundle.path)


def test_a_link_or_folder_is_no_signature(bundle: Bundle, tmp_path: Path, keys) -> None:
    sign_bundle(bundle.path, keys[0])
    file = bundle.path / SIGNATURE_FILE
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="no regular file"):
        open_bundle(bundle.path)
    file.unlink()
    file.mkdir()
    with pytest.raises(BundleError, match="no regular file"):
        open_bundle(bundle.path)


def test_a_damaged_bundle_is_not_signed(bundle: Bundle, keys) -> None:
    weights = bundle.path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="does not match the manifest"):
        sign_bundle(bundle.path, keys[0])
    assert not (bundle.path / SIGNATURE_FILE).exists()


def test_a_crash_or_a_full_disk_while_signing_leaves_a_bundle_that_opens(
    bundle: Bundle, keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_bundle(bundle.path, keys[0])
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", _full)
        with pytest.raises(StorageError):
            sign_bundle(bundle.path, keys[1])
    assert open_bundle(bundle.path).signer == keys[0].public
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _full)
        with pytest.raises(StorageError):
            sign_bundle(bundle.path, keys[1])
    assert open_bundle(bundle.path).signer == keys[0].public


@pytest.mark.parametrize("version", ["bundle-v1", "bundle-v2"])
def test_bundles_of_every_schema_can_be_signed(tmp_path: Path, version: str, keys) -> None:
    path = tmp_path / "bundle"
    shutil.copytree(FROZEN / version, path)
    assert require_signed(sign_bundle(path, keys[0]), [keys[0].public]) == keys[0].public


def test_the_format_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    shutil.copytree(FROZEN / "bundle-v2", path)
    sign_bundle(path, PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32)))))
    content = (path / SIGNATURE_FILE).read_bytes()
    assert content[:8] == b"SELB\1\0\0\0" and sha256_bytes(content) == FROZEN_SIGNATURE


def test_the_bundle_in_the_working_directory_can_be_signed(
    bundle: Bundle, keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.path)
    sign_bundle(Path(), keys[0])
    assert open_bundle(Path()).signer == keys[0].public


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
