"""Targets: a board's port, a host, or nothing that ssh should see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.deploy.target import destination, host_name, is_host, is_port, read_hosts

HOSTS = ["pi@10.0.0.7", "pi", "pi@raspberrypi.local", "ssh://pi@host:2222", "a_b-c.d", "pi@[::1]"]


@pytest.mark.parametrize("target", HOSTS)
def test_hosts(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert destination(target) == target
    assert not is_port(target) and is_host(target)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("pi@10.0.0.7", "10.0.0.7"),
        ("porch", "porch"),
        ("ssh://pi@host:2222", "host"),
        ("ssh://pi@[fe80::1]:22", "[fe80::1]"),
        ("ssh://[::1]", "[::1]"),
        ("pi@fe80::1", "[fe80::1]"),
    ],
)
def test_the_host_of_a_destination_can_stand_in_a_url(target: str, name: str) -> None:
    assert host_name(destination(target)) == name


@pytest.mark.parametrize(
    "target",
    ["/dev/ttyUSB0", "/dev/pts/3", "socket://127.0.0.1:1", "rfc2217://x:1", "COM3", "./port"],
)
def test_ports(target: str) -> None:
    assert is_port(target) and not is_host(target)


@pytest.mark.parametrize(
    "target",
    [
        *(
            "-oProxyCommand=evil",
            "pi@-oX",
            "-oX@host",
            "a b",
            "a;b",
            "$(x)",
            "a\nb",
            "",
            "@",
            "pi@",
            "ssh://",
        ),
        *("pi@host/path", "x" * 400, "pi@host;ls", "`x`", "é@x"),
    ],
)
def test_what_ssh_must_not_see_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="is no host"):
        destination(target)


@given(st.text(max_size=30))
def test_whatever_passes_is_one_harmless_word(target: str) -> None:
    try:
        word = destination(target)
    except ConfigError:
        return
    assert word and not word.startswith("-") and not set(word) & set(" \t\n;|&$`'\"\\<>()*?!#")


def test_a_directory_that_is_there_is_no_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    assert not is_host("state") and not is_host("runs/state")


def test_a_file_of_hosts(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# kitchen\npi@one\n\npi@two  # the other\n")
    assert read_hosts(path) == ["pi@one", "pi@two"]
    for text in ("", "# none\n", "pi@one\npi@one\n", "-oX\n"):
        path.write_text(text)
        with pytest.raises(ConfigError):
            read_hosts(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError):
        read_hosts(path)
    with pytest.raises(ConfigError):
        read_hosts(tmp_path / "nowhere")
