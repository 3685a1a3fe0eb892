"""The same loop over signals: what it learns, how it resumes, what it refuses, what it exports."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.preprocessing import SignalPreprocessing
from sel_edge.cli.export import export_run
from sel_edge.core.errors import ConfigError, DataError, RunDirectoryError
from sel_edge.core.runlog import frame_shape, read_samples
from sel_edge.data.dataset import Dataset
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.batches import Normalization, Order, Resident, fit_normalization
from sel_edge.pretrain.checkpoint import MODEL_FILE
from sel_edge.pretrain.flops import count_flops, torch_training_flops
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.model import MODELS, OF_SIGNALS, ResNet18
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.run import start_run
from sel_edge.pretrain.trained import load_trained
from sel_edge.report.compare import write_compare
from sel_edge.runtime.engine import Engine
from tests.pretrain.conftest import FOUR_DIGITS, Quiet, assert_same_bits, never, train_in_pieces
from tests.pretrain.signals import (
    CHANNELS,
    LENGTH,
    NAMES,
    OFFSET,
    PER_CLASS,
    SCALE,
    signal_options,
    signal_recipe,
    waves,
    write_waves,
)

FP32 = Arithmetic(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=[("dense", 0.5), ("sel-paper", 0.4)], ids=lambda p: p[0])
def whole_run(request, data, tmp_path_factory):
    torch.set_num_threads(1)
    recipe = signal_recipe(*request.param)
    out = tmp_path_factory.mktemp(recipe.name) / "run"
    return start_run(out, signal_options(data, recipe), open_meter(), Quiet(), never)


def test_a_run_learns_and_says_what_it_trained(whole_run):
    info = whole_run.info
    by_chance = 1 / len(NAMES)
    assert whole_run.history[-1]["test_full_acc"] > by_chance + 0.25
    assert info["model"]["name"] == "resnet18-1d"
    assert "image_shape" not in info["data"] and frame_shape(info) == (CHANNELS, LENGTH)
    assert info["data"]["mean"] == pytest.approx(OFFSET, rel=0.05)
    assert info["data"]["std"] == pytest.approx(np.array(SCALE) * 0.87, rel=0.1)
    assert info["totals"]["executed_flops"] >= (
        info["model"]["training_flops"] * info["totals"]["images"]
    )
    assert read_samples(whole_run.path) is None


def test_a_loaded_run_answers_as_well_as_its_log_says(whole_run):
    trained = load_trained(whole_run.path)
    frames, labels = waves(30, 7)
    features, logits = trained.predict(frames)
    assert features.shape == (90, 64) and not trained.model.training
    reached = (logits.argmax(axis=1) == labels).mean()
    assert reached == pytest.approx(whole_run.info["totals"]["test_full_acc"], abs=0.2)


def test_export_and_engine_answer_as_torch_does(whole_run, tmp_path):
    _, difference = export_run(whole_run.path, tmp_path / "bundle")
    assert difference < 1e-4
    bundle = open_bundle(tmp_path / "bundle")
    frames, _ = waves(20, 8)
    for found, torchs in zip(
        Engine(bundle, 1).infer(frames), load_trained(whole_run.path).predict(frames), strict=True
    ):
        np.testing.assert_allclose(found, torchs, rtol=0, atol=1e-4 * np.abs(torchs).max())
    manifest = bundle.manifest
    assert (manifest.model.name, manifest.model.width) == ("resnet18-1d", 8)
    assert isinstance(manifest.preprocessing, SignalPreprocessing)
    assert manifest.preprocessing.frame_shape == (CHANNELS, LENGTH)
    assert manifest.anchors_held_out
    assert {"norm", "head", "tail", "full"} <= set(manifest.rungs)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    torch.set_num_threads(1)
    options = signal_options(data, signal_recipe("sel-paper", 0.1, "gate = 'none'"))
    out = tmp_path_factory.mktemp("whole") / "run"
    return start_run(out, options, open_meter(), Quiet(), never)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_an_interrupted_run_resumes_to_the_same_bits(data, uninterrupted, tmp_path_factory, stops):
    out = tmp_path_factory.mktemp("cut") / "run"
    options = signal_options(data, signal_recipe("sel-paper", 0.1, "gate = 'none'"))
    train_in_pieces(out, options, stops)
    assert_same_bits(uninterrupted.path, out)


def test_two_runs_are_compared_without_pictures(whole_run, tmp_path):
    numbers = write_compare(whole_run.path, whole_run.path, tmp_path / "out")
    assert not any("grid" in plot["file"] for plot in numbers["plots"])


@pytest.mark.parametrize(("of_signals", "model"), [(True, "resnet18"), (False, "resnet18-1d")])
def test_the_wrong_network_is_refused(data, tmp_path, of_signals, model):
    options = signal_options(data if of_signals else FOUR_DIGITS, signal_recipe(), model=model)
    with pytest.raises(ConfigError) as caught:
        start_run(tmp_path / "run", options, open_meter(), Quiet(), never)
    error = caught.value
    assert f"--model {model} was asked for" in error.found
    assert ("signals of channels" if of_signals else "images of height") in error.found
    assert ("is resnet18-1d." if of_signals else "is resnet18.") in error.expected
    assert "Leave --model out" in error.action
    assert not (tmp_path / "run").exists()


def test_imagenet_has_no_weights_for_signals():
    with pytest.raises(ConfigError, match="resnet18-1d of width 64"):
        build_model(3, 64, 1, "imagenet", 0, "resnet18-1d")


def test_a_run_of_a_network_of_another_kind_is_refused(whole_run, tmp_path):
    for name in ("history.csv", MODEL_FILE):
        (tmp_path / name).write_bytes((whole_run.path / name).read_bytes())
    for name in ("resnet18", "resnet50-3d"):
        info = whole_run.info | {"model": whole_run.info["model"] | {"name": name}}
        (tmp_path / "run.json").write_text(json.dumps(info))
        with pytest.raises(RunDirectoryError, match=f"A {name} of width 8"):
            load_trained(tmp_path)


@pytest.mark.parametrize(
    ("width", "channels", "length"), [(8, 1, 60), (8, 3, 141), (16, 2, 1000), (64, 1, 4096)]
)
def test_training_flops_are_those_of_torchs_counter(width, channels, length):
    model = ResNet18(5, width, channels, OF_SIGNALS)
    ours = count_flops(model, (channels, length)).training()
    assert ours == pytest.approx(torch_training_flops(model, (channels, length)), rel=0.01)


def test_both_networks_have_parameters_of_the_same_names():
    of_images, of_signals = (ResNet18(4, 8, 1, layers).state_dict() for layers in MODELS.values())
    assert of_images.keys() == of_signals.keys()


@given(length=st.integers(1, 200), channels=st.integers(1, 4), n=st.integers(2, 3))
@settings(max_examples=10)
def test_signals_of_any_length_have_features(length, channels, n):
    model = ResNet18(3, 8, channels, OF_SIGNALS).train()
    assert model.features(torch.randn(n, channels, length)).shape == (n, 64)
    assert model(torch.randn(n, channels, length)).isfinite().all()


def test_normalized_training_signals_have_mean_0_and_deviation_1():
    frames, labels = waves(PER_CLASS, 3)
    x = fit_normalization(Dataset(frames, labels, NAMES)).of_arrays(frames)
    assert x.shape == frames.shape and x.dtype == torch.float32
    assert x.mean(dim=(0, 2)).numpy() == pytest.approx(np.zeros(CHANNELS), abs=1e-3)
    assert x.std(dim=(0, 2), correction=0).numpy() == pytest.approx(np.ones(CHANNELS), abs=1e-3)


def test_a_channel_that_never_changes_becomes_zeros():
    frames, labels = waves(5, 3)
    frames[:, 1] = 0.1
    normalization = fit_normalization(Dataset(frames, labels, NAMES))
    assert normalization.std[1] == 1.0
    x = normalization.of_arrays(frames)
    assert x[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e8)])
def test_units_that_no_bundle_can_hold_are_refused(data, tmp_path, factor, offset):
    frames, labels = waves(10, 3)
    frames[:, 1] = frames[:, 1] * factor + offset
    np.savez(tmp_path / "odd.npz", x=frames, y=labels)
    options = signal_options(f"npz:{tmp_path / 'odd.npz'}", signal_recipe(), holdout=0)
    with pytest.raises(DataError, match=r"Channel 2 of the signals.*another unit"):
        start_run(tmp_path / "run", options, open_meter(), Quiet(), never)
    assert not (tmp_path / "run").exists()


@given(padding=st.integers(0, 8), flip=st.booleans(), length=st.integers(1, 200))
def test_training_sees_signals_shifted_a_little_and_never_mirrored(padding, flip, length):
    """A rising signal stays one, and loses at most as many samples as it may be shifted by."""
    overrides = [f"crop_padding = {padding}", f"flip = {str(flip).lower()}", "batch_size = 8"]
    rising = np.arange(length, dtype=np.float32) + np.zeros((8, 2, 1), dtype=np.float32)
    data = Dataset(rising, np.arange(8, dtype=np.int64) % 2, ("a", "b"))
    recipe = load_recipe("dense", overrides)
    split = Resident(data, Normalization((0.0, 0.0), (1.0, 1.0)), FP32)
    ((x, *_),) = Order(split, np.arange(8), recipe, 0, 0).batches(0)
    frames = x.numpy()
    most = min(padding, length // 16)
    assert (np.diff(frames, axis=2) >= 0).all()
    assert np.abs(frames - rising).max() <= most
    if padding and length >= 160:
        assert (frames != rising).any()
