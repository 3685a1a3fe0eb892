"""The manifest: what is written is read back, anything else is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.manifest import MEMBERS, Manifest, Member, parse_manifest
from sel_edge.core.errors import BundleError
from sel_edge.core.files import canonical_json, sha256_bytes


def listed(manifest: Manifest) -> Manifest:
    """The manifest with an entry for every file it should have."""
    return replace(manifest, members={name: Member("0" * 64, 1) for name in manifest.files})


@pytest.fixture(scope="module")
def complete(manifest: Manifest) -> Manifest:
    return listed(manifest)


@pytest.fixture(scope="module")
def first(manifest: Manifest) -> Manifest:
    """What a bundle of schema 1 says."""
    return listed(replace(manifest, rungs={}, int8=None, schema=1))


def loaded(manifest: Manifest) -> dict[str, Any]:
    return dict(json.loads(canonical_json(manifest.as_dict())))


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
        replace(complete, members={**complete.members, "infer.onnx": Member("1" * 64, 1)}),
        replace(complete, provenance={}),
        replace(complete, rungs={**complete.rungs, "tail": complete.rungs["head"]}),
        replace(complete, int8=None),
        replace(complete, rungs={}, int8=None, schema=1),
    ]
    assert len({complete.bundle_hash, *(other.bundle_hash for other in others)}) == 7


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
    "content",
    [
        *(b"[" * 100_000, b"[]", b" " * 2**23),
        *(b'{"schema":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}'),
    ],
)
def test_hostile_json_is_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(content)


@pytest.mark.parametrize("depth", [100, 300, 450, 700, 950])
def test_deep_nesting_is_read_back_or_an_error_of_ours(complete: Manifest, depth: int) -> None:
    value = loaded(complete)
    del value["bundle_hash"]
    value["provenance"] = {"deep": "HERE"}
    nested = b"[" * depth + b"]" * depth
    body = canonical_json(value).replace(b'"HERE"', nested)
    start = b'{"accuracy":{"test_full_acc":0.75},"anchors_held_out":true,'
    assert body.startswith(start)
    content = start + f'"bundle_hash":"{sha256_bytes(body)}",'.encode() + body[len(start) :]
    with contextlib.suppress(BundleError):
        assert parse_manifest(content).to_json() == content


@pytest.mark.parametrize("schema", [0, 3, "2", None, 2.5])
def test_another_schema_is_named_before_anything_else(complete: Manifest, schema: Any) -> None:
    with pytest.raises(BundleError, match=rf"schema {schema!r}\..*reads schema 1 and 2"):
        parse_manifest(signed({**complete.as_dict(), "schema": schema, "surprise": True}))


@pytest.mark.parametrize("schema", [True, 1.0, 2.0])
def test_a_schema_is_a_whole_number(complete: Manifest, first: Manifest, schema: Any) -> None:
    manifest = complete if schema == 2 else first
    with pytest.raises(BundleError, match="schema"):
        parse_manifest(signed({**manifest.as_dict(), "schema": schema}))


def test_schema_1_is_still_read_and_has_no_rungs(first: Manifest) -> None:
    content = first.to_json()
    assert not {"rungs", "int8"} & json.loads(content).keys()
    parsed = parse_manifest(content)
    assert (parsed, parsed.rungs, parsed.int8) == (first, {}, None)
    assert parsed.to_json() == content
    with pytest.raises(BundleError, match="unknown keys: int8, rungs"):
        parse_manifest(signed({**first.as_dict(), "rungs": {}, "int8": None}))


def test_rungs_come_in_the_order_of_the_ladder(complete: Manifest) -> None:
    backwards = replace(complete, rungs=dict(reversed(complete.rungs.items())))
    assert list(parse_manifest(backwards.to_json()).rungs) == ["norm", "head", "tail"]


def find(value: Any, place: str) -> Any:
    """What lies at a path of keys and indices, e.g. "rungs.tail.layers.0"."""
    for key in filter(None, place.split(".")):
        value = value[int(key) if isinstance(value, list) else key]
    return value


NESTED = (
    *("model", "preprocessing", "standin"),
    *("rungs.norm", "rungs.tail", "rungs.tail.layers.0"),
    *("rungs.tail.graphs.step", "rungs.tail.graphs.step.cost"),
)


@pytest.mark.parametrize("place", ["", *NESTED])
def test_unknown_and_missing_keys_are_named(complete: Manifest, place: str) -> None:
    value = loaded(complete)
    inner = find(value, place)
    for key in sorted(inner.keys() - {"schema", "bundle_hash"}):
        taken = inner.pop(key)
        with pytest.raises(BundleError, match=rf"lacks the key {key}\."):
            parse_manifest(signed(value))
        inner[key] = taken
    inner["surprise"] = 1
    with pytest.raises(BundleError, match="unknown keys: surprise"):
        parse_manifest(signed(value))


def layer(
    weight: str, bias: str, rows: int | None = None, follows: str | None = None
) -> dict[str, Any]:
    return {"weight": weight, "bias": bias, "rows": rows, "follows": follows or weight}


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
        ("members", {name: {"sha256": "0", "bytes": 1} for name in (*MEMBERS, "more.onnx")}),
        ("members", {name: {"sha256": "0", "bytes": 1} for name in MEMBERS}),
        ("members", {name: {"sha256": "0", "bytes": 0} for name in MEMBERS}),
        ("rungs", []),
        ("rungs.tail", None),
        ("rungs.tail.batch", 0),
        ("rungs.tail.batch", 4097),
        ("rungs.tail.batch", True),
        ("rungs.tail.cut", ""),
        ("rungs.tail.cut", 3),
        ("rungs.tail.latent_shape", []),
        ("rungs.tail.latent_shape", [0]),
        ("rungs.tail.latent_shape", [1, 1, 3]),
        ("rungs.tail.latent_shape", [1, 1, 1, 1, 2]),
        ("rungs.head.latent_shape", [2**27]),
        ("rungs.head.latent_shape", [2**28, 2**28, 2**28, 2**28]),
        ("rungs.head.latent_shape", [1] * 10_000),
        ("rungs.head.latent_shape", [2.0]),
        ("rungs.head.layers", []),
        ("rungs.head.layers", ["fc"]),
        ("rungs.head.layers", [layer("a", "b")] * 2),
        ("rungs.head.layers", [layer("a", "a")]),
        ("rungs.norm.layers", [layer("a", "b", rows=1)]),
        ("rungs.tail.layers", [layer("a", "b", follows="c")]),
        ("rungs.tail.layers", [layer("a", "b", follows="c"), layer("c", "d")]),
        ("rungs.tail.layers", [layer("a", "b", rows=1), layer("c", "d", rows=2, follows="a")]),
        ("rungs.tail.layers", [layer("a", "b"), layer("c", "d", rows=2, follows="a")]),
        (
            "rungs.tail.layers",
            [layer("a", "b"), layer("c", "d", follows="a"), layer("e", "f", follows="c")],
        ),
        ("rungs.tail.layers.0.rows", 0),
        ("rungs.tail.layers.0.rows", 1.0),
        ("rungs.tail.layers.0.rows", 10**400),
        ("rungs.tail.optimizer", ""),
        ("rungs.tail.optimizer", "lion"),
        ("rungs.tail.optimizer", None),
        ("rungs.norm.optimizer", "sgd"),
        ("rungs.tail.state", ["velocity", "velocity"]),
        ("rungs.tail.state", ["a/b"]),
        ("rungs.tail.state", "velocity"),
        ("rungs.tail.settings.momentum", -0.1),
        ("rungs.tail.settings.momentum", 1e7),
        ("rungs.tail.settings.momentum", 10**400),
        ("rungs.tail.settings.momentum", "0.9"),
        ("rungs.tail.settings.a/b", 0.9),
        ("rungs.tail.graphs", {}),
        ("rungs.head.graphs.statistics", None),
        ("rungs.tail.graphs.step.cost.executed_flops", -1),
        ("rungs.tail.graphs.step.cost.moved_bytes", 2**44 + 1),
        ("rungs.tail.graphs.step.cost.peak_bytes", 1.5),
        ("rungs.tail.parameters", 0),
        ("rungs.tail.delta_bytes", -1),
        ("rungs.tail.cache_bytes", None),
        ("int8", ""),
        ("int8", True),
        ("int8", "weights.safetensors"),
    ],
)
def test_impossible_values_are_named(complete: Manifest, place: str, bad: Any) -> None:
    value = loaded(complete)
    outer, _, last = place.rpartition(".")
    find(value, outer)[last] = bad
    with pytest.raises(BundleError, match=last):
        parse_manifest(signed(value))


@pytest.mark.parametrize(
    "name",
    [
        *("../step.onnx", "a/step.onnx", "a\\step.onnx", "/step.onnx", "..", ".onnx", ".a.onnx"),
        *("Step.onnx", "step.onnx\n", "step.onnx\0", "stép.onnx", "step", "a" * 200 + ".onnx"),
        *("infer.onnx", "tail.fill.onnx", "infer-int8.onnx", "weights.safetensors"),
    ],
)
def test_a_graph_has_a_flat_file_of_its_own(complete: Manifest, name: str) -> None:
    value = loaded(complete)
    value["rungs"]["tail"]["graphs"]["step"]["file"] = name
    value["members"].setdefault(name, value["members"].pop("tail.step.onnx"))
    with pytest.raises(BundleError, match=r"file|rungs"):
        parse_manifest(signed(value))


@pytest.mark.parametrize(
    ("rung", "change"),
    [
        ("tail", lambda graphs: graphs.pop("step")),
        ("tail", lambda graphs: graphs.update(statistics=graphs.pop("fill"))),
        ("tail", lambda graphs: graphs.update(other=graphs.pop("fill"))),
        ("norm", lambda graphs: graphs.pop("statistics")),
        ("norm", lambda graphs: graphs.update(step=graphs.pop("statistics"))),
    ],
)
def test_a_rung_has_the_graphs_of_its_kind(
    complete: Manifest, rung: str, change: Callable[[dict[str, Any]], object]
) -> None:
    value = loaded(complete)
    change(value["rungs"][rung]["graphs"])
    with pytest.raises(BundleError, match="graphs"):
        parse_manifest(signed(value))


def test_an_unknown_rung_is_named(complete: Manifest) -> None:
    value = loaded(complete)
    value["rungs"]["middle"] = value["rungs"].pop("tail")
    with pytest.raises(BundleError, match="unknown keys: middle"):
        parse_manifest(signed(value))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@settings(max_examples=300)
@given(data=st.data(), schema=st.sampled_from([1, 2]))
def test_a_changed_manifest_is_read_back_as_it_is_or_refused(
    complete: Manifest, first: Manifest, schema: int, data: st.DataObject
) -> None:
    """Whatever is changed, moved or left out, under a hash that is right for it."""
    value = loaded(complete if schema == 2 else first)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(value))
        container, key = data.draw(st.sampled_from(found))
        other, source = data.draw(st.sampled_from(found))
        change = data.draw(st.sampled_from(["replace", "copy", "remove", "add"]))
        if change == "replace":
            container[key] = data.draw(JSON)
        elif change == "copy":
            container[key] = json.loads(json.dumps(other[source]))
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[data.draw(st.text())] = data.draw(JSON)
    content = signed(value)
    try:
        parsed = parse_manifest(content)
    except BundleError:
        return
    assert parsed.to_json() == content
    assert loaded(parsed) == json.loads(content)
