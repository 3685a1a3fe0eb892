"""What a manifest says of frames: signals are an additional kind, images stay as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import Manifest, parse_manifest
from sel_edge.bundle.preprocessing import SignalPreprocessing
from sel_edge.core.errors import BundleError
from tests.bundle.test_manifest import listed, signed

VIEW = SignalPreprocessing(2, 1, (0.5, -3.0), (0.25, 2.0))
"""As many numbers as the rungs of the small manifest start from."""


@pytest.fixture(scope="module")
def of_signals(manifest: Manifest) -> Manifest:
    return listed(replace(manifest, preprocessing=VIEW))


@given(data=st.data())
def test_what_is_written_is_read_back(manifest: Manifest, data: st.DataObject) -> None:
    channels = data.draw(st.integers(1, 5))
    numbers = st.lists(st.floats(1e-6, 1e6), min_size=channels, max_size=channels).map(tuple)
    view = SignalPreprocessing(
        channels, data.draw(st.integers(1, 2**20)), data.draw(numbers), data.draw(numbers)
    )
    plain = listed(replace(manifest, preprocessing=view, rungs={}))
    assert parse_manifest(plain.to_json()) == plain


def test_an_image_has_no_kind(manifest: Manifest, of_signals: Manifest) -> None:
    """So that bundles from before there were signals stay byte for byte what they are."""
    image = json.loads(listed(manifest).to_json())["preprocessing"]
    assert set(image) == {"channels", "height", "width", "mean", "std"}
    signal = json.loads(of_signals.to_json())["preprocessing"]
    assert signal == {
        "kind": "signal",
        "channels": 2,
        "length": 1,
        "mean": [0.5, -3.0],
        "std": [0.25, 2.0],
    }


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("kind", "image"),
        ("kind", None),
        ("channels", 0),
        ("channels", 1),
        ("length", 0),
        ("length", 2**20 + 1),
        ("length", 2**20),
        ("length", "long"),
        ("mean", [0.5]),
        ("mean", [0.5, 1e7]),
        ("std", [0.0, 1.0]),
        ("std", [1.0, 1.0, 1.0]),
    ],
)
def test_impossible_values_are_named(of_signals: Manifest, key: str, bad: Any) -> None:
    value = json.loads(of_signals.to_json())
    value["preprocessing"][key] = bad
    if (key, bad) == ("length", 2**20):
        value["preprocessing"]["channels"] = 2**20
    named = "mean" if (key, bad) == ("channels", 1) else key
    with pytest.raises(BundleError, match=rf"preprocessing\.{named}"):
        parse_manifest(signed(value))


@pytest.mark.parametrize("key", ["channels", "length", "mean", "std"])
def test_missing_and_unknown_keys_are_named(of_signals: Manifest, key: str) -> None:
    value = json.loads(of_signals.to_json())
    taken = value["preprocessing"].pop(key)
    with pytest.raises(BundleError, match=rf"lacks the key {key}\."):
        parse_manifest(signed(value))
    value["preprocessing"] |= {key: taken, "height": 1}
    with pytest.raises(BundleError, match="unknown keys: height"):
        parse_manifest(signed(value))


def test_a_step_starts_from_the_numbers_of_a_signal(of_signals: Manifest) -> None:
    longer = replace(of_signals, preprocessing=replace(VIEW, length=3))
    with pytest.raises(BundleError, match="latent_shape"):
        parse_manifest(longer.to_json())


def anchors(frames: np.ndarray) -> bytes:
    return pack_anchors(frames, np.array([0, 1, 0, 1]), np.zeros((4, 2), np.float32))


def test_anchors_are_signals(
    tmp_path: Path, of_signals: Manifest, members: dict[str, bytes]
) -> None:
    frames = np.arange(8, dtype=np.float32).reshape(4, 2, 1)
    write_bundle(
        tmp_path / "bundle", of_signals, {**members, "anchors.safetensors": anchors(frames)}
    )
    found = open_bundle(tmp_path / "bundle").anchors().frames
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, frames)


@pytest.mark.parametrize(
    "frames",
    [
        np.full((4, 2, 1), np.nan, np.float32),
        np.zeros((4, 2, 1), np.float64),
        np.zeros((4, 1, 2), np.float32),
        np.zeros((4, 1, 2, 1), np.uint8),
    ],
    ids=["nan", "float64", "shape", "images"],
)
def test_other_anchors_are_refused(
    tmp_path: Path, of_signals: Manifest, members: dict[str, bytes], frames: np.ndarray
) -> None:
    with pytest.raises(BundleError):
        write_bundle(
            tmp_path / "bundle", of_signals, {**members, "anchors.safetensors": anchors(frames)}
        )
    assert not (tmp_path / "bundle").exists()
