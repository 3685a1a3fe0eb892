"""The microcontroller benchmark, small: that it counts, compares and measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle
from sel_edge.cli.main import run
from sel_edge.core.errors import MissingDependencyError
from sel_edge.data.sources import load_splits
from sel_edge.mcu.layer import Operation
from tests.conftest import DATA
from tests.real_data import cifar10_archive
from tests.tools_needed import missing_tool
from tools.bench_mcu import AT_MOST, ROOT
from tools.mcu_bench.agreement import all_answers, mismatches
from tools.mcu_bench.counting import Cost, LayerCost
from tools.mcu_bench.deltas import delta_bytes
from tools.mcu_bench.emulator import check_tools
from tools.mcu_bench.network import instructions
from tools.mcu_bench.speed import link_speed
from tools.mcu_bench.subject import Subject
from tools.small_network import SIDE, small_image

FIELDS = {
    *("instructions_per_mac", "instructions_per_mac_plain", "inference_instructions"),
    *("arena_bytes", "code_bytes", "accuracy_fp32", "accuracy_device", "mismatches"),
    *("model_bytes", "delta_bytes_norm", "delta_bytes_head", "delta_bytes_tail"),
    *("link_efficiency", "power_cuts", "bricks", "fuzz_inputs", "fuzz_accepted"),
    *("machine", "versions", "commit", "data", "note"),
}


@pytest.fixture
def tools() -> None:
    """Compilers and emulator, or a line that says what to install."""
    try:
        check_tools()
    except MissingDependencyError as error:
        missing_tool(str(error))


@pytest.fixture(scope="module")
def subject(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    out = tmp_path_factory.mktemp("mcu") / "bundle"
    rungs = ["--rungs", "norm,head,tail", "--target", "mcu", "--profile", "esp32-c3"]
    assert run(["export", str(workshop / "dense"), "--out", str(out), *rungs]) == 0
    bundle, test = open_bundle(out), load_splits(DATA).test
    frames = test.frames.astype(np.uint8)
    return Subject(bundle, bundle.mcu_image(), frames, test.labels, "")


@given(st.data(), st.integers(1, 8), st.integers(1, 4))
def test_a_frame_counts_once_however_many_numbers_differ(
    data: st.DataObject, frames: int, others: int
) -> None:
    first = np.zeros((frames, 5), np.int64)
    answers = {"first": first, **{f"other {n}": first.copy() for n in range(others)}}
    places = st.tuples(st.integers(0, others - 1), st.integers(0, frames - 1), st.integers(0, 4))
    changes = data.draw(st.lists(places))
    for other, frame, number in changes:
        answers[f"other {other}"][frame, number] = 1
    assert mismatches(answers) == len({frame for _, frame, _ in changes})


def test_all_that_answer_agree_and_another_network_is_noticed(tools: None) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE, 3), np.uint8)
    answers, others = (all_answers(small_image(seed), frames) for seed in (0, 1))
    assert mismatches(answers) == mismatches(others) == 0
    for name in answers:
        assert mismatches({**answers, name: others[name]}) == len(frames)


def test_instructions_are_told_per_product_of_3x3_convolutions() -> None:
    layers = (
        LayerCost(0, Operation.CONV, (3, 3), 100, 200, 900),
        LayerCost(1, Operation.CONV, (1, 1), 50, 400, 500),
        LayerCost(2, Operation.MAX_POOL, (3, 3), 0, 70, 70),
        LayerCost(3, Operation.CONV, (3, 3), 300, 800, 1500),
        LayerCost(4, Operation.LINEAR, (1, 1), 10, 30, 30),
    )
    found = instructions(Cost(layers, 1600, 3100))
    assert found["instructions_per_mac"] == 1000 / 400
    assert found["instructions_per_mac_plain"] == 2400 / 400
    assert found["multiply_adds"] == 460
    assert (found["inference_instructions"], len(found["layers"])) == (1600, 5)


def test_deltas_bring_what_the_rungs_change_and_no_more(subject: Subject) -> None:
    *body, head = (layer for layer in subject.image.layers if layer.has_weights)
    found = delta_bytes(subject)
    assert found["norm"] == sum(8 + 8 * len(layer.rows) for layer in body)
    assert found["head"] == 8 + (8 + head.row_bytes) * len(subject.image.classes)
    rung = subject.bundle.manifest.rungs["tail"]
    trained = {layer.weight: layer.rows for layer in rung.layers}
    changed = [
        (layer.row_bytes, trained[layer.weight]) for layer in body if layer.weight in trained
    ]
    rows = sum((8 + size) * (count or 0) for size, count in changed)
    assert 0 < rows < found["tail"] <= rows + 8 * sum(count or 0 for _, count in changed)


def test_accuracy_is_of_the_network_itself(subject: Subject) -> None:
    anchors = subject.bundle.anchors()
    weight, bias = subject.bundle.head()
    own = Subject(subject.bundle, subject.image, anchors.frames, anchors.labels, "")
    expected = (anchors.features @ weight.T + bias).argmax(axis=1)
    assert np.array_equal(own.fp32_labels(len(expected)), expected)


def test_a_transfer_is_compared_with_the_rate_of_its_line(tools: None) -> None:
    image = small_image(width=256).content
    found = link_speed(image, 921_600, rounds=2)
    assert found["payload_bytes"] == len(image)
    assert 0 < found["least_s"] <= found["median_s"] <= found["most_s"]
    assert found["efficiency"] == len(image) * 10 / 921_600 / found["median_s"] < 1


@pytest.mark.proof
def test_the_quick_benchmark_says_everything_on_one_line(tools: None, tmp_path: Path) -> None:
    out = tmp_path / "mcu.json"
    command = [sys.executable, "tools/bench_mcu.py", "--quick", "--json", "--out", str(out)]
    command += ["--data", f"cifar10:{cifar10_archive()}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found == json.loads(out.read_text())
    assert set(found) >= FIELDS and set(found["goals"]) == set(AT_MOST)
    assert (found["mismatches"], found["bricks"], found["fuzz_accepted"]) == (0, 0, 0)
    compared = {width: row["compared_images"] for width, row in found["networks"].items()}
    assert compared == {"8": 1000, "16": 100}
    assert set(found["link_efficiency"]) == {"115200", "921600"}
    assert found["power_cuts"] > 1000 and found["fuzz_inputs"] > 10_000
    # Instructions and bytes are the same on every machine; time is not.
    missed = {name for name, goal in found["goals"].items() if not goal["met"]}
    assert missed <= {"link_rate_left"}
