"""release.json: read strictly, because it comes from anywhere."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .place import HASH, sha256_file
from .wire import Refusal

LARGEST_RELEASE = 1024 * 1024
MOST_FILES, MOST_BYTES = 500, 4 * 1024**3
FILE, SIGNATURE = "release.json", "release.json.sig"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}"
_PATH = re.compile(rf"sel-edge\.service|agent\.pyz|budget\.toml|(bundle|wheels)/{_NAME}")
_NEEDED = ("bundle/manifest.json", "sel-edge.service", "agent.pyz")
_TYPES = {
    "schema": int,
    "version": str,
    "bundle": str,
    "files": dict,
    "requirements": list,
    "index": bool,
    "system_packages": bool,
    "port": int,
    "token": bool,
    "ready_s": int,
    "watch_s": int,
}
_RANGES = {"schema": (1, 1), "port": (1, 65535), "ready_s": (1, 3600), "watch_s": (1, 3600)}
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\],=<>!~ -]{0,199}")


@dataclass(frozen=True)
class Member:
    """A file of a release."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Release:
    """What release.json says; docs/SPEC.md has the keys."""

    hash: str
    version: str
    bundle: str
    files: dict[str, Member]
    requirements: list[str]
    index: bool
    system_packages: bool
    port: int
    token: bool
    ready_s: int
    watch_s: int


def parse_release(content: bytes) -> Release:
    """Read a release.json.

    Raises:
        Refusal: anything in it is not as docs/SPEC.md says.
    """
    if len(content) > LARGEST_RELEASE:
        raise wrong(f"its release.json has {len(content)} bytes")
    try:
        value = json.loads(content)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        is_canonical = again.encode() == content
    except (ValueError, RecursionError):
        is_canonical = False
    if not is_canonical or not isinstance(value, dict):
        raise wrong("its release.json is no canonical JSON object")
    _check_types(value)
    for name, (low, high) in _RANGES.items():
        if not low <= value[name] <= high:
            raise wrong(f"its {name} is {value[name]}")
    if not HASH.fullmatch(value["bundle"]):
        raise wrong("its bundle has no hash")
    for text in value["requirements"]:
        if not isinstance(text, str) or not _REQUIREMENT.fullmatch(text):
            raise wrong(f"it has the requirement {str(text)[:80]!r}")
    files = {path: _member(path, entry) for path, entry in value.pop("files").items()}
    _check_files(files)
    value.pop("schema")
    return Release(hash=hashlib.sha256(content).hexdigest(), files=files, **value)


def load_release(folder: Path) -> Release:
    """The release in a folder.

    Raises:
        Refusal: there is none that can be read, or it is not the one that names the folder.
    """
    try:
        release = parse_release((folder / FILE).read_bytes())
    except OSError as error:
        raise wrong(f"its release.json cannot be read ({error.strerror})") from None
    if release.hash != folder.name:
        raise wrong("its release.json is another one's")
    return release


def check_files(release: Release, folder: Path) -> None:
    """Read every file of a release and compare its hash.

    Raises:
        Refusal: a file is missing, is another one, or no regular file.
    """
    for name, member in release.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != member.bytes:
            raise wrong(f"its file {name} is missing or incomplete")
        if sha256_file(path) != member.sha256:
            raise wrong(f"its file {name} is damaged")
    for part in ("bundle", "wheels"):
        for path in (folder / part).glob("*"):
            if f"{part}/{path.name}" not in release.files:
                raise wrong(f"it holds {part}/{path.name[:80]}, which it does not list")


def wrong(what: str) -> Refusal:
    """A release that cannot be run."""
    return Refusal(
        "release",
        f"The release cannot be used: {what}.",
        "A release exactly as `sel-edge deploy` makes it is expected.",
        "Deploy again with the sel-edge that this board knows.",
    )


def _check_types(value: dict[str, Any]) -> None:
    if value.keys() != _TYPES.keys():
        raise wrong("its release.json has other keys")
    for name, kind in _TYPES.items():
        if type(value[name]) is not kind:
            raise wrong(f"its {name} is of another type")


def _member(path: str, entry: Any) -> Member:
    if not _PATH.fullmatch(path):
        raise wrong(f"it has a file {path[:80]!r}")
    if not isinstance(entry, dict) or entry.keys() != {"bytes", "sha256"}:
        raise wrong(f"its file {path} has no bytes and sha256")
    size, digest = entry["bytes"], entry["sha256"]
    if type(size) is not int or not 0 <= size <= MOST_BYTES:
        raise wrong(f"its file {path} has an impossible size")
    if not isinstance(digest, str) or not HASH.fullmatch(digest):
        raise wrong(f"its file {path} has no hash")
    return Member(size, digest)


def _check_files(files: dict[str, Member]) -> None:
    total = sum(member.bytes for member in files.values())
    if len(files) > MOST_FILES or total > MOST_BYTES:
        raise wrong(f"it has {len(files)} files of {total} bytes")
    for name in _NEEDED:
        if name not in files:
            raise wrong(f"it has no {name}")
    if sum(fnmatchcase(name, "wheels/pip-*.whl") for name in files) != 1:
        raise wrong("it does not have one wheel of pip")
