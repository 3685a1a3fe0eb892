"""`sel-edge export --onnx`: from the networks of other people to bundles that learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.cli.main import run
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.training import TrainingStep
from tests.cli.user_networks import (
    CLASSES,
    NAMES,
    NETWORKS,
    arguments,
    export,
    gradients,
    plain,
    saved,
)
from tests.compile.models import node

LEARNING_RATE = 1e3


@pytest.fixture(scope="module", params=list(NETWORKS))
def pair(
    request: pytest.FixtureRequest, fruit: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Bundle]:
    """A network that torch wrote, and its bundle."""
    folder = tmp_path_factory.mktemp("network")
    # Without optimization torch keeps normalization, but writes splits as sequences.
    options = {} if request.param == "shuffle" else {"optimize": False}
    network = export(request.param, folder / "net.onnx", **options)
    data = ["--data", f"folder:{fruit / 'large'}", "--share", "0.5", "--held-out"]
    assert run(arguments(fruit, network, folder / "bundle", *data)) == 0
    return network, open_bundle(folder / "bundle")


class TestNetworks:
    """From a file that torch wrote to steps that torch would take."""

    def test_the_bundle_learns_by_every_rung_that_fits(self, pair, call):
        network, bundle = pair
        rungs = set(bundle.manifest.rungs)
        assert {"head", "tail", "full"} <= rungs
        normalized = "BatchNormalization" in {n.op_type for n in onnx.load(network).graph.node}
        assert ("norm" in rungs) == normalized
        shown = call("inspect", bundle.path)
        assert shown.code == 0
        assert all(f"\n{rung} " in shown.out for rung in rungs)

    @pytest.mark.parametrize("rung", ["head", "tail", "full"])
    def test_a_step_takes_torchs_gradient(self, pair, rung):
        network, bundle = pair
        anchors, parameters = bundle.anchors(), bundle.parameters()
        images, labels = anchors.frames[::4], anchors.labels[::4]
        latents = Engine(bundle, 1).latents(images, rung)
        layers = bundle.manifest.rungs[rung].layers
        channels = {la.weight: np.arange(la.rows or 2) for la in layers}
        step = TrainingStep(bundle, rung, parameters, channels, 1)
        before = step.rows()
        step.step(step.prepare(latents), labels, learning_rate=LEARNING_RATE)
        trained = {name: parameters[name] for la in layers for name in (la.weight, la.bias)}
        expected = gradients(network, rung, trained, latents, labels)
        for name, rows in step.rows().items():
            found = (before[name].astype(np.float64) - rows) / LEARNING_RATE
            wanted = expected[name][: len(rows)]
            assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max(), name

    def test_what_is_kept_for_a_batch_is_as_large_as_the_manifest_says(self, pair):
        _, bundle = pair
        for name, rung in bundle.manifest.rungs.items():
            if "step" in rung.graphs:
                channels = {la.weight: np.arange(la.rows or 2) for la in rung.layers}
                step = TrainingStep(bundle, name, bundle.parameters(), channels, 1)
                latents = Engine(bundle, 1).latents(bundle.anchors().frames[:3], name)
                assert step.prepare(latents).nbytes == rung.cache_bytes

    def test_provenance_names_the_file(self, pair):
        network, bundle = pair
        assert bundle.manifest.model.name == "net"
        assert bundle.manifest.provenance["onnx"]["name"] == network.name


class TestClasses:
    def test_they_are_numbered_as_the_names_are_listed(self, export_plain, tmp_path):
        assert export_plain().code == 0
        bundle = open_bundle(tmp_path / "bundle")
        anchors = bundle.anchors()
        assert bundle.manifest.classes == NAMES
        brightness = [anchors.frames[anchors.labels == number].mean() for number in range(CLASSES)]
        assert brightness == sorted(brightness)

    def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(self, export_plain, tmp_path):
        names = tmp_path / "names.txt"
        names.write_bytes("\ufeff".encode() + "\r\n".join(NAMES).encode() + b"\r\n\r\n")
        assert export_plain("--classes", names).code == 0

    def test_data_may_have_more_classes_than_the_network(self, call, fruit, tmp_path):
        network = saved(plain(classes=2), tmp_path / "two.onnx")
        names = tmp_path / "two.txt"
        names.write_text("pear\nfig\n")
        assert call(*arguments(fruit, network, tmp_path / "bundle", "--classes", names)).code == 0
        assert open_bundle(tmp_path / "bundle").manifest.classes == ("pear", "fig")


class TestForms:
    """Ways in which other exporters write the same network."""

    @pytest.mark.parametrize("opset", [11, 13, 17, 18, 20, 22])
    def test_opsets(self, export_plain, tmp_path, opset):
        network = saved(plain(opset=opset), tmp_path / "net.onnx")
        assert export_plain("--rungs", "head", "--no-int8", network=network).code == 0

    @pytest.mark.parametrize("batch", [1, 4, None])
    def test_a_fixed_batch(self, export_plain, tmp_path, batch):
        proto = plain()
        dim = proto.graph.input[0].type.tensor_type.shape.dim[0]
        dim.ClearField("value")
        if batch:
            dim.dim_value = batch
        assert export_plain(network=saved(proto, tmp_path / "net.onnx")).code == 0

    @pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Identity"])
    def test_what_is_behind_the_logits_is_left_out(self, export_plain, tmp_path, op):
        attributes = {"axis": 1} if op != "Identity" else {}
        proto = plain(end=[node(op, "z", "p", **attributes), node("Identity", "p", "y")])
        result = export_plain("--json", network=saved(proto, tmp_path / "net.onnx"))
        assert result.code == 0
        assert json.loads(result.out)["max_difference"] < 1e-5

    def test_gray_images(self, call, fruit, tmp_path):
        network = saved(plain(depth=1), tmp_path / "net.onnx")
        data = ["--data", f"folder:{fruit / 'gray'}", "--mean", "0.5", "--std", "0.25"]
        assert call(*arguments(fruit, network, tmp_path / "bundle", *data)).code == 0

    def test_weights_in_a_file_beside_it(self, export_plain, tmp_path):
        path = tmp_path / "net.onnx"
        onnx.save(plain(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
        assert export_plain("--rungs", "head", network=path).code == 0

    def test_images_are_normalized_per_channel(self, export_plain, tmp_path):
        assert export_plain("--mean", "0.1,0.2,0.3", "--std", "0.5").code == 0
        view = open_bundle(tmp_path / "bundle").manifest.preprocessing
        assert (view.mean, view.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


class TestWhatIsSaid:
    def test_as_json(self, export_plain, tmp_path):
        result = export_plain("--json", "--optimizer", "adam")
        found = json.loads(result.out)
        assert found["bundle"] == str(tmp_path / "bundle")
        assert found["rungs"] == ["head", "tail", "full"]
        assert set(found["absent"]) == {"norm", "deep"}
        assert open_bundle(tmp_path / "bundle").manifest.rungs["tail"].optimizer == "adam"

    def test_a_rung_that_the_network_has_no_use_for(self, export_plain):
        result = export_plain()
        assert result.code == 0
        assert "no rung norm: the network has no BatchNormalization" in result.err
        assert "learn by head, tail, full" in result.out

    def test_anchors_that_training_never_saw(self, export_plain, tmp_path):
        assert "--held-out" not in export_plain("--held-out").err
        assert open_bundle(tmp_path / "bundle").manifest.anchors_held_out

    def test_anchors_that_it_may_have_seen(self, export_plain, tmp_path):
        assert "--held-out" in export_plain().err
        assert not open_bundle(tmp_path / "bundle").manifest.anchors_held_out
