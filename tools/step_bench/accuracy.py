"""How far gradients are from torch's in float64, of the graphs as they lie in the bundle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.session import Session
from tools.step_bench.ours import chosen_channels, samples
from tools.step_bench.subject import Subject, behind_cut, replace_relu, trained_parameters

RUNGS = ("tail", "deep", "full")
RELU = "relu/"

Array = NDArray[Any]
Arrays = dict[str, Array]


def gradient_errors(subject: Subject, folder: Path, threads: int) -> dict[str, Any]:
    """Largest relative errors of any weight's or bias's gradient in any rung.

    Among millions of activations some lie within float32's rounding of zero, where the gradient of
    ReLU jumps. For `grad_max_rel_err` torch takes the decisions of the graphs under test, and it is
    told how many differ from its own; for the other two errors, of ours and of torch's own float32,
    every side decides for itself.

    Args:
        subject: the network.
        folder: takes a graph.
        threads: of onnxruntime.
    """
    found: dict[str, dict[str, float]] = {}
    for rung in RUNGS:
        if rung in subject.bundle.manifest.rungs:
            found[rung] = _errors_of_rung(subject, rung, folder, threads)
    kinds = ("grad_max_rel_err", "grad_max_rel_err_own_decisions", "torch_grad_max_rel_err")
    largest = {kind: max(errors[kind] for errors in found.values()) for kind in kinds}
    return {**largest, "grad_errors": found}


def _errors_of_rung(subject: Subject, rung: str, folder: Path, threads: int) -> dict[str, float]:
    images, labels = samples(subject.bundle, subject.bundle.manifest.rungs[rung].batch)
    latents = Engine(subject.bundle, threads).latents(images, rung)
    gradients, relus = _ours(subject.bundle, rung, latents, labels, folder, threads)
    watched: list[Array] = []
    exact = _torchs(subject, rung, latents, labels, torch.float64, lambda: _Watching(watched))
    single = _torchs(subject, rung, latents, labels, torch.float32)
    decisions = list(_decisions(subject.bundle, rung, relus, watched))
    left = iter(decisions)
    told = _torchs(subject, rung, latents, labels, torch.float64, lambda: _Told(left))
    pairs = zip(decisions, watched, strict=True)
    return {
        "relu_decisions": sum(made.size for made in decisions),
        "relu_decisions_different": sum(int((made != other).sum()) for made, other in pairs),
        "grad_max_rel_err": _largest_error(gradients, told),
        "grad_max_rel_err_own_decisions": _largest_error(gradients, exact),
        "torch_grad_max_rel_err": _largest_error(single, exact),
    }


def _largest_error(found: Arrays, expected: Arrays) -> float:
    return max(
        float(np.abs(found[name] - gradient).max() / np.abs(gradient).max())
        for name, gradient in expected.items()
    )


def _ours(
    bundle: Bundle, rung: str, latents: Array, labels: Array, folder: Path, threads: int
) -> tuple[Arrays, dict[str, list[Array]]]:
    """Gradients, and the results of the ReLUs in `fill` and `step`, in their order."""
    described = bundle.manifest.rungs[rung]
    feeds, relus = _feeds(bundle, rung, latents, labels), dict[str, list[Array]]()
    for role in ("select", "fill", "step"):
        if role in described.graphs:
            path = _with_relus(bundle.member(described.graphs[role].file), folder)
            feeds |= Session(path, threads).run(feeds)
            relus[role] = [feeds.pop(name) for name in list(feeds) if name.startswith(RELU)]
    names = [name for layer in described.layers for name in (layer.weight, layer.bias)]
    # With momentum and no past, the new velocity is the gradient.
    return {name: feeds[f"new/velocity/{name}"] for name in names}, relus


def _feeds(bundle: Bundle, rung: str, latents: Array, labels: Array) -> Arrays:
    parameters, chosen = bundle.parameters(), chosen_channels(bundle, rung)
    described = bundle.manifest.rungs[rung]
    found: Arrays = {
        "image" if described.cut is None else "latent": latents,
        "labels": labels,
        "sample_weights": np.ones(len(labels), np.float32),
        "temperature": np.array(TEMPERATURE, np.float32),
        "learning_rate": np.array(0, np.float32),
        **{f"frozen/{name}": value for name, value in parameters.items()},
        **{f"channels/{name}": rows for name, rows in chosen.items()},
    }
    for layer in described.layers:
        for name in (layer.weight, layer.bias):
            found[name] = parameters[name][chosen.get(layer.follows, slice(None))]
            found[f"velocity/{name}"] = np.zeros_like(found[name])
    return found


def _with_relus(path: Path, folder: Path) -> Path:
    """The graph with an output for every ReLU."""
    model = onnx.load(path)
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    for number, node in enumerate(relus):
        name = f"{RELU}{number:03}"
        model.graph.node.append(onnx.helper.make_node("Identity", [node.output[0]], [name]))
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    onnx.save(model, folder / path.name)
    return folder / path.name


def _torchs(
    subject: Subject,
    rung: str,
    latents: Array,
    labels: Array,
    kind: torch.dtype,
    relu: Callable[[], nn.Module] | None = None,
) -> Arrays:
    """Torch's gradients of the rows that a rung trains; `relu` makes other ReLUs to use."""
    model, described = subject.folded().to(kind), subject.bundle.manifest.rungs[rung]
    parameters = trained_parameters(model, described)
    if relu is not None:
        replace_relu(model, relu)
    logits = behind_cut(model, described)(torch.from_numpy(latents).to(kind))
    loss = cross_entropy(logits / TEMPERATURE, torch.from_numpy(labels))
    found = torch.autograd.grad(loss, list(parameters.values()))
    gradients = {name: g.numpy() for name, g in zip(parameters, found, strict=True)}
    chosen = chosen_channels(subject.bundle, rung)
    return {
        name: gradients[name][chosen.get(layer.follows, slice(None))]
        for layer in described.layers
        for name in (layer.weight, layer.bias)
    }


class _Watching(nn.Module):
    """A ReLU that keeps which of its inputs were positive."""

    def __init__(self, kept: list[Array]) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append((x > 0).numpy())
        return torch.relu(x)


class _Told(nn.Module):
    """A ReLU that is told what to let through."""

    def __init__(self, decisions: Iterator[Array]) -> None:
        super().__init__()
        self.decisions = decisions

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(next(self.decisions))


def _decisions(
    bundle: Bundle, rung: str, relus: dict[str, list[Array]], watched: Sequence[Array]
) -> Iterator[Array]:
    """What each ReLU of ours lets through, bool [N, C, H, W] as torch has it.

    Of the first one's channels the frozen are computed in `fill` and the chosen in the step.
    """
    weights = [layer.weight for layer in bundle.manifest.rungs[rung].layers]
    first = next(name for name in weights if name.endswith("conv1.weight"))
    channels, frozen = chosen_channels(bundle, rung).get(first), iter(relus.get("fill", ()))
    for made, expected in zip(relus["step"], watched, strict=True):
        if made.size == expected.size or channels is None:
            yield _ordered_like(made > 0, expected)
        else:
            joined = _ordered_like(next(frozen) > 0, expected)
            joined[:, channels] = _ordered_like(made > 0, expected[:, channels])
            yield joined


def _ordered_like(found: Array, expected: Array) -> Array:
    """Undo what the compiler did to the order of dimensions: the order that agrees most."""
    orders = itertools.permutations(range(found.ndim))
    fitting = [a for a in map(found.transpose, orders) if a.shape == expected.shape]
    return np.ascontiguousarray(max(fitting, key=lambda a: float((a == expected).mean())))
