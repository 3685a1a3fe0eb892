"""A machine that has nothing to say yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.energy.trees import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)
