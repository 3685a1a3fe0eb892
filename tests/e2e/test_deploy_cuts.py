"""Deployments that are cut off at every step, in every way, leave a Pi that works.

All hundred are made by `python -m tools.deploy_cuts`; here is one round of them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.deploy.cuts import STEPS, WAYS, make_all, plan_cuts, summary
from tests.deploy.workstation import ssh_for

ROUND = len(WAYS) * (len(STEPS) - 1)


@pytest.mark.proof
def test_no_cut_leaves_a_pi_without_a_working_release(tmp_path, monkeypatch):
    monkeypatch.setenv("SEL_EDGE_SSH", ssh_for(tmp_path))
    found = make_all(plan_cuts(ROUND, seed=1), tmp_path, jobs=3, told=print)
    assert not summary(found)["broken"]
    assert len(found) == ROUND
    # What was aimed at is met, but for a step that ended in the meantime.
    assert {one.hit for one in found} >= set(STEPS[:-2])
    assert {one.ran for one in found} >= {"old", "new"}


def test_cuts_are_spread_evenly():
    cuts = plan_cuts(5 * ROUND, seed=0)
    assert set(Counter((cut.way, cut.step) for cut in cuts).values()) == {5}
    firsts = Counter((cut.way, cut.step) for cut in cuts if cut.is_first)
    assert len(firsts) == ROUND and set(firsts.values()) == {1}
    assert all(0 <= cut.share <= 1 for cut in cuts)
