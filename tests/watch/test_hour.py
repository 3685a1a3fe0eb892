"""An hour of real images at a door: a tenth of the storage, and nothing novel is missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sel_edge.data.sources import load_splits
from tests.real_data import cifar10_archive
from tools.adapt_bench.subject import NETWORKS
from tools.bench_novelty import export
from tools.bench_watch import FIRST_SEED, PLACES, hour
from tools.watch_videos import NOVEL_SHARE, Story, frames, make_cast, plan

UNSEEN = ["cat", "truck"]


def test_a_story_is_what_it_says():
    cast = make_cast(load_splits(str(cifar10_archive())).test, UNSEEN)
    passes, events = plan(Story(), cast)
    assert [event.group for event in events].count("near") == Story.near
    assert [event.group for event in events].count("far") == Story.far
    assert {event.name for event in events if event.group == "near"} <= set(UNSEEN)
    assert sum(event.end_s - event.start_s for event in events) < NOVEL_SHARE * Story.seconds
    ends = [event.end_s for event in events]
    assert all(end < event.start_s for end, event in zip(ends, events[1:], strict=False))
    assert len(passes) == round(Story.passes_per_minute * Story.seconds / 60) + len(events)
    short = replace(Story(), seconds=4.0)
    assert sum(1 for _ in frames(short, passes)) == 20


@pytest.mark.proof
def test_an_hour_at_a_door(tmp_path: Path):
    archive = str(cifar10_archive())
    bundle = export(NETWORKS / "eight", archive, tmp_path / "bundle")
    cast = make_cast(load_splits(archive).test, UNSEEN)
    found = hour(bundle, cast, replace(PLACES["home"], seed=FIRST_SEED), "home", tmp_path)
    assert found["storage_saved"] >= 0.9
    assert found["storage_saved"] > found["storage_saved_by_motion_only"] + 0.2
    assert found["truth"]["missed"] == 0
    assert found["truth"]["missed_by_motion_only"] == 0
