"""Names of sources, archives and bundles that mean no good, and what a daemon makes of them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.manifest import MANIFEST_FILE, WEIGHTS_FILE
from sel_edge.core.errors import SelEdgeError
from sel_edge.serve.sources.named import open_source

NAMES = (
    "inbox:",
    "inbox:/etc/passwd",
    "inbox:/etc/../etc/passwd",
    "inbox:a%00b",
    "inbox:?x=1",
    "video:",
    "video:/dev/zero",
    "video:/etc",
    "video:http://localhost/a.mp4",
    "video:../../../../../../../../dev/null",
    "video:" + 10_000 * "a",
    "camera:../../dev/sda",
    "camera:-1",
    "camera:0?size=99999999x99999999",
    "camera:0?fps=nan",
    "rtsp://",
    "rtsp:///etc/passwd",
    "rtsp://a b/",
    "http://localhost/",
    "file:///etc/passwd",
    "stream:",
    "stream:npz:/etc/passwd",
    "stream:folder:/nowhere/../..",
    "stream:digits?pace=inf",
    "stream:digits?n=-1",
    "$(touch sel-edge-was-here)",
    "\0",
)

GOOD = tuple(f"{split}/{name}/a.png" for split in ("train", "test") for name in ("cats", "dogs"))
"""Files of an archive of pictures."""


def accepted(bundle: Path, folder: Path) -> tuple[list[str], int]:
    """Try all of them.

    Args:
        bundle: a good one, to be spoiled.
        folder: an empty directory.

    Returns:
        The names of those that were not refused with a SelEdgeError, and how many were tried.

    Raises:
        SelEdgeError: even what is good is refused, so that refusals say nothing.
    """
    for good in (_source(_tar(folder / "good.tar.gz"), folder), _bundle(bundle)):
        good()
    ways = {f"source {name[:40]!r}": _source(name, folder) for name in NAMES}
    ways |= {f"archive {name}": _source(spec, folder) for name, spec in _archives(folder)}
    ways |= {f"bundle {name}": _bundle(path) for name, path in _bundles(bundle, folder)}
    return [name for name, way in ways.items() if not _is_refused(way)], len(ways)


def _is_refused(way: Callable[[], None]) -> bool:
    try:
        way()
    except SelEdgeError:
        return True
    return False


def _source(name: str, folder: Path) -> Callable[[], None]:
    """Open a source, and take its first frame."""

    def way() -> None:
        next(iter(open_source(name, folder).arrivals(lambda _: True)))

    return way


def _bundle(path: Path) -> Callable[[], None]:
    def way() -> None:
        open_bundle(path)

    return way


def _archives(folder: Path) -> Iterator[tuple[str, str]]:
    """Archives of pictures with something wrong in them: what it is, and its SPEC."""
    names = {
        "with ..": "../../evil/c.png",
        "with .. inside": "train/../../../evil/c.png",
        "with an absolute path": "/evil/c.png",
        "with backslashes": "..\\..\\evil\\c.png",
    }
    for number, (what, name) in enumerate(names.items()):
        yield f"tar {what}", _tar(folder / f"{number}.tar.gz", tarfile.TarInfo(name))
        path = folder / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member in (*GOOD, name):
                archive.writestr(member, _PICTURE)
        yield f"zip {what}", f"folder:{path}"
    link = tarfile.TarInfo("train/cats/link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    yield "tar with a link", _tar(folder / "link.tar", link)
    np.savez(folder / "objects.npz", images=np.array([{}], dtype=object), labels=np.zeros(1))
    yield "npz with pickled objects", f"npz:{folder / 'objects.npz'}"


def _tar(path: Path, *more: tarfile.TarInfo) -> str:
    """SPEC of an archive that would be good, but for what is in it besides."""
    with tarfile.open(path, "w:gz") as tar:
        for member in (*map(tarfile.TarInfo, GOOD), *more):
            member.size = len(_PICTURE) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(_PICTURE))
    return f"folder:{path}"


def _bundles(good: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Bundles: what was done to them, and where they are."""

    def spoiled(name: str) -> Path:
        path = folder / f"bundle-{name}"
        shutil.copytree(good, path)
        return path

    path = spoiled("link")
    (path / WEIGHTS_FILE).unlink()
    (path / WEIGHTS_FILE).symlink_to(good.resolve() / WEIGHTS_FILE)
    yield "with a link", path
    path = spoiled("more")
    (path / "evil.py").write_text("print()")
    yield "with one more file", path
    path = spoiled("name")
    manifest = json.loads((path / MANIFEST_FILE).read_text())
    manifest["members"]["../../evil"] = next(iter(manifest["members"].values()))
    (path / MANIFEST_FILE).write_text(json.dumps(manifest))
    yield "with .. in a member's name", path
    path = spoiled("byte")
    content = bytearray((path / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (path / WEIGHTS_FILE).write_bytes(content)
    yield "with one wrong bit", path


def _picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


_PICTURE = _picture()
