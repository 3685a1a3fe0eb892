"""Archives that are truncated, damaged, foreign or hostile are refused and never extracted."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.members import content_hash, iterate_members
from sel_edge.data.sources import load_splits
from tests.tools_needed import missing_tool

Pack = Callable[[Path, dict[str, bytes]], Path]
NOT_UTF8 = "caf\udce9"
"""What Python makes of a name in Latin-1."""
FILES = {f"d/{number}.bin": bytes([number]) * (700 * number) for number in range(1, 6)}


def contents(path: Path) -> dict[str, bytes]:
    return {member.name: member.read() for member in iterate_members(path) if not member.is_folder}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        contents(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip", "a"])
def test_members_are_the_files(name: str, tmp_path: Path, pack: Pack) -> None:
    assert contents(pack(tmp_path / name, FILES)) == FILES


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names_in_every_tar_dialect(form: int, tmp_path: Path) -> None:
    name = "/".join(["folder" * 5] * 4) + "/café.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        info = tarfile.TarInfo(name)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert contents(tmp_path / "a.tar") == {name: b"abc"}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_an_archive_of_the_folder_itself(
    name: str, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    if shutil.which("tar") is None:
        missing_tool("no tar here: install the package tar to run this test")
    for files, folder in ((FILES, "plain"), (image_files, "images")):
        source, target = pack(tmp_path / folder, files), tmp_path / f"{folder}-{name}"
        subprocess.run(["tar", "-C", source, "-caf", target, "."], check=True)
        with tarfile.open(target) as tar:
            assert tar.getnames()[0] == "."
        assert contents(target) == files
    assert len(load_splits(str(target)).train) == 6


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_names_in_a_tar_that_are_not_utf8(form: int, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        tar.addfile(tarfile.TarInfo(f"train/{NOT_UTF8}/0.png"))
    assert f"{ascii(NOT_UTF8)[1:-1]}/0.png' in" in refusal(tmp_path / "a.tar")


def test_names_in_a_zip_that_are_not_utf8(tmp_path: Path, pack: Pack) -> None:
    path = pack(tmp_path / "a.zip", {"train/caf\u00e9/0.png": b"x"})
    path.write_bytes(path.read_bytes().replace("f\u00e9/".encode(), b"f\xe9\xe9/"))
    assert r"b'train/caf\xe9\xe9/0.png'" in refusal(path)


@pytest.mark.parametrize("change", [b"urain", b"trai\0", b".rain", b"\0rain", b"/rain"])
def test_a_damaged_name_in_a_zip_hides_no_file(change: bytes, tmp_path: Path, pack: Pack) -> None:
    path = pack(tmp_path / "a.zip", {"train/0.png": b"x", "train/1.png": b"y"})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"train")
    content[at : at + 5] = change
    path.write_bytes(content)
    refusal(path)


def test_names_in_a_folder_that_are_not_utf8(tmp_path: Path) -> None:
    try:
        (tmp_path / "a" / NOT_UTF8).mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert ascii(NOT_UTF8) in refusal(tmp_path / "a")
    with pytest.raises(DataError, match="not UTF-8"):
        content_hash(tmp_path / "a")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_every_truncation_is_noticed(name: str, tmp_path: Path, pack: Pack) -> None:
    whole = pack(tmp_path / name, FILES).read_bytes()
    end = len(whole) if name != "a.tar" else 512 * 24  # a plain tar ends in padding
    for length in range(0, end, max(1, end // 97)):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:length])
        refusal(cut)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(["a.tar", "a.tar.gz", "a.zip"]), data=st.data())
def test_damage_never_ends_in_another_error(
    name: str, data: st.DataObject, tmp_path: Path, pack: Pack, image_files: dict[str, bytes]
) -> None:
    content = bytearray(pack(tmp_path / name, image_files).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(content)
    try:
        splits = load_splits(str(tmp_path / "damaged"))
    except DataError as error:
        assert error.action
    else:
        assert len(splits.train) == 6


def test_a_damaged_header_is_not_the_end(tmp_path: Path, pack: Pack) -> None:
    content = bytearray(pack(tmp_path / "a.tar", FILES).read_bytes())
    content[1536 + 5] ^= 1  # the second member's name
    (tmp_path / "a.tar").write_bytes(content)
    assert "damaged or missing header" in refusal(tmp_path / "a.tar")


def test_foreign_files(tmp_path: Path) -> None:
    for content in (b"", b"hello", os.urandom(2000), gzip.compress(b"no tar inside" * 100)):
        (tmp_path / "x.tar.gz").write_bytes(content)
        refusal(tmp_path / "x.tar.gz")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.png", "a/../../b.png", "a\\b.png"])
@pytest.mark.parametrize("archive", ["a.tar", "a.zip"])
def test_names_that_point_outside(name: str, archive: str, tmp_path: Path, pack: Pack) -> None:
    assert "points outside" in refusal(pack(tmp_path / archive, {name: b"x"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("train/cat/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    assert "link or special file" in refusal(tmp_path / "a.tar")


def test_links_in_a_zip_and_in_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("train/cat/0.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert "link or special file" in refusal(tmp_path / "a.zip")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "loop").symlink_to(tmp_path)
    assert "link or special file" in refusal(tmp_path / "folder")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_member_that_unpacks_to_too_much(name: str, tmp_path: Path, pack: Pack) -> None:
    bomb = pack(tmp_path / name, {"a/bomb": bytes(limits.MAX_MEMBER_BYTES + 1)})
    assert bomb.stat().st_size < 200_000
    assert f"{limits.MAX_MEMBER_BYTES + 1:,} bytes" in refusal(bomb)


def test_a_tar_header_that_unpacks_to_too_much(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    assert f"header of {2**32:,} bytes" in refusal(path)


def test_too_many_members(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_MEMBERS", 4)
    assert "more than 4 files" in refusal(pack(tmp_path / "a.zip", FILES))


def test_encrypted_and_oddly_compressed_zips(tmp_path: Path, pack: Pack) -> None:
    content = bytearray(pack(tmp_path / "a.zip", {"a/b": b"x"}).read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    assert "encrypted" in refusal(tmp_path / "locked.zip")
    struct.pack_into("<HH", content, central + 8, 0, 99)
    (tmp_path / "odd.zip").write_bytes(content)
    assert "not stored or deflated" in refusal(tmp_path / "odd.zip")


def test_hash_of_a_folder_is_of_names_and_contents(tmp_path: Path, pack: Pack) -> None:
    original = content_hash(pack(tmp_path / "a", FILES))
    assert content_hash(pack(tmp_path / "b", dict(reversed(FILES.items())))) == original
    assert content_hash(pack(tmp_path / "c", FILES | {"d/1.bin": b"other"})) != original
    assert content_hash(pack(tmp_path / "e", FILES | {"d/9.bin": b""})) != original
