"""What the compiler asks of an ONNX model before it looks at a single weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, checker, inliner, version_converter

from sel_edge.compile.graph import OPSET
from sel_edge.compile.read import plain, tensors_of
from sel_edge.core.errors import BundleError, SelEdgeError

OLDEST_OPSET = 7
NEWEST_OPSET = 22
"""What onnxruntime 1.22 runs, the oldest version that this package allows."""
MAX_NODES = 20_000
MAX_CALL_DEPTH = 16
MAX_IMAGE_ELEMENTS = 2**28
OWN_OUTPUTS = frozenset({"features", "logits"})
EXPORT_AGAIN = "Export the network again, in evaluation mode and with constant shapes."

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_QUANTIZED = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
)
_RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Check a model, and bring it to one flat graph of an opset that the compiler knows.

    Args:
        model: with all weights inside; left as it is.

    Returns:
        A model of opset 18 to 22 without local functions, with one float32 input of rank 3 or 4
        whose dimensions behind the first are fixed.

    Raises:
        BundleError: the model is malformed, or is no plain image or signal classifier.
    """
    with understood("The ONNX model is malformed"):
        opset = _opset(model)
        _require_few(model)
        _require_text(model)
        _require_operators(model, {_key(f) for f in model.functions})
        _require_weights(model)
        if model.functions:
            model = inliner.inline_local_functions(model)
            _require_operators(model, set())
        _require_input(model)
        _require_outputs(model)
        checker.check_model(model)
        if opset < OPSET:
            model = version_converter.convert_version(model, OPSET)
    return model


@contextmanager
def understood(problem: str) -> Iterator[None]:
    """Turn whatever onnx raises into an error that says what the problem is."""
    try:
        yield
    except SelEdgeError:
        raise
    except Exception as error:  # onnx has no common error type
        detail = plain(" ".join(str(error).split()), 300).rstrip(".")
        raise BundleError(
            f"{problem}: {detail or type(error).__name__}.",
            "A network that onnx's own checks accept is expected.",
            EXPORT_AGAIN,
        ) from error


def described(node: NodeProto) -> str:
    """A node in words, for error messages."""
    name = node.name or next(iter(node.output), "")
    return f"the operator {plain(node.op_type)} ({plain(name)})"


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The input that is no initializer.

    Raises:
        BundleError: there is none, or more than one.
    """
    constants = {initializer.name for initializer in model.graph.initializer}
    found: list[onnx.ValueInfoProto] = [
        value for value in model.graph.input if value.name not in constants
    ]
    if len(found) != 1:
        names = ", ".join(plain(value.name) for value in found[:5]) or "none"
        raise BundleError(
            f"The ONNX model has {len(found)} inputs ({names}).",
            "A classifier with one input, the image or signal, is expected.",
            "Export the network with one input; constants belong into initializers.",
        )
    return found[0]


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the default domain's operators; 0 if the model names none or several."""
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    return versions.pop() if len(versions) == 1 else 0


def no_linear_end() -> BundleError:
    """The error for a network that is no classifier with a linear head."""
    return BundleError(
        "The ONNX model does not end in the logits of a linear layer.",
        "A classifier is expected whose last operator is a Gemm, or a MatMul with or without an "
        "Add, with constant weights on features [N, F]; a Softmax behind it may stay.",
        "Export the classifier itself, without anything behind its logits.",
    )


def _opset(model: onnx.ModelProto) -> int:
    opset = opset_of(model)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise BundleError(
            f"The ONNX model asks for opset {opset}.",
            f"Opsets {OLDEST_OPSET} to {NEWEST_OPSET} are known here.",
            f"Export the network again with opset {OPSET}.",
        )
    return opset


def _require_few(model: onnx.ModelProto) -> None:
    nodes = _count(model) + len(model.graph.initializer)
    if nodes > MAX_NODES:
        raise BundleError(
            f"The ONNX model has {nodes} operators and initializers.",
            f"At most {MAX_NODES} are expected of a network for small boards.",
            "Choose a smaller network.",
        )


def _require_text(model: onnx.ModelProto) -> None:
    """Refuse names that are no UTF-8; protobuf hands them over as bytes."""
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    named = [*model.graph.input, *model.graph.output, *tensors_of(model), *model.functions]
    for node in (node for body in bodies for node in body):
        named += [node, *node.attribute]
        if any(isinstance(t, bytes) for t in (*node.input, *node.output, node.op_type)):
            raise ValueError("the name of an operator or tensor is no text")
    if any(isinstance(item.name, bytes) for item in named):
        raise ValueError("a name in it is no text")


def _count(model: onnx.ModelProto) -> int:
    """How many nodes the graph has once every call of a local function is replaced by its body."""
    bodies = {_key(function): function.node for function in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def count(nodes: Iterable[NodeProto], callers: tuple[tuple[str, str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in bodies and key not in sizes:
                if key in callers or len(callers) >= MAX_CALL_DEPTH:
                    raise BundleError(
                        f"The function {plain(key[1])} of the ONNX model is nested too deeply.",
                        f"Functions that call each other at most {MAX_CALL_DEPTH} deep, and never "
                        "themselves, are expected.",
                        "Export the network again with all functions inlined.",
                    )
                sizes[key] = count(bodies[key], (*callers, key))
            total += sizes.get(key, 1)
        return total

    for key, body in bodies.items():  # a function that nobody calls must not call itself either
        sizes[key] = count(body, (key,))
    return count(model.graph.node, ())


def _key(function: onnx.FunctionProto) -> tuple[str, str, str]:
    return function.domain, function.name, function.overload


def _require_operators(model: onnx.ModelProto, functions: set[tuple[str, str, str]]) -> None:
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    for node in (node for body in bodies for node in body):
        if (node.domain, node.op_type, node.overload) not in functions:
            _require_operator(node)


def _require_operator(node: NodeProto) -> None:
    if node.domain not in ("", "ai.onnx"):
        raise BundleError(
            f"The ONNX model holds {described(node)} of the domain {plain(node.domain)}.",
            "Operators of ONNX's default domain are expected.",
            "Export the network again without operators of one runtime's or one tool's own.",
        )
    kinds = {a.type for a in node.attribute}
    if node.op_type in _CONTROL_FLOW or kinds & {AttributeProto.GRAPH, AttributeProto.GRAPHS}:
        raise BundleError(
            f"The ONNX model holds {described(node)}, which decides at run time what is computed.",
            "A network without control flow is expected.",
            "Export the network with fixed branches, for instance by tracing it with an example.",
        )
    if node.op_type in _QUANTIZED:
        raise BundleError(
            f"The ONNX model is quantized: it holds {described(node)}.",
            "A float32 network is expected; the compiler quantizes it itself.",
            "Export the network as it was before quantization.",
        )
    if "Sequence" in node.op_type or node.op_type.startswith("Optional"):
        raise BundleError(
            f"The ONNX model holds {described(node)} on sequences or optional values.",
            "Operators on tensors are expected.",
            "Let the exporter simplify the network (torch.onnx.export does, unless it is told "
            "optimize=False), or write its splits as slices.",
        )
    if node.op_type in _RANDOM:
        raise BundleError(
            f"The ONNX model draws random numbers in {described(node)}.",
            "A network that gives one answer for one image is expected.",
            "Export the network in evaluation mode.",
        )


def _require_weights(model: onnx.ModelProto) -> None:
    for tensor in tensors_of(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise BundleError(
                f"The weights {plain(tensor.name)} of the ONNX model are missing: they lie in "
                "another file.",
                "A model with all its weights is expected.",
                "Keep the files of weights beside the model, or save it with all weights inside.",
            )
    if model.graph.sparse_initializer:
        raise BundleError(
            "The ONNX model holds sparse initializers.",
            "Dense weights are expected.",
            "Save the network with dense weights.",
        )


def _require_input(model: onnx.ModelProto) -> None:
    value = image_input(model)
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type != TensorProto.FLOAT:
        raise BundleError(
            f"The input {plain(value.name)} of the ONNX model is no float32 tensor.",
            "Images or signals enter as float32, normalized beforehand.",
            "Export the network in float32 and without its preprocessing.",
        )
    dims = kind.shape.dim
    if len(dims) not in (3, 4):
        raise BundleError(
            f"The input {plain(value.name)} of the ONNX model has {len(dims)} dimensions.",
            "Images have 4 (batch, channels, height, width) and signals 3 (batch, channels, "
            "length).",
            "Export the network with such an input.",
        )
    sizes = [dim.dim_value for dim in dims[1:]]
    if min(sizes) < 1 or (dims[0].HasField("dim_value") and dims[0].dim_value < 1):
        names = ", ".join(
            str(d.dim_value) if d.dim_value else plain(d.dim_param) or "?" for d in dims
        )
        raise BundleError(
            f"The input {plain(value.name)} of the ONNX model has the dynamic shape [{names}].",
            "Only the batch may be free; every other size must be known when the training step is "
            "compiled.",
            "Export the network with fixed channels, height and width (or length).",
        )
    if math.prod(sizes) > MAX_IMAGE_ELEMENTS:
        raise BundleError(
            f"One input of the ONNX model has {math.prod(sizes)} elements.",
            f"At most {MAX_IMAGE_ELEMENTS} are expected.",
            "Export the network for smaller images.",
        )


def _require_outputs(model: onnx.ModelProto) -> None:
    names = [plain(value.name) for value in model.graph.output]
    if len(names) != 1 and set(names) != OWN_OUTPUTS:
        raise BundleError(
            f"The ONNX model has {len(names)} outputs ({', '.join(names[:5])}).",
            "A classifier with one output, the logits, is expected.",
            "Export the network without auxiliary outputs.",
        )
