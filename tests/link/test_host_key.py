"""The host's key: made once, and its owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sel_edge.core.errors import ConfigError, StorageError
from sel_edge.link.keys import open_host_key


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "host.key"
    key = open_host_key(path)
    assert len(key) == 32 and open_host_key(path) == key == path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_hosts_have_two_keys(tmp_path: Path) -> None:
    assert open_host_key(tmp_path / "a") != open_host_key(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "host.key"
    open_host_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        open_host_key(path)


@pytest.mark.parametrize("size", [0, 31, 33, 5000])
def test_a_file_of_another_length_is_no_key(tmp_path: Path, size: int) -> None:
    path = tmp_path / "host.key"
    path.touch(0o600)
    path.write_bytes(bytes(size))
    with pytest.raises(ConfigError, match="Exactly 32"):
        open_host_key(path)


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        open_host_key(tmp_path)
