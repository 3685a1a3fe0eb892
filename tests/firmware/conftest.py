"""Boards with an image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.firmware.board import Board
from tests.firmware.devices import SMALL, WIDE


@pytest.fixture
def board() -> Iterator[Board]:
    with Board() as one:
        one.install(SMALL)
        yield one


@pytest.fixture
def wide() -> Iterator[Board]:
    with Board() as one:
        one.install(WIDE)
        yield one
