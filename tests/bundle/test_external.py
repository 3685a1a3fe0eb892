"""Finding every byte that a graph reads from files, against the onnx package itself."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    TrainingInfoProto,
)

from sel_edge.bundle.external import MAX_DEPTH, TENSOR_PATHS, Place, external_places
from sel_edge.core.errors import BundleError


def tensor(location: str) -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    made.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "8"), ("location", location), ("length", "4")):
        made.external_data.add(key=key, value=value)
    return made


def varint(value: int, length: int = 1) -> bytes:
    """A number in at least `length` bytes; the shortest encoding takes no choice."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * (length - len(groups))
    return bytes([group | 0x80 for group in groups[:-1]] + [groups[-1]])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field as a writer encodes it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_every_path_from_a_model_to_a_tensor_in_onnxs_own_schema_is_walked() -> None:
    """The table is the schema: onnx's descriptors lead to tensors by exactly these fields."""
    leads: dict[str, dict[int, str]] = {}

    def reaches_tensor(message: Descriptor, seen: frozenset[str]) -> bool:
        if message.name == "TensorProto":
            return True
        inner = [f.message_type for f in message.fields if f.type == FieldDescriptor.TYPE_MESSAGE]
        return any(
            reaches_tensor(each, seen | {message.name}) for each in inner if each.name not in seen
        )

    def walk(message: Descriptor) -> None:
        if message.name in leads or message.name == "TensorProto":
            return
        leads[message.name] = {
            field.number: field.message_type.name
            for field in message.fields
            if field.type == FieldDescriptor.TYPE_MESSAGE
            and reaches_tensor(field.message_type, frozenset())
        }
        for field in message.fields:
            if field.number in leads[message.name]:
                walk(field.message_type)

    walk(ModelProto.DESCRIPTOR)
    leads["TensorProto"] = {13: "StringStringEntryProto"}
    assert TensorProto.DESCRIPTOR.fields_by_number[13].name == "external_data"
    assert leads == {kind: dict(fields) for kind, fields in TENSOR_PATHS.items()}


def test_locations_are_found_wherever_a_tensor_can_hide() -> None:
    inner = GraphProto(initializer=[tensor("in-subgraph")])
    attributes = [
        AttributeProto(name="t", t=tensor("in-attribute")),
        AttributeProto(name="g", g=inner),
        AttributeProto(name="ts", tensors=[tensor("in-attribute-list")]),
        AttributeProto(name="s", sparse_tensor=SparseTensorProto(values=tensor("in-sparse"))),
    ]
    model = ModelProto(
        graph=GraphProto(
            node=[NodeProto(op_type="If", attribute=attributes)],
            initializer=[tensor("in-graph")],
            sparse_initializer=[SparseTensorProto(indices=tensor("in-indices"))],
        ),
        functions=[FunctionProto(node=[NodeProto(attribute=[AttributeProto(t=tensor("in-fn"))])])],
        training_info=[TrainingInfoProto(algorithm=GraphProto(initializer=[tensor("in-train")]))],
    )
    names = ["in-subgraph", "in-attribute", "in-attribute-list", "in-sparse"]
    names += ["in-graph", "in-indices", "in-fn", "in-train"]
    assert external_places(model.SerializeToString()) == {Place(name, 8, 12) for name in names}


def test_a_tensor_in_two_parts_hides_no_location() -> None:
    """Readers join a field that comes twice: its entries are those of both parts."""
    parts = [
        AttributeProto(name="t", t=tensor(name)).SerializeToString() for name in ("w", "secret.bin")
    ]
    joined = AttributeProto.FromString(b"".join(parts))
    assert [entry.value for entry in joined.t.external_data if entry.key == "location"] == [
        *("w", "secret.bin")
    ]
    attribute = field(5, b"".join(parts))
    model = field(7, field(1, attribute))
    assert ModelProto.FromString(model).graph.node[0].attribute[0].t == joined.t
    assert {place.location for place in external_places(model)} == {"w", "secret.bin"}


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "w"},
        {"location": "w", "offset": "0"},
        {"offset": "0", "length": "4"},
        {"offset": "0", "length": "4", "checksum": "0"},
        {"location": "w", "offset": "-4", "length": "4"},
        {"location": "w", "offset": "0", "length": "-4"},
        {"location": "w", "offset": "", "length": "4"},
        {"location": "w", "offset": "010", "length": "4"},
        {"location": "w", "offset": "0x10", "length": "4"},
        {"location": "w", "offset": " 1", "length": "4"},
        {"location": "w", "offset": "1\n", "length": "4"},
        {"location": "w", "offset": "\u0661", "length": "4"},
        {"location": "w", "offset": "0", "length": "9" * 30},
        {"location": "w", "offset": "0", "length": "4", "checksum": "0"},
        {"location": "w", "offset": "0", "length": "4", "prepacked_0": "key|0|4|sum"},
    ],
)
def test_a_place_is_stated_in_full_and_in_plain_numbers(entries: dict[str, str]) -> None:
    with pytest.raises(BundleError, match="tensor"):
        external_places(model_with([*entries.items()]))


def test_a_place_is_stated_once() -> None:
    entries = [("location", "w"), ("offset", "0"), ("length", "4"), ("offset", "4")]
    with pytest.raises(BundleError, match="once each"):
        external_places(model_with(entries))


def model_with(entries: list[tuple[str, str]]) -> bytes:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    for key, value in entries:
        made.external_data.add(key=key, value=value)
    return bytes(ModelProto(graph=GraphProto(initializer=[made])).SerializeToString())


def test_a_graph_without_external_data_names_no_file() -> None:
    inline = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0])
    model = ModelProto(producer_name="location", graph=GraphProto(initializer=[inline]))
    assert external_places(model.SerializeToString()) == set()


@given(st.binary(max_size=100))
def test_bytes_of_any_kind_end_in_locations_or_in_an_error_of_ours(content: bytes) -> None:
    with contextlib.suppress(BundleError):
        external_places(content)


@given(data=st.data())
def test_a_cut_off_model_never_hangs_or_crashes(data: st.DataObject) -> None:
    content = ModelProto(graph=GraphProto(initializer=[tensor("w")])).SerializeToString()
    cut = data.draw(st.integers(1, len(content) - 1))
    with pytest.raises(BundleError):
        external_places(content[:cut])


def test_endless_nesting_is_refused() -> None:
    graph = b""
    for _ in range(MAX_DEPTH):
        graph = field(1, field(5, field(6, graph)))  # graph > node > attribute > graph
    with pytest.raises(BundleError, match="nested too deeply"):
        external_places(field(7, graph))


def test_a_tag_that_onnxruntime_cuts_to_32_bits_hides_no_graph() -> None:
    """Frozen bytes: field 7, the graph, with 2**32 added to its tag; it opens secret.bin."""
    hidden = bytes.fromhex(
        "ba80808010302a2e080110014201776a0b0a066f66667365741201306a160a086c6f6361"
        "74696f6e120a7365637265742e62696e7001"
    )
    with pytest.raises(BundleError, match="no tag of a field"):
        external_places(hidden)


@pytest.mark.parametrize(
    "content", [b"\x02\x00", b"\x00\x01", b"\xba\x00\x00", b"\x3a\x80\x00", b"\xff" * 12]
)
def test_tags_and_lengths_that_no_writer_produces_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError):
        external_places(content)


@given(data=st.data())
def test_every_other_encoding_of_a_tag_or_length_is_refused_or_found(data: st.DataObject) -> None:
    """A model > graph > tensor > location with any tag and length written in another way."""
    number = st.sampled_from([0, 0, 0, 2**32, 2**33, 2**35, 2**61])

    def odd(tag: int, content: bytes) -> bytes:
        key = (tag << 3 | 2) + data.draw(number)
        longer = data.draw(st.sampled_from([1, 1, 1, 2, 5, 10]))
        size = data.draw(st.sampled_from([1, 1, 1, 2, 5, 10]))
        return varint(key, longer) + varint(len(content), size) + content

    entries = [(b"location", b"secret.bin"), (b"offset", b"8"), (b"length", b"4")]
    tensor = b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries[1:])
    tensor += odd(13, odd(1, entries[0][0]) + odd(2, entries[0][1]))
    try:
        found = external_places(odd(7, odd(5, tensor)))
    except BundleError:
        return
    assert found == {Place("secret.bin", 8, 12)}
