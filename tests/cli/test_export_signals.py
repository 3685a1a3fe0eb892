"""From an ONNX file of a network for signals to a bundle that runs, learns and streams."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.bundle.preprocessing import SignalPreprocessing
from sel_edge.cli.main import run
from sel_edge.core.errors import DataError
from sel_edge.core.ledger import LEDGER_FILE, read_ledger
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.renormalize import Renormalizer
from sel_edge.runtime.training import TrainingStep
from tests.cli.conftest import photos
from tests.cli.user_networks import gradients
from tests.compile.models import Array, normal
from tests.compile.networks import NETWORKS, exported, settled
from tools.agree import compare
from tools.agree import run as run_everything

NAMES = ("rest", "walk", "run", "fall", "turn")
CHANNELS, LENGTH, PER_CLASS = 2, 64, 30
MEAN, STD = (0.5, -40.0), (2.0, 10.0)
FRAMES, BATCH = 20, 4
LEARNING_RATE = 1e3


def signals(count: int, seed: int) -> Array:
    """Raw signals float32 [count, CHANNELS, LENGTH] that the network's preprocessing fits."""
    scale, offset = np.array(STD)[:, None], np.array(MEAN)[:, None]
    return (normal(count, CHANNELS, LENGTH, seed=seed) * scale + offset).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for signals as ONNX, its class names, and data as .npz and as text."""
    folder = tmp_path_factory.mktemp("signals")
    make, shape = NETWORKS["resnet1d"]
    onnx.save(exported(settled(make, shape), shape), folder / "net.onnx")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    x, y = signals(len(NAMES) * PER_CLASS, 1), np.array(NAMES * PER_CLASS)
    np.savez(folder / "signals.npz", x=x, y=y)
    rows = [[*map(repr, map(float, row.ravel())), name] for row, name in zip(x, y, strict=True)]
    (folder / "signals.csv").write_text("\n".join(",".join(row) for row in rows))
    return folder


@pytest.fixture(scope="module")
def network() -> nn.Module:
    make, shape = NETWORKS["resnet1d"]
    return settled(make, shape)


def arguments(place: Path, out: Path, *more: object) -> list[str]:
    """The command; what comes later in `more` counts."""
    given = ["export", "--onnx", place / "net.onnx", "--classes", place / "names.txt"]
    given += ["--data", f"npz:{place / 'signals.npz'}", "--batch", BATCH, "--frames", FRAMES]
    given += ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD))]
    return [str(argument) for argument in [*given, "--share", 0.5, "--out", out, *more]]


@pytest.fixture(scope="module")
def bundle(place: Path) -> Bundle:
    assert run(arguments(place, place / "bundle", "--held-out")) == 0
    return open_bundle(place / "bundle")


def normalized(frames: Array) -> torch.Tensor:
    mean, std = torch.tensor(MEAN)[:, None], torch.tensor(STD)[:, None]
    return (torch.tensor(frames) - mean) / std


class TestAgainstTorch:
    """The whole bundle, from raw signals on."""

    def test_features_and_logits(self, bundle: Bundle, network: nn.Module) -> None:
        frames = signals(37, 2)
        features, logits = Engine(bundle, 1).infer(frames)
        with torch.no_grad():
            x = normalized(frames)
            expected = network.features(x).numpy(), network(x).numpy()
        np.testing.assert_allclose(features, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(logits, expected[1], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("rung", ["head", "tail", "full"])
    def test_a_step_takes_torchs_gradient(self, bundle: Bundle, place: Path, rung: str) -> None:
        anchors, parameters = bundle.anchors(), bundle.parameters()
        frames, labels = anchors.frames[::30], anchors.labels[::30]
        latents = Engine(bundle, 1).latents(frames, rung)
        layers = bundle.manifest.rungs[rung].layers
        channels = {layer.weight: np.arange(layer.rows or 2) for layer in layers}
        step = TrainingStep(bundle, rung, parameters, channels, 1)
        before = step.rows()
        step.step(step.prepare(latents), labels, learning_rate=LEARNING_RATE)
        trained = {name: parameters[name] for la in layers for name in (la.weight, la.bias)}
        expected = gradients(place / "net.onnx", rung, trained, latents, labels)
        for name, rows in step.rows().items():
            found = (before[name].astype(np.float64) - rows) / LEARNING_RATE
            wanted = expected[name][: len(rows)]
            assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max(), name

    def test_normalization_is_that_of_training_on_these_frames(
        self, bundle: Bundle, network: nn.Module
    ) -> None:
        frames = 3 * signals(FRAMES, 3) + 1
        engine = Engine(bundle, 1)
        engine.load(Renormalizer(bundle, bundle.parameters(), 1).estimate(frames))
        with torch.no_grad():
            expected = copy.deepcopy(network).train()(normalized(frames)).numpy()
        np.testing.assert_allclose(engine.infer(frames)[1], expected, rtol=1e-3, atol=1e-4)

    def test_every_graph_runs_and_repeats(self, bundle: Bundle) -> None:
        outputs = run_everything(bundle, seed=3)
        assert {"norm", "head", "tail", "full"} <= set(bundle.manifest.rungs)
        assert compare(outputs, run_everything(bundle, seed=3))["largest"] == 0

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_numbers_that_are_none_reach_no_network(self, bundle: Bundle, bad: float) -> None:
        frames = signals(FRAMES, 4)
        frames[-1, 0, 7] = bad
        engine, parameters = Engine(bundle, 1), bundle.parameters()
        uses: list[Callable[[], Any]] = [
            lambda: engine.infer(frames),
            lambda: engine.latents(frames, "tail"),
            lambda: engine.latents(frames, "full"),
            lambda: Renormalizer(bundle, parameters, 1).estimate(frames),
        ]
        for use in uses:
            with pytest.raises(DataError, match="not finite"):
                use()


class TestExport:
    def test_what_the_manifest_says(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        assert manifest.preprocessing == SignalPreprocessing(CHANNELS, LENGTH, MEAN, STD)
        assert manifest.classes == NAMES
        assert manifest.provenance["standin_calibrated_on"][0] == "clean"
        assert "noise" in manifest.provenance["standin_calibrated_on"]
        assert manifest.int8 is not None
        assert manifest.provenance["int8_agreement_on_anchors"] > 0.8

    def test_rows_of_a_text_file_give_the_same_bundle(
        self, bundle: Bundle, place: Path, tmp_path: Path
    ) -> None:
        rows = f"signals:{place / 'signals.csv'}?label=last&channels={CHANNELS}"
        assert run(arguments(place, tmp_path / "b", "--data", rows, "--held-out")) == 0
        found = open_bundle(tmp_path / "b")
        np.testing.assert_array_equal(found.anchors().frames, bundle.anchors().frames)
        np.testing.assert_array_equal(found.anchors().labels, bundle.anchors().labels)
        assert found.manifest.rungs == bundle.manifest.rungs
        assert found.manifest.standin == bundle.manifest.standin

    def test_one_number_is_of_all_channels(self, call, place, tmp_path):
        more = ["--mean", "0.5", "--std", "3", "--rungs", "head", "--no-int8"]
        assert call(*arguments(place, tmp_path / "b", *more)).code == 0
        view = open_bundle(tmp_path / "b").manifest.preprocessing
        assert (view.mean, view.std) == ((0.5, 0.5), (3.0, 3.0))

    def test_inspect(self, call, bundle):
        result = call("inspect", bundle.path)
        assert result.code == 0
        assert f"signal               {LENGTH} samples, {CHANNELS} channels" in result.out
        assert "FLOP per signal" in result.out
        content = json.loads(call("inspect", bundle.path, "--json").out)
        assert content["preprocessing"]["kind"] == "signal"


class TestRun:
    def test_a_stream_of_signals(self, call, bundle, place, tmp_path):
        source = f"npz:{place / 'signals.npz'}:all?labels=0.5"
        state = tmp_path / "state"
        result = call("run", bundle.path, "--source", source, "--state", state, "--json")
        assert result.code == 0
        ledger = read_ledger(state / LEDGER_FILE)
        assert sum(tick.n for tick in ledger.ticks) == len(NAMES) * PER_CLASS
        assert call("report", state).code == 0

    def test_other_frames(self, call, bundle, place, tmp_path):
        sources = {
            "digits": ["images of height, width, channels [8, 8, 1]", "signals of channels"],
            f"signals:{place / 'signals.csv'}?label=last": ["[1, 128]", "[2, 64]", "?channels="],
            f"npz:{place / 'signals.npz'}?corrupt=fog:2": ["fog takes images only"],
        }
        for source, words in sources.items():
            state = tmp_path / "state"
            result = call("run", bundle.path, "--source", source, "--state", state)
            assert result.code == 3
            result.says(*words)
            assert not state.exists()


class TestRefusals:
    @pytest.fixture
    def images(self, place: Path) -> str:
        root = place / "images"
        return f"folder:{root if root.exists() else photos(root, 6)}"

    def test_images_for_a_network_of_signals(self, call, place, images, tmp_path):
        (tmp_path / "names.txt").write_text("pear\napple\nfig\n")
        more = ["--data", images, "--classes", tmp_path / "names.txt"]
        result = call(*arguments(place, tmp_path / "b", *more))
        assert result.code == 3
        result.says("lists 3 classes", "tells 5 classes apart")
        more = ["--data", "digits?classes=0,1,2,3,4", "--classes", tmp_path / "five.txt"]
        (tmp_path / "five.txt").write_text("0\n1\n2\n3\n4\n")
        result = call(*arguments(place, tmp_path / "b", *more))
        assert result.code == 3
        result.says("images of 1 channel, height 8", "takes signals of 2 channels and length 64")
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (["--data", "signals:{place}/signals.csv?label=last"], ["1 channel and length 128"]),
            (["--data", "signals:{place}/signals.csv"], ["'rest' where a sample should be"]),
            (["--data", "npz:{place}/signals.npz?mode=gray"], ["values from"]),
        ],
    )
    def test_data_that_do_not_fit(self, call, place, tmp_path, given, words):
        filled = [part.format(place=place) for part in given]
        result = call(*arguments(place, tmp_path / "b", *filled))
        assert result.code == 3
        result.says(*words)
        assert list(tmp_path.iterdir()) == []

    def test_as_many_numbers_as_channels(self, call, place, tmp_path):
        result = call(*arguments(place, tmp_path / "b", "--std", "1,2,3"))
        assert result.code == 6
        result.says("3 numbers", "2 channels")

    def test_the_demo_takes_images_only(self, call, place, tmp_path):
        data = f"npz:{place / 'signals.npz'}"
        result = call("demo", "--data", data, "--out", tmp_path / "run")
        assert result.code == 3
        result.says("signals of channels, length [2, 64]", "`sel-edge demo` takes images")
        assert not (tmp_path / "run").exists()


def test_pretrained_exported_and_run_by_commands_alone(call, place, tmp_path):
    """Without --model: rows of numbers choose the network for signals themselves."""
    data = f"signals:{place / 'signals.csv'}?label=last&channels={CHANNELS}"
    given = ["--width", 8, "--epochs-scale", 0.01, "--holdout", 5, "--device", "cpu"]
    assert call("pretrain", "--data", data, *given, "--out", tmp_path / "run").code == 0
    assert call("export", tmp_path / "run", "--out", tmp_path / "bundle").code == 0
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.model.name, manifest.anchors_held_out) == ("resnet18-1d", True)
    source, _, keys = data.partition("?")
    source = f"{source}:test?{keys}&labels=0.5"
    more = ["--source", source, "--state", tmp_path / "state"]
    assert call("run", tmp_path / "bundle", *more).code == 0
    refused = call("pretrain", "--data", data, "--model", "resnet18", "--out", tmp_path / "other")
    assert refused.code == 6
    refused.says("--model resnet18 was asked for", "signals of channels, length [2, 64]")
