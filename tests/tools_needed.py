"""Tools that some tests need: their absence skips the test, or fails it where they are promised."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing_tool(message: str) -> NoReturn:
    """Skip the test, or fail it if SEL_EDGE_REQUIRE_TOOLS says that every tool is installed."""
    if os.environ.get("SEL_EDGE_REQUIRE_TOOLS"):
        pytest.fail(message)
    pytest.skip(message)
