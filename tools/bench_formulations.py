"""How the convolutions of a training step are best computed: `compile/convolve.py`, timed.

Compiles `full` and `tail` of a ResNet-18 under different choices and times the steps in turn in one
process, so that a drifting machine hurts all alike: onnxruntime's Conv everywhere, the Winograd
domain along both dimensions of images up to a size and along the height of larger ones, tiles of 2
or 4 outputs, and transpositions in one step instead of two.

    python tools/bench_formulations.py [--width 64] [--batch 32] [--threads 1] [--quick]

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch

from sel_edge.compile import convolve, layout
from sel_edge.compile.blocks import layers_of, tail_cut
from sel_edge.compile.cost import cost
from sel_edge.compile.export import torch_model
from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Array, to_model
from sel_edge.compile.load import load_graph
from sel_edge.compile.optimizers import Sgd
from sel_edge.compile.rungs import StepGraphs, Trained, training_step
from sel_edge.compile.winograd import Line, best_line
from sel_edge.core import provenance
from sel_edge.pretrain.model import ResNet18
from tools.bench_training import WARM_UP, interleave, summary

SHARE = 0.1
CLASSES = 10


@dataclass(frozen=True)
class Choice:
    """A way to compute convolutions.

    Attributes:
        max_pixels: of an image that goes to the Winograd domain along both dimensions.
        max_height: of a larger image that goes there along the height.
        tile: outputs per tile and dimension; None for the one with the fewest multiplications.
        split: transpositions in two steps, where that is faster.
    """

    max_pixels: int = convolve.WINOGRAD_MAX_PIXELS
    max_height: int = convolve.STRIPES_MAX_HEIGHT
    tile: int | None = None
    split: bool = True


CHOICES = {
    "direct": Choice(0, 0),
    "winograd to 8x8": Choice(64, 0),
    "winograd to 16x16": Choice(256, 0),
    "winograd to 32x32": Choice(1024, 0),
    "stripes": Choice(0),
    "winograd to 8x8, then stripes": Choice(64),
    "chosen": Choice(),
    "chosen, tile 2": Choice(tile=2),
    "chosen, transpositions in one step": Choice(split=False),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    print(json.dumps(measure(options.width, options.batch, options.threads, rounds)))


def measure(width: int, batch: int, threads: int, rounds: int) -> dict[str, object]:
    """Run everything in turn and return medians with spread."""
    torch.manual_seed(0)
    model = ResNet18(CLASSES, width).eval()
    forward = fold(load_graph(torch_model(model, (3, 32, 32)), batch))
    steps: dict[str, Callable[[], object]] = {}
    flops: dict[str, int] = {}
    for name, choice in CHOICES.items():
        for rung in ("tail", "full"):
            with chosen(choice):
                graphs = compiled(forward, rung)
            flops[f"{rung}: {name}"] = cost(graphs.step, {"classes": CLASSES}).executed_flops
            steps[f"{rung}: {name}"] = runner(graphs, threads)
    times = interleave(steps, rounds)
    return {
        "network": f"resnet18 width {width}, batch {batch}, 32x32, fp32",
        "threads": threads,
        "rounds": rounds,
        "chosen": f"winograd up to {convolve.WINOGRAD_MAX_PIXELS} pixels, "
        f"then stripes up to a height of {convolve.STRIPES_MAX_HEIGHT}",
        "rows": {
            name: {**summary(values[WARM_UP:]), "executed_flops": flops[name]}
            for name, values in times.items()
        },
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


@contextmanager
def chosen(choice: Choice) -> Iterator[None]:
    """Compile under a choice."""
    split = layout.split_transposes

    def line(size: int) -> Line:
        return best_line(size) if choice.tile is None else Line(choice.tile, size)

    with (
        patch.object(convolve, "WINOGRAD_MAX_PIXELS", choice.max_pixels),
        patch.object(convolve, "STRIPES_MAX_HEIGHT", choice.max_height),
        patch.object(convolve, "best_line", line),
        patch.object(layout, "split_transposes", split if choice.split else lambda graph: graph),
    ):
        yield


def compiled(forward: Forward, rung: str) -> StepGraphs:
    """The step of a rung under the choice in force."""
    graph = forward.graph
    if rung == "full":
        layers = layers_of(graph)
        trained = [Trained(la.weight, la.bias, None, la.weight) for la in layers]
        return training_step(forward, "image", trained, Sgd())
    cut = tail_cut(forward)
    assert cut is not None  # noqa: S101 - a ResNet has one
    trained = [
        Trained(la.weight, la.bias, round(SHARE * graph.shape(la.weight)[0]), la.follows)
        for la in cut.layers
    ]
    return training_step(forward, cut.tensor, trained, Sgd())


def runner(graphs: StepGraphs, threads: int) -> Callable[[], None]:
    """The step on random inputs of the right shapes, from and into buffers that stay."""
    session = onnxruntime.InferenceSession(
        to_model(graphs.step).SerializeToString(), options(threads), ["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    kept: list[onnxruntime.OrtValue | Array] = []
    rng = np.random.default_rng(0)
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        shape = [CLASSES if isinstance(size, str) else size for size in tensor.shape]
        if tensor.type == "tensor(int64)":
            array: Array = np.resize(np.arange(CLASSES), shape)
        else:
            # Small, or the softmax saturates and the time goes into denormal gradients.
            array = np.asarray(0.005 * rng.standard_normal(shape), dtype=np.float32)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        kept += [array, value]
        is_input = any(tensor.name == given.name for given in session.get_inputs())
        bind = binding.bind_ortvalue_input if is_input else binding.bind_ortvalue_output
        bind(tensor.name, value)

    def run() -> None:
        session.run_with_iobinding(binding)

    run.kept = kept  # type: ignore[attr-defined]  # the binding alone keeps no array alive
    return run


def options(threads: int) -> onnxruntime.SessionOptions:
    """Like the runtime's."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads = threads
    found.log_severity_level = 3
    return found


if __name__ == "__main__":
    main()
