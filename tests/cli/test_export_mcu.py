"""`sel-edge export --target mcu`: a bundle with a model image, or the numbers in the way of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle, write_bundle
from sel_edge.bundle.manifest import MANIFEST_FILE, MCU_FILE, parse_manifest
from sel_edge.cli.main import run
from sel_edge.core.errors import BundleError
from sel_edge.energy.profile import load_profile
from sel_edge.mcu.read import read_image
from sel_edge.mcu.reference import infer
from sel_edge.mcu.running import running
from tests.conftest import Result

Call = Callable[..., Result]
BOARD = """\
name = "small"
cores = 1
clock_hz = 1
ram_bytes = {ram}
idle_w = 1.0
load_w = 2.0
flops_per_s = 1.0
bytes_per_s = 1.0
j_per_flop = 0.0
j_per_byte = 0.0
celsius_max = 85.0
[flash]
size_bytes = {flash}
erase_bytes = 4096
page_bytes = 256
erase_s = 0.1
program_s = 0.1
endurance_cycles = 1000
"""


@pytest.fixture(scope="module")
def exported(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an image for the ESP32-C3."""
    out = tmp_path_factory.mktemp("mcu") / "bundle"
    arguments = ["--rungs", "norm,head", "--target", "mcu", "--profile", "esp32c3"]
    assert run(["export", str(workshop / "dense"), "--out", str(out), *arguments]) == 0
    return out


def test_the_image_answers_like_the_network(exported: Path):
    bundle = open_bundle(exported)
    image = bundle.mcu_image()
    assert bundle.manifest.mcu is not None
    assert bundle.manifest.mcu.profile == "esp32-c3"
    anchors = bundle.anchors()
    labels = infer(running(image), anchors.frames.astype(np.uint8)).labels
    weight, bias = bundle.head()
    expected = (anchors.features @ weight.T + bias).argmax(axis=1)
    assert (labels == expected).mean() >= 0.85
    provenance = bundle.manifest.provenance
    assert provenance["mcu_agreement_on_anchors"] == (labels == expected).mean()


def test_what_was_made_is_told(workshop: Path, tmp_path: Path, call: Call):
    options = ["--rungs", "norm", "--target", "mcu", "--profile", "esp32-c3", "--class-room", 9]
    done = call("export", workshop / "dense", "--out", tmp_path / "b", *options, "--json")
    found = json.loads(done.out)["mcu"]
    image = open_bundle(tmp_path / "b").mcu_image()
    assert found["image_bytes"] == len(image.content)
    assert found["arena_bytes"] == image.arena_bytes
    assert found["room"] == image.most_classes == 9
    assert found["area_bytes"] == 2**18
    shown = call("inspect", tmp_path / "b").out
    assert f"mcu.img for esp32-c3, arena {image.arena_bytes:,} bytes" in shown


def test_a_bundle_without_an_image_says_so(workshop: Path):
    bundle = open_bundle(workshop / "bundle")
    assert "mcu" not in bundle.manifest.as_dict()
    with pytest.raises(BundleError, match="--target mcu"):
        bundle.mcu_image()


def test_a_board_that_is_too_small_is_refused_with_numbers(
    workshop: Path, tmp_path: Path, call: Call
):
    profile = tmp_path / "small.toml"
    profile.write_text(BOARD.format(ram=409_600, flash=1_300_000))
    arguments = ["export", workshop / "dense", "--out", tmp_path / "b", "--rungs", "norm"]
    done = call(*arguments, "--target", "mcu", "--profile", profile)
    assert done.code == 6
    done.says("1,300,000 bytes of flash", "no width of this network fits")
    profile.write_text(BOARD.format(ram=132_000, flash=4_000_000))
    done = call(*arguments, "--target", "mcu", "--profile", profile)
    done.says("132,000 of memory", "arena")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "mcu"),
        ("--profile", "esp32c3"),
        ("--class-room", "9"),
        ("--target", "mcu", "--profile", "pi-4b"),
        ("--target", "mcu", "--profile", "nonsense"),
    ],
)
def test_half_a_target_is_refused(
    options: tuple[str, ...], workshop: Path, tmp_path: Path, call: Call
):
    done = call("export", workshop / "dense", "--out", tmp_path / "b", *options)
    assert done.code == 6
    done.says("Error (configuration)")


def test_profiles_have_names_without_hyphens():
    assert load_profile("esp32c3") == load_profile("esp32-c3")
    assert load_profile("esp32s3").name == "esp32-s3"


FOREIGN: dict[str, dict[str, object]] = {
    "weights": {"weights_sha256": "00" * 32},
    "classes": {"classes": ("a", "b", "c", "d")},
    "pixels": {"pixels": None},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_an_image_of_another_bundle_is_refused(what: str, exported: Path, tmp_path: Path):
    """Its own hashes are right, but it was made of something else."""
    manifest = parse_manifest((exported / MANIFEST_FILE).read_bytes())
    members = {name: (exported / name).read_bytes() for name in manifest.members}
    image = read_image(members[MCU_FILE])
    members[MCU_FILE] = replace(image, **FOREIGN[what]).content  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=f"other {what}"):
        write_bundle(tmp_path / "bad", manifest, members)


def test_a_manifest_names_the_arena_that_the_image_has(exported: Path, tmp_path: Path):
    manifest = parse_manifest((exported / MANIFEST_FILE).read_bytes())
    members = {name: (exported / name).read_bytes() for name in manifest.members}
    assert manifest.mcu is not None
    wrong = replace(manifest, mcu=replace(manifest.mcu, arena_bytes=4))
    with pytest.raises(BundleError, match="other arena"):
        write_bundle(tmp_path / "bad", wrong, members)
    named = replace(manifest, mcu=replace(manifest.mcu, file="other.img"))
    with pytest.raises(BundleError, match="file"):
        write_bundle(tmp_path / "bad", named, {**members, "other.img": members[MCU_FILE]})
