"""Receiving a release: only what is missing, from the byte on where it broke off."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

from .place import HASH, Place, sha256_file, write_atomic
from .release import (
    FILE,
    SIGNATURE,
    Member,
    Release,
    check_files,
    load_release,
    parse_release,
    wrong,
)
from .trust import RELEASE, verify
from .wire import LONGEST_PIECE, Refusal, field, malformed

UNPACKED = 4
"""Bytes that a byte of a wheel becomes in an environment, with Python's byte code; measured 3.1."""
MARGIN_BYTES = 64 * 1024 * 1024


def begin(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Look at a release and say what of it is missing.

    Raises:
        Refusal: nobody vouches for it, it is malformed, or it does not fit on the disk.
    """
    text, signature = field(request, "release", str), field(request, "signature", str)
    content = text.encode()
    verify(place, RELEASE, content, signature)
    release = parse_release(content)
    folder = place.incoming / release.hash
    if _is_installed(place, release):
        there = place.releases / release.hash / SIGNATURE
        if not there.is_file() or there.read_bytes() != signature.encode():
            write_atomic(there, signature.encode())
        return {"hash": release.hash, "ready": True, "missing": {}}
    for part in ("bundle", "wheels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _link_known(place, release, folder)
    _require_room(place, release, folder)
    write_atomic(folder / SIGNATURE, signature.encode())
    write_atomic(folder / FILE, content)
    return {"hash": release.hash, "ready": False, "missing": _missing(release, folder)}


def claim(folder: Path) -> int:
    """Have no other agent remove a folder while the descriptor returned is open."""
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def put(place: Place, request: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Append a piece to a file. What another workstation, which sends the same release, has
    brought of it meanwhile is compared.

    Raises:
        Refusal: it is not the next piece of a file that is missing, or the file is another one.
    """
    name, path, offset = (
        field(request, "hash", str),
        field(request, "path", str),
        field(request, "offset", int),
    )
    if not HASH.fullmatch(name):
        raise malformed("A file is for no release.")
    places = (place.incoming / name, place.releases / name)
    folder = next((path for path in places if path.is_dir()), None)
    if folder is None:
        raise Refusal(
            "release",
            "What was received of this release is not there any more.",
            "It is kept as long as the conversation in which it was begun.",
            "Deploy again.",
        )
    member = load_release(folder).files.get(path)
    if member is None:
        raise malformed("A file is none of the release.")
    target = folder / path
    has = target.stat().st_size if target.is_file() else 0
    known = _bytes_at(target, offset, len(content)) if 0 <= offset < has else b""
    is_next = 0 <= offset <= has and content.startswith(known)
    if not is_next or offset + len(content) > member.bytes:
        raise malformed(f"{len(content)} bytes at {offset} are not the next of {has}.")
    _append(target, content[len(known) :])
    if offset + len(content) == member.bytes and sha256_file(target) != member.sha256:
        target.unlink()
        raise wrong(f"its file {path} arrived with another hash")
    return {"offset": offset + len(content)}


def piece_size(request: dict[str, Any]) -> int:
    """How many raw bytes follow a `put`.

    Raises:
        Refusal: too many, so that where the next request begins is not known.
    """
    size: int = field(request, "bytes", int)
    if not 0 <= size <= LONGEST_PIECE:
        raise malformed(f"A piece has {size} bytes.")
    return size


def _is_installed(place: Place, release: Release) -> bool:
    """Whether a release is there as a whole; what is not is received anew where it is broken."""
    there = place.releases / release.hash
    if not there.is_dir():
        return False
    damage = _damage(place, release)
    if not damage:
        return True
    if place.linked("current") == release.hash:
        raise Refusal(
            "release",
            f"The release that runs is damaged: {damage}",
            "It is not taken away while it is the one that runs.",
            "Run `sel-edge undeploy`, which keeps what was learned; then deploy again.",
        )
    (there / "ready").unlink(missing_ok=True)
    shutil.rmtree(there / "venv", ignore_errors=True)
    there.rename(place.incoming / release.hash)
    return False


def _damage(place: Place, release: Release) -> str:
    """Why a release that is there cannot be run as it is, as a full sentence; or ""."""
    if not place.is_ready(release.hash):
        return "It was not installed to the end."
    try:
        check_files(load_release(place.releases / release.hash), place.releases / release.hash)
    except Refusal as refusal:
        return refusal.found
    return ""


def _bytes_at(target: Path, offset: int, size: int) -> bytes:
    with target.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _append(target: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_claimed(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _missing(release: Release, folder: Path) -> dict[str, int]:
    missing = {}
    for name, member in release.files.items():
        path = folder / name
        has = path.stat().st_size if path.is_file() else 0
        if has > member.bytes or (has == member.bytes and sha256_file(path) != member.sha256):
            path.unlink()
            has = 0
        if has < member.bytes or not path.is_file():
            missing[name] = has
    return missing


def room_needed(sizes: dict[str, int]) -> int:
    """Bytes that a release takes on the disk, with its environment and a margin.

    Args:
        sizes: path -> bytes of its files.
    """
    wheels = sum(size for name, size in sizes.items() if name.startswith("wheels/"))
    return sum(sizes.values()) + UNPACKED * wheels + MARGIN_BYTES


def _require_room(place: Place, release: Release, folder: Path) -> None:
    has = sum(path.stat().st_size for path in folder.glob("*/*"))
    needed = room_needed({name: m.bytes for name, m in release.files.items()}) - has
    free = shutil.disk_usage(place.root).free
    if free < needed:
        raise Refusal(
            "storage",
            f"The board has {free // 10**6:,} MB free, and the release needs {needed // 10**6:,}.",
            "",
            "Free some space on the board, then deploy again.",
        )


def _link_known(place: Place, release: Release, folder: Path) -> None:
    """Take files from what is there already; what other broken conversations left is removed."""
    others = [path for path in place.incoming.iterdir() if path != folder]
    for name, member in release.files.items():
        if (folder / name).exists():
            continue
        for other in (*place.releases.iterdir(), *others):
            if _is_same(other / name, member):
                os.link(other / name, folder / name)
                break
    for other in others:
        if _is_claimed(other):
            continue
        shutil.rmtree(other, ignore_errors=True)


def _is_same(path: Path, member: Member) -> bool:
    is_file = path.is_file() and not path.is_symlink()
    return is_file and path.stat().st_size == member.bytes and sha256_file(path) == member.sha256
