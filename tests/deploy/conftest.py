"""A Pi for the tests in this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.pi import Pi


@pytest.fixture(scope="module")
def shared_pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """One for all tests of a file, which leave nothing running."""
    with Pi(tmp_path_factory.mktemp("pi") / "pi") as pi:
        yield pi


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Pi]:
    """A fresh one."""
    with Pi(tmp_path / "pi") as pi:
        yield pi
