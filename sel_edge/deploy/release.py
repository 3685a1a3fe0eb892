"""Making a release: what lies in it, its name, who vouches for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.keys import PrivateKey
from sel_edge.bundle.manifest import MANIFEST_FILE
from sel_edge.bundle.signature_file import SIGNATURE_FILE, pack_signature
from sel_edge.bundle.sshsig import RELEASE_NAMESPACE, sshsig
from sel_edge.core.files import canonical_json, sha256_bytes, sha256_file
from sel_edge.deploy.program import agent_program
from sel_edge.deploy.unit import Service
from sel_edge.deploy.wheels import Wheelhouse

SCHEMA = 1


@dataclass(frozen=True)
class Health:
    """The health window.

    Attributes:
        ready_s: longest time until the service is ready, 1 to 3600 s.
        watch_s: time that it is watched afterwards, 1 to 3600 s.
    """

    ready_s: int = 180
    watch_s: int = 20


@dataclass(frozen=True)
class Release:
    """What is sent to a board.

    Attributes:
        content: release.json.
        signature: of it, armored.
        files: path -> where the file is, or its bytes.
        sizes: path -> bytes.
        unit: text of the service's unit, which is one of the files.
    """

    content: bytes
    signature: str
    files: Mapping[str, Path | bytes]
    sizes: Mapping[str, int]
    unit: str

    @property
    def hash(self) -> str:
        """Its name."""
        return sha256_bytes(self.content)


def make_release(
    bundle: Bundle,
    key: PrivateKey,
    service: Service,
    wheelhouse: Wheelhouse,
    cores: int,
    *,
    budget: Path | None = None,
    with_index: bool = False,
    system_packages: bool = False,
    health: Health | None = None,
) -> Release:
    """Put a release together; from equal parts comes the same one.

    Args:
        bundle: what it runs; signed with `key` if it is not signed.
        key: who vouches for the release.
        service: how it runs.
        wheelhouse: what it is installed from.
        cores: of the board.
        budget: what learning may cost.
        with_index: pip may ask the board's index.
        system_packages: the environment sees the board's own packages.
        health: the health window.

    Raises:
        ConfigError: an option cannot stand in a unit.
    """
    window = health or Health()
    files = _bundle_files(bundle, key)
    signer = (bundle.signer or key.public).fingerprint
    files |= {f"wheels/{path.name}": path for path in wheelhouse.wheels}
    files["agent.pyz"] = agent_program()
    unit = service.unit(cores, signer, budget is not None)
    files["sel-edge.service"] = unit.encode()
    if budget is not None:
        files["budget.toml"] = budget
    members = {name: _member(content) for name, content in files.items()}
    described = {
        "schema": SCHEMA,
        "version": wheelhouse.version,
        "bundle": bundle.manifest.bundle_hash,
        "files": {name: {"bytes": size, "sha256": h} for name, (size, h) in members.items()},
        "requirements": [wheelhouse.requirement],
        "index": with_index,
        "system_packages": system_packages,
        "port": service.port,
        "token": service.needs_token,
        "ready_s": window.ready_s,
        "watch_s": window.watch_s,
    }
    content = canonical_json(described)
    signature = sshsig(key, RELEASE_NAMESPACE, content).decode()
    sizes = {name: size for name, (size, _) in members.items()}
    return Release(content, signature, files, sizes, unit)


def _bundle_files(bundle: Bundle, key: PrivateKey) -> dict[str, Path | bytes]:
    names = (MANIFEST_FILE, *bundle.manifest.members)
    files: dict[str, Path | bytes] = {f"bundle/{name}": bundle.path / name for name in names}
    signature = bundle.path / SIGNATURE_FILE
    signed = pack_signature(bundle.manifest, key) if bundle.signer is None else signature
    return {**files, f"bundle/{SIGNATURE_FILE}": signed}


def _member(content: Path | bytes) -> tuple[int, str]:
    if isinstance(content, bytes):
        return len(content), sha256_bytes(content)
    return content.stat().st_size, sha256_file(content)
