"""Frames at a share of their size."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.resolution import resized, side_of


@given(side=st.integers(1, 300), shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_a_larger_share_is_no_smaller_side(side: int, shares: tuple[float, float]):
    less, more = (side_of(side, share) for share in sorted(shares))
    assert 1 <= less <= more <= side
    assert less == side or less % 4 == 0
    assert side_of(side, 1.0) == side


def test_sides_are_in_steps():
    assert [side_of(32, share) for share in (0.5, 0.75, 0.7, 1)] == [16, 24, 24, 32]


def test_a_plane_stays_a_plane():
    across = torch.arange(16.0).expand(1, 1, 16, 16)
    small = resized(across, (8, 8))
    assert small.shape == (1, 1, 8, 8)
    torch.testing.assert_close(small[0, 0, :, 2:6], 0.5 + 2 * torch.arange(2.0, 6).expand(8, 4))
    assert resized(across, (16, 16)) is across


def test_signals_are_resized_along_time():
    ramp = torch.arange(20.0).expand(2, 3, 20)
    torch.testing.assert_close(
        resized(ramp, (10,)), (0.5 + 2 * torch.arange(10.0)).expand(2, 3, 10)
    )
