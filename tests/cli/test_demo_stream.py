"""The demo never shows what it scores on, and never scores on what it trained on."""

import numpy as np
import pytest

from sel_edge.cli.demo_stream import SHIFT, plan_stream
from sel_edge.cli.export_bundle import CALIBRATION
from sel_edge.core.errors import DataError
from sel_edge.data.sources import load_splits
from sel_edge.data.stream import open_stream

DATA = "digits"


def images(spec: str) -> set[bytes]:
    return {image.tobytes() for batch in open_stream(spec).batches(64) for image in batch.frames}


@pytest.fixture(scope="module")
def plan():
    return plan_stream(DATA, load_splits(DATA))


def test_segments_and_probes_are_disjoint(plan):
    unchanged, shifted, new = (images(part) for part in plan.source.split("+"))
    old, shifted_probe = images(plan.probes["old"]), images(plan.probes["shifted"])
    new_probe = images(plan.probes["new"])
    assert not unchanged & old and not shifted & shifted_probe and not new & new_probe
    trained = {image.tobytes() for image in load_splits(plan.known).train.frames}
    for seen in (unchanged, shifted, new, old, new_probe):
        assert not trained & seen


def test_the_shifted_probe_shows_the_frames_of_the_old_one(plan):
    old, shifted = (open_stream(plan.probes[name]) for name in ("old", "shifted"))
    truths = [
        [truth for batch in stream.batches(50) for truth in batch.truths]
        for stream in (old, shifted)
    ]
    assert truths[0] == truths[1] and old.n_frames > 100


def test_the_last_two_classes_come_last(plan):
    stream = open_stream(plan.source)
    batches = list(stream.batches(16))
    names = [batch.segment for batch in batches]
    assert names == sorted(names)
    first = [truth for batch in batches for truth in batch.truths][: plan.unchanged_frames]
    assert set(first) == set("01234567")
    assert {truth for batch in batches[-3:] for truth in batch.truths} == {"8", "9"}
    given = np.mean([label is not None for batch in batches for label in batch.labels])
    assert 0.24 < given < 0.26


def test_the_shift_is_none_that_the_stand_in_was_calibrated_on():
    assert SHIFT[0] not in {kind for kind, _ in CALIBRATION}


def test_too_little_data_is_refused():
    with pytest.raises(DataError, match="four classes"):
        plan_stream(DATA, load_splits("digits?classes=0,1,2"))
