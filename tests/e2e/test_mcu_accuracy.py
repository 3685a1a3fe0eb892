"""What a microcontroller's integers cost real networks on real images."""

from pathlib import Path

import pytest

from sel_edge import zoo
from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.main import run
from sel_edge.data.sources import load_splits
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session
from tests.real_data import cifar10_archive
from tools.adapt_bench.subject import NETWORKS

EIGHT = "?classes=airplane,automobile,bird,cat,deer,dog,frog,horse"
RUNS = {
    "width 8": (NETWORKS / "ten-w8", "", 50_000),
    "width 16": (Path(zoo.__file__).parent / "cifar10-8-dense", EIGHT, 100_000),
}
IMAGES = 2000


@pytest.mark.proof
@pytest.mark.parametrize("name", RUNS)
def test_at_most_a_point_is_lost_on_cifar10(name: str, tmp_path: Path):
    archive = cifar10_archive()
    folder, query, arena = RUNS[name]
    spec, out = f"cifar10:{archive}{query}", tmp_path / "bundle"
    arguments = ["--data", spec, "--rungs", "norm", "--target", "mcu", "--profile", "esp32c3"]
    assert run(["export", str(folder), "--out", str(out), *arguments]) == 0
    bundle = open_bundle(out)
    image = bundle.mcu_image()
    assert image.arena_bytes < arena
    test = load_splits(spec).test
    frames, labels = test.images[:IMAGES], test.labels[:IMAGES]
    preprocess = Preprocessor(bundle.manifest.preprocessing)
    session = Session(bundle.member("infer.onnx"), 1)
    logits = session.run({"image": preprocess(frames)}, ["logits"])["logits"]
    expected = (logits.argmax(axis=1) == labels).mean()
    assert (infer(running(image), frames).labels == labels).mean() >= expected - 0.01
