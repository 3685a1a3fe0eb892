"""`sel-edge pretrain --skip-bad`, and the commands that follow on the same data."""

import json

import pytest

from tests.cli.conftest import photos
from tests.conftest import QUICK


@pytest.fixture
def folder(tmp_path):
    """Fruit, two images of which are corrupt."""
    root = photos(tmp_path / "fruit", 8, count=8)
    (root / "train" / "fig" / "text.jpg").write_text("not an image")
    whole = (root / "train" / "pear" / "0.png").read_bytes()
    (root / "train" / "pear" / "0.png").write_bytes(whole[:-30])
    return root


def test_bad_images_are_listed_and_nothing_is_begun(call, folder, tmp_path):
    result = call("pretrain", "--data", folder, "--out", tmp_path / "run", *QUICK)
    assert result.code == 3
    result.says("2 bad images", "train/fig/text.jpg", "train/pear/0.png", "--skip-bad")
    assert not (tmp_path / "run").exists()


def test_a_run_without_them_says_so_and_is_exported_from_the_same_images(call, folder, tmp_path):
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    options = ["--skip-bad", "--holdout", "2", "--set", "crop_padding = 1", *QUICK]
    result = call("pretrain", "--data", f"{folder}?mode=rgb", "--out", run, *options)
    assert result.code == 0, result.err
    assert "Training without 2 bad images: train/fig/text.jpg (" in result.err
    data = json.loads((run / "run.json").read_text())["data"]
    assert data["spec"] == f"{folder}?mode=rgb&bad=skip"
    assert data["skipped"]["reasons"].keys() == {"train/fig/text.jpg", "train/pear/0.png"}
    assert data["n_train"] == 3 * 8 - 1 - 3 * 2
    assert call("export", run, "--out", bundle).code == 0
    manifest = json.loads(call("inspect", bundle, "--json").out)
    assert manifest["anchors_held_out"] is True
    assert "2 bad images left out" in manifest["provenance"]["data"]["note"]
    source = ["--source", f"{folder}:test?mode=rgb&bad=skip", "--state", tmp_path / "state"]
    assert call("run", bundle, *source).code == 0


def test_a_resumed_run_has_it_from_its_log(call, tmp_path):
    result = call("pretrain", "--resume", "--skip-bad", "--out", tmp_path)
    assert result.code == 6
    result.says("--skip-bad", "run.json")


def test_signals_have_no_images_to_skip(call, tmp_path):
    result = call("pretrain", "--data", "signals:x.csv", "--skip-bad", "--out", tmp_path / "run")
    assert result.code == 3
    result.says("bad=skip")
