"""Names of tests."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import COLLECTED


def test_no_two_tests_share_a_name(pytestconfig: pytest.Config) -> None:
    """pytest-xdist would run one of them, and say nothing."""
    count = Counter(pytestconfig.stash[COLLECTED])
    assert [name for name, n in count.items() if n > 1] == []
