"""A run that leaves bad images out is the run without them, and goes on without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.core.runlog import RUN_FILE, read_run
from sel_edge.data.sources import load_splits
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.describe import RunOptions, is_same_data
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.run import resume_run, start_run
from tests.pretrain.conftest import (
    FOUR_DIGITS,
    Quiet,
    after,
    assert_same_bits,
    never,
    small_options,
    small_recipe,
)

PER_CLASS = 20
BAD = "train/2/bad.png"


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    """Some digits of every class as files."""
    splits = load_splits(FOUR_DIGITS)
    for name, data in (("train", splits.train), ("test", splits.test)):
        for label, digit in enumerate(data.classes):
            folder = tmp_path / "digits" / name / digit
            folder.mkdir(parents=True)
            for number, pixels in enumerate(data.images[data.labels == label][:PER_CLASS]):
                Image.fromarray(pixels[..., 0]).save(folder / f"{number}.png")
    return tmp_path / "digits"


def options(data: str) -> RunOptions:
    recipe = small_recipe("dense", 0.1, "batch_size = 16")
    return RunOptions(**(vars(small_options(recipe)) | {"data": data}))


def interrupted(out: Path, data: str) -> Quiet:
    """The observer of a run that is interrupted after a few steps."""
    observer = Quiet()
    with pytest.raises(RunInterruptedError):
        start_run(out, options(data), open_meter(), observer, after(6))
    return observer


def test_a_resumed_run_is_the_run_without_the_bad_images(
    tmp_path: Path, digits_folder: Path
) -> None:
    start_run(tmp_path / "good", options(str(digits_folder)), open_meter(), Quiet(), never)
    (digits_folder / BAD).write_bytes(b"no image")
    observers = [interrupted(tmp_path / "cut", f"{digits_folder}?bad=skip"), Quiet()]
    run = resume_run(tmp_path / "cut", open_meter(), observers[1], never)
    assert_same_bits(tmp_path / "good", tmp_path / "cut")
    why = "its content is no image of a known format"
    assert run.info["data"]["skipped"] == {"count": 1, "reasons": {BAD: why}}
    assert run.info["data"]["note"] == "1 bad image left out"
    assert all(observer.skipped.reasons == {BAD: why} for observer in observers)
    assert is_same_data(load_splits(run.info["data"]["spec"]), run.info)


def test_a_run_is_not_resumed_on_more_or_fewer_images(tmp_path: Path, digits_folder: Path) -> None:
    """Another version of the decoder may skip others of the same content."""
    (digits_folder / BAD).write_bytes(b"no image")
    out, spec = tmp_path / "run", f"{digits_folder}?bad=skip"
    interrupted(out, spec)
    info = read_run(out).info
    info["data"]["n_train"] += 1
    (out / RUN_FILE).write_text(json.dumps(info))
    assert not is_same_data(load_splits(spec), info)
    with pytest.raises(DataError, match="61 frames to train on and 80 to test"):
        resume_run(out, open_meter(), Quiet(), never)
