"""`sel-edge keys`, and who `sel-edge inspect` says has signed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sel_edge.bundle.keys import load_private_key, load_public_key
from sel_edge.bundle.sshsig import allowed_signer, openssh_fingerprint, openssh_key

FROZEN = Path(__file__).parents[1] / "frozen"


@pytest.fixture
def key(call, tmp_path: Path) -> Path:
    assert call("keys", "new", tmp_path / "us.pem").code == 0
    return tmp_path / "us.pem"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copytree(FROZEN / "bundle-v2", tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_new_key_is_shown_and_only_its_owner_can_read_it(call, tmp_path):
    result = call("keys", "new", tmp_path / "deep" / "us.pem", "--json")
    told = json.loads(result.out)
    public = load_public_key(Path(told["public"]))
    assert told == {
        "private": str(tmp_path / "deep" / "us.pem"),
        "public": str(tmp_path / "deep" / "us.pub.pem"),
        "key": public.fingerprint,
        "openssh": openssh_key(public),
        "openssh_fingerprint": openssh_fingerprint(public),
        "allowed_signers": allowed_signer(public, "sel-edge").strip(),
    }
    assert load_private_key(Path(told["private"])).public == public
    assert Path(told["private"]).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("taken", ["us.pem", "us.pub.pem"])
def test_a_key_is_never_overwritten(call, tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    result = call("keys", "new", tmp_path / "us.pem")
    assert result.code == 6
    result.says("already exists", "never overwritten")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(taken, "precious")]


@pytest.mark.parametrize("name", ["us", "us.key", "us.pub.pem"])
def test_a_name_that_is_no_private_keys_is_refused(call, tmp_path, name):
    result = call("keys", "new", tmp_path / name)
    assert result.code == 6 and not list(tmp_path.iterdir())
    result.says("NAME.pem is expected")


def test_both_files_show_the_same_key(call, key):
    private, public = (call("keys", "show", key.with_suffix(end)) for end in (".pem", ".pub.pem"))
    assert private.code == 0 and private.out == public.out
    for word in ("ssh-ed25519 ", "SHA256:", load_private_key(key).public.fingerprint):
        assert word in private.out
    assert "PRIVATE" not in private.out


def test_a_file_that_is_no_key_is_told(call, tmp_path):
    (tmp_path / "text.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n")
    (tmp_path / "text.pem").chmod(0o600)
    (tmp_path / "note.pem").write_text("hello")
    for name in ("text.pem", "note.pem"):
        result = call("keys", "show", tmp_path / name)
        assert result.code == 4
        result.says("is no key that can be used")
    assert call("keys", "show", tmp_path / "missing.pem").code == 8


def test_what_a_key_has_signed_is_verified_and_inspected(call, bundle, key):
    before = call("inspect", bundle)
    assert "signed by" in before.out and "nobody" in before.out
    signed = call("keys", "sign", bundle, "--key", key, "--json")
    fingerprint = load_private_key(key).public.fingerprint
    assert json.loads(signed.out)["signer"] == fingerprint
    verified = call("keys", "verify", bundle, "--trust", key.with_suffix(".pub.pem"), "--json")
    assert verified.code == 0 and verified.out == signed.out
    after = call("inspect", bundle)
    assert f"key {fingerprint}" in after.out
    assert [line for line in before.out.splitlines() if "signed by" not in line] == [
        line for line in after.out.splitlines() if "signed by" not in line
    ]


def test_other_signers_and_none_end_in_exit_code_4(call, bundle, key, tmp_path):
    call("keys", "new", tmp_path / "others.pem")
    unsigned = call("keys", "verify", bundle, "--trust", key.with_suffix(".pub.pem"))
    assert unsigned.code == 4
    unsigned.says("is not signed", "sel-edge keys sign")
    call("keys", "sign", bundle, "--key", key)
    trusted = ["--trust", tmp_path / "others.pub.pem"]
    foreign = call("keys", "verify", bundle, *trusted)
    assert foreign.code == 4
    foreign.says("was signed by", load_private_key(key).public.fingerprint)
    both = call("keys", "verify", bundle, *trusted, "--trust", key.with_suffix(".pub.pem"))
    assert both.code == 0


def test_a_public_key_signs_nothing(call, bundle, key):
    key.with_suffix(".pub.pem").chmod(0o600)
    result = call("keys", "sign", bundle, "--key", key.with_suffix(".pub.pem"))
    assert result.code == 4 and not (bundle / "signature").exists()
    assert call("keys", "verify", bundle).code == 2


def test_a_key_of_the_other_kind_is_named_as_such(call, bundle, key):
    public = key.with_suffix(".pub.pem")
    call("keys", "sign", bundle, "--key", key)
    private = call("keys", "verify", bundle, "--trust", key)
    assert private.code == 4
    private.says("it is a private one", f"Name its public key, {public.name}")
    public.chmod(0o600)
    told = call("keys", "sign", bundle, "--key", public)
    told.says("it is a public one", "Name the private key")
    for said in (private, told):
        assert "remove" not in said.err and "PEM file. See" not in said.err


def test_a_key_with_a_password_is_named_as_such(call, bundle, key):
    opened = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"hunter2")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    key.write_bytes(opened.private_bytes(*form, locked))
    for words in (("keys", "show", key), ("keys", "sign", bundle, "--key", key)):
        said = call(*words)
        assert said.code == 4
        said.says("it has a password", "sel-edge keys new")


def test_one_trusted_key_is_not_counted(call, bundle, key, tmp_path):
    trusted = ["--trust", key.with_suffix(".pub.pem")]
    call("keys", "verify", bundle, *trusted).says("A signature by the trusted key is expected.")
    call("keys", "new", tmp_path / "b.pem")
    two = call("keys", "verify", bundle, *trusted, "--trust", tmp_path / "b.pub.pem")
    two.says("one of the 2 trusted keys")
