"""The int8 forward graph: the fp32 one, quantized statically with images to calibrate on.

onnxruntime's quantizer does the work. What is decided here, and why, by measurements on a
ResNet-18 of width 16 and eight classes of CIFAR-10 (`tools/bench_int8.py`):

- QuantizeLinear and DequantizeLinear around ordinary operators, so that any runtime can read it.
- Weights symmetric per output channel, in 7 of the 8 bits. x86 processors without VNNI add pairs of
  products in 16 bits and saturate; two products of 255 and 64 still fit. On an emulated one, 8 bits
  lost 2.8 points of accuracy and 7 bits nothing; elsewhere the 8th bit gains 0.1 points.
- Activations per tensor, unsigned. As signed ones, onnxruntime 1.27 on x86 leaves every convolution
  behind a residual sum in fp32, 2.8 times slower. They become signed, exactly, by taking 128 from
  values and zero points.
- Ranges from the smallest to the largest value seen: percentiles and entropy were not better.
- The pooling that makes the features and the linear layer behind it stay fp32: they cost next to
  nothing, and a device trains its head on the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from sel_edge.core.errors import DataError

BATCH = 32
"""Calibration images per run of the network."""

SMALLEST_RANGE = 1e-6
"""Least width of a range, for weights of a channel that are all zero. Their scale would be 1, and
the bias of the channel, whose scale is a multiple of that one, would be rounded away."""

QUANTIZED = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Gemm",
    "GlobalAveragePool",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
"""Operators that onnxruntime computes in int8; every other one stays fp32 between them."""

_HEAD = frozenset(
    {
        "AveragePool",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "MatMul",
        "ReduceMean",
        "Reshape",
        "Squeeze",
    }
)
"""Operators that stay fp32 where nothing but such operators follows them."""

_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Tells the quantizer that it need not advise to fold constants first: `fold` did."""


def quantize(model: onnx.ModelProto | bytes, calibration: NDArray[np.float32]) -> bytes:
    """Quantize a forward graph to int8.

    The same model and images give the same bytes on the same machine.

    Args:
        model: a forward graph with its weights inside, its batch normalization folded and a free
            batch size; input `image` float32 [n, C, H, W] or [n, C, L], outputs `features` float32
            [n, F] and `logits` float32 [n, K].
        calibration: float32 [m, C, H, W] or [m, C, L], preprocessed images as the device will see
            them; m at least 1. A few hundred do; a range that they never reach is cut off.

    Returns:
        An ONNX file with its weights inside and the same inputs and outputs.

    Raises:
        DataError: there are no images, or they have another shape or dtype than the network takes,
            or hold numbers that are not finite.
    """
    proto = onnx.load_from_string(
        model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    )
    _check(calibration, proto.graph.input[0])
    onnx.helper.set_model_props(proto, _PREPARED)
    with TemporaryDirectory(prefix="sel-edge-") as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            out,
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=_name_head(proto.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MinimumRealRange": SMALLEST_RANGE},
        )
        quantized = onnx.load(out)
    quantized.ClearField("metadata_props")
    quantized.graph.ClearField("value_info")
    data: bytes = quantized.SerializeToString(deterministic=True)
    return data


class _Batches:
    """Calibration images as the quantizer reads them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._parts: Iterator[NDArray[np.float32]] = iter(
            [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The inputs of the next run, None after the last."""
        part = next(self._parts, None)
        return None if part is None else {"image": part}


def _name_head(graph: onnx.GraphProto) -> list[str]:
    """Give the nodes that stay fp32 names of their own, and return these."""
    producers = {name: node for node in graph.node for name in node.output}
    tensors = [output.name for output in graph.output]
    names: list[str] = []
    while tensors:
        node = producers.pop(tensors.pop(), None)
        if node is not None and node.op_type in _HEAD:
            node.name = f"head.{len(names)}"
            names.append(node.name)
            tensors.extend(node.input)
    return names


def _check(images: NDArray[np.float32], image: onnx.ValueInfoProto) -> None:
    dims = image.type.tensor_type.shape.dim
    expected = tuple(dim.dim_value for dim in dims[1:])
    if images.dtype != np.float32 or images.shape[1:] != expected or len(images) < 1:
        raise DataError(
            f"The calibration images are {images.dtype} {list(images.shape)}.",
            f"At least one float32 image of shape {list(expected)} is needed to quantize.",
            "Preprocess the images as for the network, and give some hundred of them.",
        )
    if not np.isfinite(images).all():
        raise DataError(
            "The calibration images hold numbers that are not finite.",
            "The range of every tensor is measured on them, so every number must be finite.",
            "Leave the damaged images out.",
        )
