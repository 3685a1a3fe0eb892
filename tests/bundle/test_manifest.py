"""The manifest: what is written is read back, anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.manifest import MEMBERS, Manifest, Member, parse_manifest
from sel_edge.core.errors import BundleError
from sel_edge.core.files import canonical_json, sha256_bytes

LISTED = {name: Member("0" * 64, 1) for name in MEMBERS}


@pytest.fixture(scope="module")
def complete(manifest: Manifest) -> Manifest:
    return replace(manifest, members=LISTED)


def signed(value: dict[str, Any]) -> bytes:
    """A manifest with any content and a hash that is right for it."""
    body = {key: item for key, item in value.items() if key != "bundle_hash"}
    return canonical_json({**body, "bundle_hash": sha256_bytes(canonical_json(body))})


def test_what_is_written_is_read_back(complete: Manifest) -> None:
    parsed = parse_manifest(complete.to_json())
    assert parsed == complete
    assert parsed.bundle_hash == complete.bundle_hash == parsed.as_dict()["bundle_hash"]


def test_the_hash_names_the_whole_content(complete: Manifest) -> None:
    others = [
        replace(complete, classes=("left", "rightly")),
        replace(complete, members={**LISTED, "infer.onnx": Member("1" * 64, 1)}),
        replace(complete, provenance={}),
    ]
    assert len({complete.bundle_hash, *(other.bundle_hash for other in others)}) == 4


@given(data=st.data())
def test_any_flipped_byte_is_noticed(complete: Manifest, data: st.DataObject) -> None:
    content = bytearray(complete.to_json())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BundleError):
        parse_manifest(bytes(content))


@given(data=st.data())
def test_any_truncation_or_addition_is_noticed(complete: Manifest, data: st.DataObject) -> None:
    content = complete.to_json()
    cut = data.draw(st.integers(0, len(content) - 1))
    for damaged in (content[:cut], content[:cut] + b" " + content[cut:]):
        with pytest.raises(BundleError):
            parse_manifest(damaged)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(content)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"schema":NaN}', b'{"a":1e999}', b"[]", b" " * 2**23]
)
def test_hostile_json_is_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(content)


def test_another_schema_is_named_before_anything_else(complete: Manifest) -> None:
    with pytest.raises(BundleError, match=r"schema 2.*reads schema 1"):
        parse_manifest(signed({**complete.as_dict(), "schema": 2, "surprise": True}))


NESTED = ("model", "preprocessing", "standin")


@pytest.mark.parametrize("place", ["", *NESTED])
def test_unknown_and_missing_keys_are_named(complete: Manifest, place: str) -> None:
    value = json.loads(canonical_json(complete.as_dict()))
    inner = value[place] if place else value
    for key in sorted(inner.keys() - {"schema", "bundle_hash"}):
        taken = inner.pop(key)
        with pytest.raises(BundleError, match=rf"lacks the key {key}\."):
            parse_manifest(signed(value))
        inner[key] = taken
    inner["surprise"] = 1
    with pytest.raises(BundleError, match="unknown keys: surprise"):
        parse_manifest(signed(value))


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        ("model.width", 0),
        ("model.width", 1.0),
        ("model.width", True),
        ("model.name", ""),
        ("model.forward_macs", 2**40 + 1),
        ("classes", ["one"]),
        ("classes", ["same", "same"]),
        ("classes", "left"),
        ("classes", [1, 2]),
        ("preprocessing.channels", 2),
        ("preprocessing.height", 10**6),
        ("preprocessing.mean", [0.5, 0.5]),
        ("preprocessing.mean", [10**400]),
        ("preprocessing.mean", [1e7]),
        ("preprocessing.std", [0.0]),
        ("preprocessing.std", [1e-320]),
        ("preprocessing.std", [10**400]),
        ("preprocessing.std", []),
        ("temperature", 1.0),
        ("temperature", 10**400),
        ("temperature", "1.5"),
        ("head_weight", 3),
        ("features", -1),
        ("standin.knots", [0.5, 0.1]),
        ("standin.expected", [1.0, 0.5]),
        ("standin.expected", [1.0]),
        ("standin.knots", [0.1, 10**400]),
        ("standin.expected", [-1.0, 0.5]),
        ("standin", []),
        ("anchors_held_out", 1),
        ("accuracy", {"test": 1.5}),
        ("accuracy", {"test": -(10**400)}),
        ("provenance", []),
        ("members", {}),
        ("members", {**{name: {"sha256": "0", "bytes": 1} for name in MEMBERS}, "more": {}}),
        ("members", {name: {"sha256": "0", "bytes": 0} for name in MEMBERS}),
    ],
)
def test_impossible_values_are_named(complete: Manifest, place: str, bad: Any) -> None:
    value = json.loads(canonical_json(complete.as_dict()))
    *outer, last = place.split(".")
    inner = value
    for key in outer:
        inner = inner[key]
    inner[last] = bad
    with pytest.raises(BundleError, match=last):
        parse_manifest(signed(value))
