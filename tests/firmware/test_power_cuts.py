"""Power cuts at and inside every flash operation: the old or the new network, never neither."""

from __future__ import annotations

import shutil

import pytest

from tests.tools_needed import missing_tool
from tools.powercut_flash import CUTS, QUICK_CUTS, build_library, run


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("gcc") is None:
        missing_tool("gcc is missing: install Debian's package gcc.")
    return build_library(tmp_path_factory.mktemp("powercut"))


def survives(library, cuts: int) -> None:
    found = run(library, cuts, seed=0)
    assert found["power_cuts"] >= cuts
    wrong = ("bricks", "corrupted_executed", "replays", "violations")
    assert {key: found[key] for key in wrong} == dict.fromkeys(wrong, 0)


def test_a_few_thousand_cuts_leave_the_old_or_the_new_network(library):
    survives(library, QUICK_CUTS)


@pytest.mark.proof
def test_every_prefix_of_every_program_leaves_the_old_or_the_new_network(library):
    survives(library, CUTS)
