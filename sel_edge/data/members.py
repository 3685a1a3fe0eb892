"""One pass over the files of a folder, a .tar, a .tar.gz or a .zip, none of them trusted.

Nothing is written to disk. Links, special files, absolute names and names with ``..`` are refused,
and so is a file or header that would unpack to more than `limits` allows.
"""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from sel_edge.core.errors import DataError
from sel_edge.core.files import sha256_bytes, sha256_file
from sel_edge.data import limits

_DROPPINGS = {"Thumbs.db", "desktop.ini", "__MACOSX"}


@dataclass(frozen=True)
class Member:
    """One file or folder inside a source.

    Attributes:
        parts: the components of its name inside the source.
        is_folder: a folder has no content.
        read: the content; only valid until the next member is asked for.
    """

    parts: tuple[str, ...]
    is_folder: bool
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The components joined by slashes."""
        return "/".join(self.parts)


def iterate_members(path: Path) -> Iterator[Member]:
    """Every file and folder in `path`; hidden files and what desktops leave behind are passed over.

    A folder and a .zip give their members in the order of their names, a .tar as they were written.

    Raises:
        DataError: `path` is missing, of another format, truncated, damaged or hostile.
    """
    for count, member in enumerate(_open(path)):
        if count >= limits.MAX_MEMBERS:
            raise DataError(
                f"{path} holds more than {limits.MAX_MEMBERS:,} files.",
                "Sources with more files are refused.",
                "Divide it into several data sets.",
            )
        passed_over = any(part.startswith(".") or part in _DROPPINGS for part in member.parts)
        if (
            member.parts and not passed_over
        ):  # `tar -C folder .` begins with "./", the folder itself
            yield member


def content_hash(path: Path) -> str:
    """SHA-256 of an archive's bytes, or of the names and contents of a folder's files."""
    if path.is_file():
        return sha256_file(path)
    lines = (
        f"{member.name}\0{sha256_bytes(member.read())}\n"
        for member in iterate_members(path)
        if not member.is_folder
    )
    return sha256_bytes("".join(lines).encode())


def _open(path: Path) -> Iterator[Member]:
    if path.is_dir():
        return _folder_members(path, ())
    with archive_errors(path), path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(path)
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return _tar_members(path, compressed=head.startswith(b"\x1f\x8b"))
    raise DataError(
        f"{path} is not a folder, a .tar, a .tar.gz or a .zip.",
        "A data set is a folder or an archive with train/<class>/ and test/<class>/ in it, "
        "a CIFAR-10 archive, or an .npz file; rows of numbers in a text file are signals:PATH.",
        "Check that the file is what it should be and was completely copied.",
    )


def _folder_members(root: Path, parts: tuple[str, ...]) -> Iterator[Member]:
    with archive_errors(root):
        entries = sorted(root.joinpath(*parts).iterdir())
    for entry in entries:
        name = (*parts, entry.name)
        _check_text(root, "/".join(name))
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield Member(name, True, bytes)
            yield from _folder_members(root, name)
        elif not stat.S_ISREG(mode):
            raise _refused(root, "/".join(name), "is a link or special file")
        else:
            size = entry.stat().st_size
            yield Member(name, False, _reader(root, entry.name, size, entry.read_bytes))


def _zip_members(path: Path) -> Iterator[Member]:
    with archive_errors(path), _open_zip(path) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if not info.filename or info.filename != info.orig_filename:
                raise _refused(path, info.orig_filename, "has no proper name")
            parts = _safe_parts(path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(path, info.filename, "is a link or special file")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _refused(path, info.filename, "is not stored or deflated")

            archive.open(info).close()  # a damaged name is one that differs from its other copy

            def read(info: zipfile.ZipInfo = info) -> bytes:
                return archive.read(info)

            reader = _reader(path, info.filename, info.file_size, read)
            yield Member(parts, info.is_dir(), reader)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except UnicodeDecodeError as error:
        raise _not_text(path, error.object) from error


def _tar_members(path: Path, compressed: bool) -> Iterator[Member]:
    with archive_errors(path), closing(_open_stream(path, compressed)) as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictTarInfo) as archive:
            while (info := archive.next()) is not None:
                # TarFile remembers every member it has seen; a stream never goes back to them.
                vars(archive)["members"].clear()
                if not (info.isreg() or info.isdir()):
                    raise _refused(path, info.name, "is a link or special file")

                def read(info: tarfile.TarInfo = info) -> bytes:
                    file = archive.extractfile(info)
                    return file.read() if file else b""

                parts = _safe_parts(path, info.name)
                yield Member(parts, info.isdir(), _reader(path, info.name, info.size, read))
        while stream.read(2**20):  # to the end, so that gzip compares its checksum
            pass


def _open_stream(path: Path, compressed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


class _StrictTarInfo(tarfile.TarInfo):
    """Headers as tarfile reads them, except that damage is an error and not the end of the archive.

    tarfile takes a damaged or missing header for the end and reads any extended header whole.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end mark
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged or missing header ({error})") from error
        if info.type not in tarfile.REGULAR_TYPES and info.size > limits.MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"header of {info.size:,} bytes")
        return info


def _safe_parts(path: Path, name: str) -> tuple[str, ...]:
    _check_text(path, name)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise _refused(path, name, "has an absolute name or one that points outside")
    return parts


def _check_text(path: Path, name: str) -> None:
    """Refuse a name whose bytes are not UTF-8: Python holds them as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _not_text(path, name) from error


def _not_text(path: Path, name: str | bytes) -> DataError:
    return DataError(
        f"The name {name!a} in {path} is not UTF-8.",
        "File names become class names and parts of records, which are UTF-8.",
        "Rename the file or folder, and build an archive again from the renamed files.",
    )


def _refused(path: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{name!r} in {path} {why}.",
        f"Sources hold plain files of at most {limits.MAX_MEMBER_BYTES:,} bytes under plain names.",
        "Build the folder or archive again from the files themselves, if you trust where it is "
        "from.",
    )


def _reader(path: Path, name: str, size: int, read: Callable[[], bytes]) -> Callable[[], bytes]:
    def checked() -> bytes:
        if size > limits.MAX_MEMBER_BYTES:
            raise _refused(path, name, f"takes {size:,} bytes")
        with archive_errors(path):
            return read()

    return checked


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading a folder or archive into a DataError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "", "Check the path.") from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,  # zipfile: encrypted member
        NotImplementedError,  # zipfile: unknown compression
        ValueError,  # tarfile: impossible number in an extended header; numpy: damaged header
        struct.error,  # zipfile: damaged extra field
        MemoryError,  # numpy: a header that claims an impossible size
    ) as error:
        raise DataError(
            f"{path} cannot be read to its end: {error}.",
            "A complete and undamaged source is expected.",
            "Copy or download it again and compare its checksum.",
        ) from error
