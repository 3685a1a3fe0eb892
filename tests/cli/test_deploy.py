"""`sel-edge deploy`: a board gets its key and its image, or says why not."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from tests.cli.boards import NAME, NOWHERE, Call, deploy, key
from tests.gateway.worlds import make_bundle
from tests.link.boards import Board, talking


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("deploy"))


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path / "flash") as board:
        yield board


def tool(folder: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing on the path but an esptool that writes down how it is called."""
    folder.mkdir()
    program, told = folder / "esptool", folder / "told"
    program.write_text(f'#!/bin/sh\necho "$@" > {told}\nexit {code}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return told


def test_a_new_board_gets_a_key_and_the_image(
    call: Call, board: Board, bundle: Bundle, tmp_path: Path
) -> None:
    image = bundle.mcu_image()
    options = ["--bundle", bundle.path, *key(tmp_path)]
    done = call("deploy", board.port, *options)
    assert done.code == 11
    done.says("(link)", "no key yet", "--provision", "on a cable")
    done = call("deploy", board.port, *options, "--provision")
    assert done.code == 0
    assert f"The board {NAME} runs the model image {image.hash[:12]}" in done.out
    assert (tmp_path / "host.key").stat().st_mode & 0o777 == 0o600
    with talking(board.port) as client:
        status = client.status()
        assert status.image.hex() == image.hash and status.time_ms > 0
    again = call("deploy", board.port, *options, "--json")
    assert json.loads(again.out) == {
        "device": NAME,
        "image": image.hash,
        "bytes": len(image.content),
    }


def test_another_host_cannot_install_anything(
    call: Call, board: Board, bundle: Bundle, tmp_path: Path
) -> None:
    deploy(call, board, bundle, tmp_path)
    other = make_bundle(tmp_path, "--class-room", 5)
    options = ["--bundle", other.path, "--key", tmp_path / "other.key", "--provision"]
    done = call("deploy", board.port, *options)
    assert done.code == 11
    done.says("wrong MAC", "the key file of the host that set up the board")
    with talking(board.port) as client:
        assert client.status().image.hex() == bundle.mcu_image().hash


def test_the_image_that_is_there_is_not_installed_again(
    call: Call, board: Board, bundle: Bundle, tmp_path: Path
) -> None:
    deploy(call, board, bundle, tmp_path)
    with talking(board.port) as client:
        nonce = client.status().nonce
    deploy(call, board, bundle, tmp_path)
    with talking(board.port) as client:
        assert client.status().nonce == nonce  # nothing was committed


def test_a_bundle_without_an_image_is_refused(call: Call, workshop: Path, tmp_path: Path) -> None:
    done = call("deploy", NOWHERE, "--bundle", workshop / "bundle", *key(tmp_path))
    assert done.code == 4
    done.says("(bundle)", "no model image", "--target mcu")


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (NOWHERE, "refused"),
        ("/dev/ttyNone", "/dev/ttyNone"),
        ("socket://", "socket://"),
        ("socket://127.0.0.1:port", "cannot be opened"),
        ("socket://127.0.0.1:99999", "cannot be opened"),
    ],
)
def test_a_port_that_cannot_be_opened_is_named(
    call: Call, bundle: Bundle, tmp_path: Path, port: str, words: str
) -> None:
    done = call("deploy", port, "--bundle", bundle.path, *key(tmp_path))
    assert done.code == 11
    done.says("(link)", words, "socket://HOST:PORT", "plugged in")


def test_a_key_that_others_can_read_is_not_used(
    call: Call, board: Board, bundle: Bundle, tmp_path: Path
) -> None:
    deploy(call, board, bundle, tmp_path)
    (tmp_path / "host.key").chmod(0o644)
    done = call("deploy", board.port, "--bundle", bundle.path, *key(tmp_path))
    assert done.code == 6
    done.says("(configuration)", "chmod 600")


def test_firmware_is_written_by_esptool_first(
    call: Call, board: Board, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = tmp_path / "merged.bin"
    options = ["--bundle", bundle.path, *key(tmp_path), "--provision", "--flash", firmware]
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    done = call("deploy", board.port, *options)
    assert done.code == 7
    done.says("esptool is not installed", "pip install esptool")
    told = tool(tmp_path / "good", 0, monkeypatch)
    done = call("deploy", board.port, *options)
    assert done.code == 6
    done.says(f"There is no firmware {firmware}", "idf.py merge-bin")
    firmware.write_bytes(b"firmware")
    assert call("deploy", board.port, *options).code == 0
    assert told.read_text().split() == ["--port", board.port, "write_flash", "0x0", str(firmware)]
    tool(tmp_path / "bad", 2, monkeypatch)
    done = call("deploy", board.port, *options)
    assert done.code == 11
    done.says("esptool could not write", "BOOT")
