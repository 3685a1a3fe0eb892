"""`sel-edge keys`: make keys, show them, and let them vouch for bundles."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.keys import (
    PublicKey,
    is_private,
    load_private_key,
    load_public_key,
    open_key,
    public_path,
)
from sel_edge.bundle.signature import require_signed, sign_bundle
from sel_edge.bundle.sshsig import allowed_signer, openssh_fingerprint, openssh_key
from sel_edge.core.errors import ConfigError
from sel_edge.core.key_files import read_public_key

PRINCIPAL = "sel-edge"
"""Who signs releases, for `ssh-keygen -Y verify -I`."""

file_argument = click.argument("file", type=click.Path(path_type=Path))
bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")


@click.group("keys")
def command() -> None:
    """Ed25519 keys: make them, sign bundles, check who signed.

    Devices accept bundles and releases from keys that they were given, and from nobody else.
    """


@command.command("new")
@file_argument
@json_option
def new(file: Path, as_json: bool) -> int:
    """Make a private key in FILE, NAME.pem, and its public key beside it, NAME.pub.pem.

    The private key has no password: only its owner can read the file, and whoever can is trusted
    by every device that trusts the key. Devices are given the public one.
    """
    _require_new(file)
    _show(open_key(file).public, {"private": file, "public": public_path(file)}, as_json)
    return 0


@command.command("show")
@file_argument
@json_option
def show(file: Path, as_json: bool) -> int:
    """Say which key lies in FILE, a private or a public one.

    Shows it as OpenSSH does, too, with the line by which `ssh-keygen -Y verify` checks releases.
    """
    _show(_public_key(file), {}, as_json)
    return 0


@command.command("sign")
@bundle_argument
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Private key, as `sel-edge keys new` makes it.",
)
@json_option
def sign(bundle: Path, key_file: Path, as_json: bool) -> int:
    """Sign the bundle in directory BUNDLE, after verifying every hash of it.

    Writes the file `signature` into it, in place of an earlier one. The bundle's hash stays the
    same.
    """
    key = load_private_key(key_file)
    signed = sign_bundle(bundle, key)
    _say_signer(signed.manifest.bundle_hash, key.public, as_json)
    return 0


@command.command("verify")
@bundle_argument
@click.option(
    "--trust",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Public key whose bundles are welcome, NAME.pub.pem; may be repeated.",
)
@json_option
def verify(bundle: Path, trust: tuple[Path, ...], as_json: bool) -> int:
    """Verify every hash of the bundle in directory BUNDLE, and that a trusted key signed it.

    Ends with exit code 4 if it is damaged, not signed, or signed by another key.
    """
    trusted = [load_public_key(path) for path in trust]
    opened = open_bundle(bundle)
    _say_signer(opened.manifest.bundle_hash, require_signed(opened, trusted), as_json)
    return 0


def _require_new(file: Path) -> None:
    """A key that is overwritten is lost, and with it every device that trusts it alone."""
    if file.suffix != ".pem" or file.name.endswith(".pub.pem"):
        raise ConfigError(
            f"{file} cannot be the file of a private key.",
            "NAME.pem is expected; the public key gets NAME.pub.pem.",
            "Choose another name.",
        )
    if taken := [path for path in (file, public_path(file)) if path.exists()]:
        raise ConfigError(
            f"{taken[0]} already exists.",
            "A key is never overwritten.",
            "Choose another name, or use the key that is there.",
        )


def _public_key(file: Path) -> PublicKey:
    if is_private(read_public_key(file)):
        return load_private_key(file).public
    return load_public_key(file)


def _show(key: PublicKey, places: dict[str, Path], as_json: bool) -> None:
    rows = {
        **{name: str(place) for name, place in places.items()},
        "key": key.fingerprint,
        "openssh": openssh_key(key),
        "openssh_fingerprint": openssh_fingerprint(key),
        "allowed_signers": allowed_signer(key, PRINCIPAL).strip(),
    }
    _print(rows, as_json)


def _say_signer(bundle_hash: str, signer: PublicKey, as_json: bool) -> None:
    _print({"bundle": bundle_hash, "signer": signer.fingerprint}, as_json)


def _print(rows: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name.replace('_', ' '):<{width}} {value}")
