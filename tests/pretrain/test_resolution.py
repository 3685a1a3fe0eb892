"""Images grow during a run, and are whole in time."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.resolution import resized, side_at


@given(
    side=st.integers(1, 300),
    first=st.floats(0.01, 1),
    whole_from=st.floats(0, 1),
    done=st.floats(0, 1),
    later=st.floats(0, 1),
)
def test_sides_only_grow_and_end_whole(
    side: int, first: float, whole_from: float, done: float, later: float
):
    done, later = sorted((done, later))
    now, then = (side_at(side, first, whole_from, moment) for moment in (done, later))
    assert 1 <= now <= then <= side
    assert side_at(side, first, whole_from, whole_from) == side
    assert now == side or now % 4 == 0


def test_it_begins_with_the_share_that_was_asked_for():
    assert [side_at(32, 0.5, 0.5, done) for done in (0, 0.25, 0.5, 1)] == [16, 24, 32, 32]


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
