"""What estimating batch statistics costs, and which operators do it fastest.

Times, in turn in one process so that a drifting machine hurts all alike: torch's plain forward pass
in evaluation mode, onnxruntime's on the folded network, and the `norm` graph in several
formulations. The bar: at most 1.15 of torch's plain forward pass.

    python tools/bench_norm.py [--width 64] [--frames 64] [--side 32] [--threads 1] [--quick]

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch

from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.graph import Graph, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.norm import BLEND, FASTEST, Formulation, affine, moments, norm_graph
from sel_edge.core import provenance
from sel_edge.pretrain.model import ResNet18

WARM_UP = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 5 if options.quick else 25
    measured = measure(options.width, options.frames, options.side, options.threads, rounds)
    print(json.dumps(measured))


def measure(width: int, frames: int, side: int, threads: int, rounds: int) -> dict[str, object]:
    """Run everything in turn and return medians with spread."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = ResNet18(10, width).eval()
    forward = fold(load_graph(torch_model(model, (3, side, side)), frames))
    image = torch.randn(frames, 3, side, side)
    feeds = {"image": image.numpy(), BLEND: np.array(1.0, dtype=np.float32)}
    graphs = {name: norm_graph(forward, how) for name, how in FORMULATIONS.items()}
    timed: dict[str, Callable[[], Any]] = {
        "torch": lambda: model(image),
        "onnxruntime": runner(forward.graph, feeds, threads),
        **{name: runner(graph, feeds, threads) for name, graph in graphs.items()},
    }
    with torch.no_grad():
        times = interleave(timed, rounds)
        expected = model.train()(image).numpy()
    rows = {name: summary(values) for name, values in times.items()}
    for row in rows.values():
        row["ratio_cpu"] = row["cpu_ms"] / rows["torch"]["cpu_ms"]
        row["ratio_wall"] = row["wall_ms"] / rows["torch"]["wall_ms"]
    for name in graphs:
        error = np.abs(timed[name]() - expected).max() / np.abs(expected).max()
        rows[name]["logits_max_rel_err"] = float(error)
    return {
        "network": f"resnet18 width {width}, {frames} frames of {side}x{side}, fp32",
        "threads": threads,
        "rounds": rounds,
        "rows": rows,
        "norm_over_torch": rows[CHOSEN]["ratio_cpu"],
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def runner(graph: Graph, feeds: Mapping[str, Any], threads: int) -> Callable[[], Any]:
    """A session of its own, opened once; gives all that the graph gives, logits first."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    model = to_model(graph).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {name: feeds[name] for name in graph.inputs}
    names = sorted(graph.outputs, key=lambda name: name != "logits")
    return lambda: session.run(names, given)[0]


def interleave(
    timed: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall milliseconds of every round behind the first ones, the functions in turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    for _ in range(rounds + WARM_UP):
        for name, function in timed.items():
            cpu, wall = time.process_time(), time.perf_counter()
            function()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            times[name].append((1e3 * cpu, 1e3 * wall))
    return {name: values[WARM_UP:] for name, values in times.items()}


def summary(values: list[tuple[float, float]]) -> dict[str, float]:
    """Medians with the quartiles of the CPU time and the count."""
    low, cpu, high = statistics.quantiles([value[0] for value in values], n=4)
    wall = statistics.median(value[1] for value in values)
    return {"cpu_ms": cpu, "q1_ms": low, "q3_ms": high, "wall_ms": wall, "n": len(values)}


def as_rows(graph: Graph, tensor: str) -> tuple[str, int]:
    """A row per image and channel, and its length."""
    batch, channels, *spatial = graph.shape(tensor)
    pixels = math.prod(spatial)
    return graph.reshape(tensor, batch * channels, pixels), pixels


def over_images(graph: Graph, values: str, like: str) -> str:
    """The mean per channel of a value per image and channel."""
    table = graph.reshape(values, *graph.shape(like)[:2])
    return graph.add("ReduceMean", table, graph.ints(0), keepdims=0)


def mean_at_once(graph: Graph, tensor: str) -> str:
    """One reduction over images and pixels."""
    return graph.add("ReduceMean", tensor, graph.ints(0, 2, 3), keepdims=0)


def mean_pooled(graph: Graph, tensor: str) -> str:
    """GlobalAveragePool, which onnxruntime can run in its blocked layout."""
    return over_images(graph, graph.add("GlobalAveragePool", tensor), tensor)


def mean_by_product(graph: Graph, tensor: str) -> str:
    """A matrix product with a constant vector."""
    rows, pixels = as_rows(graph, tensor)
    weights = graph.constant(np.full((pixels, 1), 1 / pixels, dtype=np.float32))
    return over_images(graph, graph.add("MatMul", rows, weights), tensor)


def square_reduced(graph: Graph, tensor: str) -> str:
    """ReduceSumSquare of every row."""
    rows, pixels = as_rows(graph, tensor)
    sums = graph.add("ReduceSumSquare", rows, graph.ints(1), keepdims=0)
    mean = over_images(graph, sums, tensor)
    return graph.add("Mul", mean, graph.scalar(1 / pixels, like=mean))


def square_by_product(graph: Graph, tensor: str) -> str:
    """The matrix product of every row with itself, however short it is."""
    rows, pixels = as_rows(graph, tensor)
    row = graph.reshape(rows, graph.shape(rows)[0], 1, pixels)
    product = graph.add("MatMul", row, graph.transpose(row, 0, 2, 1))
    mean = over_images(graph, product, tensor)
    return graph.add("Mul", mean, graph.scalar(1 / pixels, like=mean))


def by_two(
    mean: Callable[[Graph, str], str], square: Callable[[Graph, str], str] | None = None
) -> Callable[[Graph, str], tuple[str, str]]:
    """Moments from a mean, and a mean of squares or else the mean of tensor * tensor."""

    def found(graph: Graph, tensor: str) -> tuple[str, str]:
        first = mean(graph, tensor)
        second = (
            mean(graph, graph.add("Mul", tensor, tensor))
            if square is None
            else square(graph, tensor)
        )
        return first, graph.add("Sub", second, graph.add("Mul", first, first))

    return found


def by_training(graph: Graph, tensor: str) -> tuple[str, str]:
    """BatchNormalization in training mode; what it normalizes is thrown away.

    onnxruntime 1.27 writes the new statistics over the constants that it is given as the old ones,
    so every layer needs constants of its own, which nothing else reads.
    """
    ones, zeros = ones_and_zeros(graph, graph.shape(tensor)[1])
    old_mean = graph.constant(graph.constants[zeros].copy(), f"{tensor}.mean")
    old_variance = graph.constant(graph.constants[ones].copy(), f"{tensor}.variance")
    inputs = (tensor, ones, zeros, old_mean, old_variance)
    attributes = {"training_mode": 1, "momentum": 0.0}
    _, mean, variance = graph.add_node("BatchNormalization", inputs, attributes, outputs=3)
    return mean, variance


def by_layer_normalization(graph: Graph, tensor: str) -> tuple[str, str]:
    """Mean and deviation that LayerNormalization finds for every row; its result is dropped."""
    rows, pixels = as_rows(graph, tensor)
    inputs = (rows, graph.constant(np.ones(pixels, dtype=np.float32)))
    _, mean, inverse = graph.add_node("LayerNormalization", inputs, {"epsilon": 1e-12}, outputs=3)
    variance = graph.add("Reciprocal", graph.add("Mul", inverse, inverse))
    square = graph.add("Add", variance, graph.add("Mul", mean, mean))
    first = over_images(graph, mean, tensor)
    second = over_images(graph, square, tensor)
    return first, graph.add("Sub", second, graph.add("Mul", first, first))


def ones_and_zeros(graph: Graph, channels: int) -> tuple[str, str]:
    """Constants for a BatchNormalization that only scales and shifts."""
    ones, zeros = np.ones(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
    return graph.constant(ones), graph.constant(zeros)


def multiply_add(graph: Graph, tensor: str, scale: str, shift: str) -> str:
    """Two operators that broadcast."""
    channels = graph.shape(tensor)[1]
    scaled = graph.add("Mul", tensor, graph.reshape(scale, channels, 1, 1))
    return graph.add("Add", scaled, graph.reshape(shift, channels, 1, 1))


def normalization(graph: Graph, tensor: str, scale: str, shift: str) -> str:
    """BatchNormalization with mean 0 and variance 1, however large the image is."""
    ones, zeros = ones_and_zeros(graph, graph.shape(tensor)[1])
    return graph.add("BatchNormalization", tensor, scale, shift, zeros, ones, epsilon=0.0)


def depthwise(graph: Graph, tensor: str, scale: str, shift: str) -> str:
    """A depthwise 1x1 convolution, however small the image is."""
    channels = graph.shape(tensor)[1]
    weight = graph.reshape(scale, channels, 1, 1, 1)
    return graph.add("Conv", tensor, weight, shift, group=channels, kernel_shape=[1, 1])


CHOSEN = "chosen: by size"
FORMULATIONS: dict[str, Formulation] = {
    CHOSEN: FASTEST,
    "chosen moments, Mul + Add": Formulation(moments, multiply_add),
    "chosen moments, BatchNormalization": Formulation(moments, normalization),
    "chosen moments, depthwise Conv": Formulation(moments, depthwise),
    "ReduceMean of z and z * z": Formulation(by_two(mean_at_once), affine),
    "ReduceMean, ReduceSumSquare": Formulation(by_two(mean_at_once, square_reduced), affine),
    "GlobalAveragePool of z and z * z": Formulation(by_two(mean_pooled), affine),
    "MatMul with ones, ReduceSumSquare": Formulation(
        by_two(mean_by_product, square_reduced), affine
    ),
    "ReduceMean, MatMul of rows": Formulation(by_two(mean_at_once, square_by_product), affine),
    "BatchNormalization in training mode": Formulation(by_training, affine),
    "LayerNormalization": Formulation(by_layer_normalization, affine),
}


if __name__ == "__main__":
    main()
