"""manifest.json: what a bundle holds, as canonical JSON that names its own hash."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from sel_edge.bundle.fields import Fields
from sel_edge.bundle.preprocessing import Preprocessing, parse_preprocessing
from sel_edge.bundle.rungs import Rung, graph_file, parse_rungs
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.core.errors import BundleError
from sel_edge.core.files import canonical_json, sha256_bytes
from sel_edge.core.standin import StandIn
from sel_edge.mcu.image import MAX_BYTES as MAX_IMAGE_BYTES

SCHEMA = 2
"""The version that is written."""
FORWARD_ONLY = 1
"""The version before it, which has neither rungs nor an int8 graph."""
MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "infer.onnx"
MOMENTS_FILE = "moments.onnx"
WEIGHTS_FILE = "weights.safetensors"
ANCHORS_FILE = "anchors.safetensors"
INT8_FILE = "infer-int8.onnx"
MCU_FILE = "mcu.img"
OPTIONAL = ("mcu", "moments")
"""Keys that a manifest lacks where it has no such thing."""
MEMBERS = (GRAPH_FILE, WEIGHTS_FILE, ANCHORS_FILE)
"""The files that every bundle has."""

MAX_MANIFEST_BYTES = 4 * 2**20
MAX_MACS = 2**40
"""Multiply-accumulates of one frame: far above any network for the edge, so that the operations of
billions of frames still add up within 64 bits."""
MAX_CHANNELS = 4096
"""Of the moments: matrices of twice their side are computed with."""
MAX_NATS = 1e6


@dataclass(frozen=True)
class ModelInfo:
    """The network's name and size.

    Attributes:
        name: architecture, e.g. "resnet18".
        width: channels of the first block.
        parameters: how many there are.
        forward_macs: multiply-accumulates of one frame.
    """

    name: str
    width: int
    parameters: int
    forward_macs: int


@dataclass(frozen=True)
class Moments:
    """The graph moments.onnx, which reads the shipped weights whatever the network has learned.

    Attributes:
        channels: C of its shape [n, 2, C].
        macs: multiply-accumulates of one frame.
    """

    channels: int
    macs: int


@dataclass(frozen=True)
class Mcu:
    """The model image for microcontrollers.

    Attributes:
        file: always `MCU_FILE`.
        profile: name of the board that it was exported for.
        arena_bytes: memory of one inference.
    """

    file: str
    profile: str
    arena_bytes: int


@dataclass(frozen=True)
class Member:
    """A file of the bundle: its SHA-256 in hex digits and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        model: the network.
        classes: K different names, in label order.
        preprocessing: what the engine does to a frame.
        temperature: T of the embarrassment that the stand-in is calibrated to: always 1.5.
        head_weight, head_bias: tensors of the classifier in the weights, float32 [K, F] and [K].
        features: F, the length of a feature vector.
        standin: curve from uncertainty to expected embarrassment.
        anchors_held_out: whether the network was never trained on the anchors.
        accuracy: name of a test set -> share of correct answers, 0..1.
        provenance: where it comes from: data, recipe, commit, versions.
        rungs: name, one of `RUNGS` -> a way of learning that the bundle holds graphs for.
        int8: file of the forward graph in 8-bit integers; None where there is none.
        moments: what moments.onnx says of a frame; None where there is no such graph.
        mcu: the model image for microcontrollers; None where there is none.
        members: file name -> hash and size; filled in by `write_bundle`.
        schema: version of the format; filled in by `write_bundle`.
    """

    model: ModelInfo
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    head_weight: str
    head_bias: str
    features: int
    standin: StandIn
    anchors_held_out: bool
    accuracy: Mapping[str, float]
    provenance: Mapping[str, Any]
    rungs: Mapping[str, Rung] = field(default_factory=dict)
    int8: str | None = None
    moments: Moments | None = None
    mcu: Mcu | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def files(self) -> tuple[str, ...]:
        """The files beside the manifest that a bundle with this content has."""
        graphs = [graph.file for rung in self.rungs.values() for graph in rung.graphs.values()]
        moments = [] if self.moments is None else [MOMENTS_FILE]
        mcu = [] if self.mcu is None else [self.mcu.file]
        return (*MEMBERS, *moments, *graphs, *([] if self.int8 is None else [self.int8]), *mcu)

    @cached_property
    def bundle_hash(self) -> str:
        """SHA-256 of the canonical manifest: names the whole content of the bundle."""
        return sha256_bytes(canonical_json(self._content()))

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON values, its hash included."""
        return {**self._content(), "bundle_hash": self.bundle_hash}

    def to_json(self) -> bytes:
        """The content of manifest.json."""
        return canonical_json(self.as_dict())

    def _content(self) -> dict[str, Any]:
        content = asdict(self)
        if self.schema == FORWARD_ONLY:
            del content["rungs"], content["int8"]
        for name in OPTIONAL:
            if content[name] is None:
                del content[name]
        return content


def parse_manifest(content: bytes) -> Manifest:
    """Read manifest.json, refusing whatever `Manifest.to_json` would not have written.

    Raises:
        BundleError: it is damaged, of another schema, or has unknown, missing or impossible values.
    """
    try:
        return _parse(content)
    except RecursionError as error:
        raise _unreadable("it is nested too deeply") from error


def _parse(content: bytes) -> Manifest:
    value = _load(content)
    schema = value.get("schema")
    if schema not in (FORWARD_ONLY, SCHEMA):
        raise BundleError(
            f"The bundle has schema {schema!r}.",
            f"This version of sel-edge reads schema {FORWARD_ONLY} and {SCHEMA}.",
            "Export the bundle again with this version, or use the version that wrote it.",
        )
    fields = Fields("manifest", value)
    stated_hash = fields.text("bundle_hash")
    manifest = Manifest(
        model=_model(fields.object("model")),
        classes=_classes(fields),
        preprocessing=parse_preprocessing(fields.object("preprocessing")),
        temperature=_temperature(fields),
        head_weight=fields.text("head_weight"),
        head_bias=fields.text("head_bias"),
        features=fields.integer("features", at_least=1),
        standin=_standin(fields.object("standin")),
        anchors_held_out=fields.boolean("anchors_held_out"),
        accuracy=_accuracy(fields.object("accuracy")),
        provenance=fields.mapping("provenance"),
        members=_members(fields.object("members")),
        schema=fields.integer("schema", at_least=1),
    )
    if schema == SCHEMA:
        manifest = _with_graphs(manifest, fields)
    files = manifest.files
    fields.require(len(set(files)) == len(files), "rungs", "graphs in files of their own")
    fields.require(set(manifest.members) == set(files), "members", ", ".join(files))
    fields.finish()
    if stated_hash != manifest.bundle_hash or manifest.to_json() != content:
        raise BundleError(
            "The manifest of the bundle does not match its own hash.",
            "A manifest exactly as `sel-edge export` wrote it is expected.",
            "Copy the bundle again or export it again.",
        )
    return manifest


def _load(content: bytes) -> dict[str, Any]:
    try:
        if len(content) > MAX_MANIFEST_BYTES:
            raise ValueError(f"it is larger than {MAX_MANIFEST_BYTES} bytes")
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        canonical_json(value)  # refuses NaN and infinity, which Python's parser lets through
    except ValueError as error:
        raise _unreadable(str(error)) from error
    return value


def _unreadable(detail: str) -> BundleError:
    return BundleError(
        f"The manifest of the bundle cannot be read: {detail}.",
        "A manifest as `sel-edge export` writes it is expected.",
        "Copy the bundle again or export it again.",
    )


def _with_graphs(manifest: Manifest, fields: Fields) -> Manifest:
    """The manifest with what schema 2 has more than schema 1."""
    numbers = math.prod(manifest.preprocessing.input_shape)
    return replace(
        manifest,
        rungs=parse_rungs(fields.object("rungs"), numbers),
        int8=fields.maybe("int8", lambda name: graph_file(fields, name)),
        moments=_moments(fields.object("moments")) if "moments" in fields.names() else None,
        mcu=_mcu(fields.object("mcu")) if "mcu" in fields.names() else None,
    )


def _model(fields: Fields) -> ModelInfo:
    return fields.finished(
        ModelInfo(
            name=fields.text("name"),
            width=fields.integer("width", at_least=1),
            parameters=fields.integer("parameters", at_least=1),
            forward_macs=fields.integer("forward_macs", at_least=1, at_most=MAX_MACS),
        )
    )


def _moments(fields: Fields) -> Moments:
    return fields.finished(
        Moments(
            channels=fields.integer("channels", at_least=1, at_most=MAX_CHANNELS),
            macs=fields.integer("macs", at_least=1, at_most=MAX_MACS),
        )
    )


def _mcu(fields: Fields) -> Mcu:
    return fields.finished(
        Mcu(
            file=fields.choice("file", (MCU_FILE,)),
            profile=fields.text("profile"),
            arena_bytes=fields.integer("arena_bytes", at_least=1, at_most=MAX_IMAGE_BYTES),
        )
    )


def _temperature(fields: Fields) -> float:
    temperature = fields.number("temperature")
    fields.require(temperature == TEMPERATURE, "temperature", f"{TEMPERATURE}")
    return temperature


def _classes(fields: Fields) -> tuple[str, ...]:
    classes = fields.texts("classes")
    fields.require(len(classes) >= 2, "classes", "at least two names")
    fields.require(len(set(classes)) == len(classes), "classes", "names that all differ")
    return classes


def _standin(fields: Fields) -> StandIn:
    standin = StandIn(
        knots=fields.numbers("knots", 0.0, MAX_NATS),
        expected=fields.numbers("expected", 0.0, MAX_NATS),
    )
    for name, values in (("knots", standin.knots), ("expected", standin.expected)):
        fields.require(list(values) == sorted(values), name, "numbers that do not fall")
    fields.require(
        len(standin.knots) == len(standin.expected) >= 1, "expected", "as many numbers as knots"
    )
    return fields.finished(standin)


def _accuracy(fields: Fields) -> dict[str, float]:
    return {name: fields.number(name, at_least=0.0, at_most=1.0) for name in fields.names()}


def _members(fields: Fields) -> dict[str, Member]:
    return {name: _member(fields.object(name)) for name in fields.names()}


def _member(fields: Fields) -> Member:
    member = Member(sha256=fields.text("sha256"), bytes=fields.integer("bytes", at_least=1))
    return fields.finished(member)
