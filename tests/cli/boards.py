"""What tests of commands for boards share: a bundle, a host key, boards with cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sel_edge.bundle.bundle import Bundle
from tests.gateway.worlds import tilted
from tests.link.boards import Board

Call = Callable[..., Any]
NAME = b"simboard".hex()
NOWHERE = "socket://127.0.0.1:1"


def key(folder: Path) -> list[object]:
    """The option that names the host's key."""
    return ["--key", folder / "host.key"]


def deploy(call: Call, board: Board, bundle: Bundle, folder: Path) -> None:
    """Give a board its key and the bundle's image."""
    done = call("deploy", board.port, "--bundle", bundle.path, "--provision", *key(folder))
    assert done.code == 0, done.err


def camera(folder: Path, count: int = 300) -> Path:
    """A file of frames that embarrass the network."""
    path = folder / "frames"
    path.write_bytes(tilted(count, seed=9)[0].tobytes())
    return path
