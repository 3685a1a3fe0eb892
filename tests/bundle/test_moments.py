"""Moments in a bundle: what the manifest says of them, and those of the anchors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from sel_edge.bundle.bundle import pack_anchors, write_bundle
from sel_edge.bundle.manifest import MOMENTS_FILE, Moments, parse_manifest
from sel_edge.core.errors import BundleError

MOMENTS = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


@pytest.fixture
def measured(manifest):
    return replace(manifest, moments=Moments(channels=3, macs=24))


@pytest.fixture
def with_moments(members):
    found = load(members["anchors.safetensors"])
    anchors = pack_anchors(found["images"], found["labels"], found["features"], MOMENTS)
    return {**members, MOMENTS_FILE: members["infer.onnx"], "anchors.safetensors": anchors}


def test_they_are_read_as_they_were_written(path, measured, with_moments):
    bundle = write_bundle(path, measured, with_moments)
    assert parse_manifest(bundle.manifest.to_json()).moments == Moments(3, 24)
    np.testing.assert_array_equal(bundle.anchors().moments, MOMENTS)


def test_a_bundle_without_them_says_nothing_of_them(path, manifest, members):
    bundle = write_bundle(path, manifest, members)
    assert "moments" not in json.loads(bundle.manifest.to_json())
    assert bundle.anchors().moments is None


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        (None, "moments"),
        (MOMENTS[:3], "anchor moments"),
        (MOMENTS[:, :, :2], "anchor moments"),
        (MOMENTS.astype(np.float64), "float64"),
        (np.full_like(MOMENTS, np.nan), "not finite"),
    ],
)
def test_those_of_the_anchors_fit_the_manifest(path, measured, with_moments, moments, words):
    tensors = load(with_moments["anchors.safetensors"])
    del tensors["moments"]
    if moments is not None:
        tensors["moments"] = moments
    damaged = {**with_moments, "anchors.safetensors": save(tensors)}
    with pytest.raises(BundleError, match=words):
        write_bundle(path, measured, damaged)


def test_their_graph_belongs_to_them(path, measured, with_moments):
    del with_moments[MOMENTS_FILE]
    with pytest.raises(BundleError, match=r"moments\.onnx"):
        write_bundle(path, measured, with_moments)


@pytest.mark.parametrize(
    "value", [None, {}, {"channels": 3}, {"channels": 0, "macs": 1}, {"channels": 3, "macs": 1.5}]
)
def test_a_manifest_that_says_nonsense_is_refused(measured, value):
    content = json.loads(replace(measured, members={}).to_json())
    content["moments"] = value
    with pytest.raises(BundleError, match="moments"):
        parse_manifest(json.dumps(content).encode())
