"""Real data that some tests need: their absence skips the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def cifar10_archive() -> Path:
    """The JPEG archive of CIFAR-10."""
    return real_file("cifar10-jpeg.tar.gz")


def real_file(name: str) -> Path:
    """A file of the folder with the real data sets."""
    default = Path(__file__).parents[1] / "../shared/data"
    found = Path(os.environ.get("SEL_EDGE_TEST_DATA", default)) / name
    if not found.is_file():
        pytest.skip(f"real data not found: set SEL_EDGE_TEST_DATA (looked for {found})")
    return found
