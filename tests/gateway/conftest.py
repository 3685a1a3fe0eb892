"""One bundle for all tests of gateways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sel_edge.bundle.bundle import Bundle
from tests.gateway.worlds import make_bundle, set_up
from tests.link.boards import Board


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, cache: None) -> Bundle:
    """The gratings, for a microcontroller."""
    return make_bundle(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def board(tmp_path: Path, bundle: Bundle) -> Iterator[Board]:
    """A board with a key and the image of the bundle."""
    with Board(tmp_path / "flash") as board:
        set_up(board.port, bundle)
        yield board
