"""A training step of a bundle: it updates chosen rows of some layers.

Weights and optimizer state live in two sets of buffers. A step reads one set and writes the other,
and only if every number it wrote is finite does the other become the current one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.rungs import STEP, Rung
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.core.errors import ConfigError, DataError, DivergenceError
from sel_edge.runtime.session import Array, Buffer, Session, unusable
from sel_edge.runtime.step_inputs import (
    Parameters,
    Shape,
    check_scalars,
    checked_channels,
    checked_parameters,
    checked_targets,
    padded,
)

Channels = Mapping[str, NDArray[np.int64]]
FEATURES = "features"


@dataclass(frozen=True)
class Prepared:
    """A batch as a step reads it.

    Attributes:
        buffers: the latents and what the frozen channels contribute to each sample.
        samples: how many of the batch's places are taken.
        step: what it was made ready for.
    """

    buffers: Mapping[str, Buffer]
    samples: int
    step: TrainingStep

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return sum(buffer.array.nbytes for buffer in self.buffers.values())


@dataclass(frozen=True)
class StepResult:
    """What one step saw, before its update.

    Attributes:
        loss: nats per sample, float32 [n].
        logits: float32 [n, K].
        features: float32 [n, F]; None of a rung that is given them, and of bundles of before the
            graphs told them.
    """

    loss: NDArray[np.float32]
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None


class TrainingStep:
    """One rung of a bundle, ready to run.

    Args:
        bundle: an open bundle.
        rung: "head", "tail", "deep" or "full".
        parameters: the network's weights and biases as they are now, float32 by name. None is
            changed; they must stay as they are as long as this object.
        channels: weight of a trained layer -> which of its rows are trained, int64, each once.
            Left out for layers of which all rows are trained, or that follow another layer.
        threads: threads of onnxruntime; None for every core.

    Raises:
        ConfigError: the bundle has no such rung.
        DataError: channels are missing, repeated, out of range or of the wrong number.
        BundleError: onnxruntime cannot load the graphs, or a parameter is missing, of another
            shape or dtype, or not finite.
    """

    def __init__(
        self,
        bundle: Bundle,
        rung: str,
        parameters: Parameters,
        channels: Channels | None = None,
        threads: int | None = None,
    ) -> None:
        self.rung = _find(bundle, rung)
        graphs = _open(bundle, self.rung, threads)
        self._fill, self._step = graphs.get("fill"), graphs["step"]
        inputs = {n: shape for session in graphs.values() for n, shape in session.inputs.items()}
        own = checked_parameters(parameters, _shapes(self.rung, inputs))
        self.channels = {
            layer.weight: checked_channels(layer, (channels or {}).get(layer.follows), own)
            for layer in self.rung.layers
            if f"channels/{layer.follows}" in inputs
        }
        fixed: dict[str, Array] = {f"frozen/{name}": value for name, value in own.items()}
        fixed |= {f"channels/{name}": chosen for name, chosen in self.channels.items()}
        if "select" in graphs:
            fixed |= graphs["select"].run(fixed)
        later = {name for role in ("fill", STEP) if role in graphs for name in graphs[role].inputs}
        # Copied, few as they are, so that the mapped file of all weights can be let go of.
        self._fixed = {
            name: Buffer(value.copy() if name.startswith("frozen/") else value)
            for name, value in fixed.items()
            if name in later
        }
        rows = self._rows(own)
        self._sets = (self._buffers(rows), self._buffers(rows))
        self._classes = len(own[bundle.manifest.head_bias])
        self._features = bundle.manifest.features
        self._scalars, self._targets, self._results = self._io()
        self._bindings = [
            self._step.bind(
                {**self._fixed, **current, **self._scalars, **self._targets},
                {f"new/{name}": buffer for name, buffer in following.items()} | self._results,
            )
            for current, following in (self._sets, self._sets[::-1])
        ]
        self._current = 0
        self.steps = 0

    def prepare(self, latents: NDArray[np.float32]) -> Prepared:
        """Compute what the frozen channels contribute to a batch.

        Args:
            latents: float32 [n, ...] at the rung's cut, n from 1 to the rung's batch.

        Raises:
            DataError: another shape or dtype, or numbers that are not finite.
        """
        batch = padded(latents, self.rung.batch, self.rung.latent_shape)
        buffers = {self.rung.start: Buffer(batch)}
        if self._fill is not None:
            feeds = {name: buffer.array for name, buffer in self._fixed.items()}
            found = self._fill.run({**feeds, self.rung.start: batch})
            buffers |= {name: Buffer(value) for name, value in found.items()}
        kept = {name: buffer for name, buffer in buffers.items() if name in self._step.inputs}
        return Prepared(kept, len(latents), self)

    def step(
        self,
        batch: Prepared,
        labels: NDArray[np.int64],
        weights: NDArray[np.float32] | None = None,
        *,
        learning_rate: float,
        temperature: float = TEMPERATURE,
    ) -> StepResult:
        """Update the chosen rows once.

        Args:
            batch: from `prepare` of this object.
            labels: int64 [n], each in 0..K-1.
            weights: float32 [n], not negative, not all zero; None weighs all alike.
            learning_rate: finite.
            temperature: of the softmax, above 0.

        Raises:
            DataError: labels, weights or numbers that cannot be used; nothing was computed.
            DivergenceError: the update is not finite; the weights are as they were.
        """
        labels, weights = checked_targets(labels, weights, self._own(batch), self._classes)
        check_scalars(learning_rate, temperature)
        result = self._run(batch, labels, weights, learning_rate, temperature)
        written = self._sets[1 - self._current].values()
        if not all(np.isfinite(buffer.array).all() for buffer in written):
            raise _diverged(learning_rate)
        self._current = 1 - self._current
        self.steps += 1
        return result

    def look(self, batch: Prepared) -> StepResult:
        """What the network with the rows as they are now sees in a batch; nothing is changed.

        Its losses say nothing, for there are no labels. It executes what a step does.

        Raises:
            DataError: the batch was made ready for another step.
            DivergenceError: what it sees is not finite.
        """
        count = self._own(batch)
        return self._run(batch, np.zeros(count, np.int64), np.ones(count, np.float32), 0.0, 1.0)

    def reset(self, parameters: Parameters) -> None:
        """Begin anew, with no state.

        Args:
            parameters: as the object was made with; it keeps none of them itself.
        """
        start = self._rows(parameters)
        for buffers in self._sets:
            for name, buffer in buffers.items():
                buffer.array[...] = start.get(name, 0)
        self.steps = 0

    def _own(self, batch: Prepared) -> int:
        """How many samples the batch has, if it is for this step."""
        if batch.step is not self:
            raise DataError(
                "The batch was made ready for another training step.",
                "What frozen channels contribute depends on which they are.",
                "Prepare the latents again with this step.",
            )
        return batch.samples

    def _run(
        self,
        batch: Prepared,
        labels: NDArray[np.int64],
        weights: NDArray[np.float32],
        learning_rate: float,
        temperature: float,
    ) -> StepResult:
        """Read the current set of weights and write the other."""
        for name, value in (("labels", labels), ("sample_weights", weights)):
            array = self._targets[name].array
            array[: batch.samples], array[batch.samples :] = value, 0
        scalars = {"learning_rate": learning_rate, "temperature": temperature}
        for name, buffer in self._scalars.items():
            buffer.array[...] = scalars.get(name, self.steps + 1)
        for binding in self._bindings:  # both, so that neither keeps an older batch alive
            binding.set(batch.buffers)
        self._bindings[self._current].run()
        if not all(np.isfinite(buffer.array).all() for buffer in self._results.values()):
            raise _diverged(learning_rate)
        found = {name: b.array[: batch.samples].copy() for name, b in self._results.items()}
        return StepResult(found["loss"], found["logits"], found.get(FEATURES))

    def rows(self) -> dict[str, NDArray[np.float32]]:
        """The trained rows as they are now, by name of the parameter they belong to."""
        return {name: self._sets[self._current][name].array.copy() for name in self._names()}

    def applied(self, parameters: Parameters) -> dict[str, NDArray[np.float32]]:
        """The trained parameters as a whole: copies of the given ones with the rows put in."""
        rows, found = self.rows(), {}
        for layer in self.rung.layers:
            for name in (layer.weight, layer.bias):
                found[name] = rows[name]
                if layer.weight in self.channels:
                    found[name] = parameters[name].copy()
                    found[name][self.channels[layer.weight]] = rows[name]
        return found

    def _names(self) -> list[str]:
        return [name for layer in self.rung.layers for name in (layer.weight, layer.bias)]

    def _io(self) -> tuple[dict[str, Buffer], dict[str, Buffer], dict[str, Buffer]]:
        """Buffers for the scalars and targets that a step takes, and for its results."""
        batch = self.rung.batch
        scalars = {
            name: Buffer(np.zeros((), np.float32))
            for name in ("learning_rate", "temperature", "step")
            if name in self._step.inputs
        }
        targets = {
            "labels": Buffer(np.zeros(batch, np.int64)),
            "sample_weights": Buffer(np.zeros(batch, np.float32)),
        }
        results = {
            "loss": Buffer(np.zeros(batch, np.float32)),
            "logits": Buffer(np.zeros((batch, self._classes), np.float32)),
        }
        if FEATURES in self._step.outputs:
            results[FEATURES] = Buffer(np.zeros((batch, self._features), np.float32))
        return scalars, targets, results

    def _rows(self, parameters: Parameters) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for layer in self.rung.layers:
            for name in (layer.weight, layer.bias):
                rows = self.channels.get(layer.weight)
                found[name] = parameters[name] if rows is None else parameters[name][rows]
        return found

    def _buffers(self, values: Mapping[str, Array]) -> dict[str, Buffer]:
        """Weights and the optimizer's state, which begins with zeros."""
        found = {name: Buffer(value.copy()) for name, value in values.items()}
        for name, value in values.items():
            for state in self.rung.state:
                found[f"{state}/{name}"] = Buffer(np.zeros_like(value))
        return found


def _diverged(learning_rate: float) -> DivergenceError:
    return DivergenceError(
        "A training step gave numbers that are not finite.",
        "Finite losses and weights are expected; the weights are left as they were.",
        f"Use a learning rate below {learning_rate:g}.",
    )


def _find(bundle: Bundle, name: str) -> Rung:
    rung = bundle.manifest.rungs.get(name)
    if rung is None or "step" not in rung.graphs:
        there = [n for n, r in bundle.manifest.rungs.items() if "step" in r.graphs]
        raise ConfigError(
            f"The bundle {bundle.path} has no training step for the rung {name}.",
            f"It has {', '.join(there) or 'none'}.",
            "Choose one of those, or export the bundle again.",
        )
    return rung


def _open(bundle: Bundle, rung: Rung, threads: int | None) -> dict[str, Session]:
    """The graphs of a step by their role; only the step itself runs again and again."""
    graphs = {
        role: Session(bundle.member(graph.file), threads, keep_memory=role == STEP)
        for role, graph in rung.graphs.items()
        if role in ("select", "fill", STEP)
    }
    names = [name for layer in rung.layers for name in (layer.weight, layer.bias)]
    changing = {*names, *(f"{state}/{name}" for state in rung.state for name in names)}
    inputs, outputs = set(graphs[STEP].inputs), set(graphs[STEP].outputs) - {FEATURES}
    if outputs != {"loss", "logits", *(f"new/{name}" for name in changing)} or changing - inputs:
        path = bundle.member(rung.graphs[STEP].file)
        raise unusable(path, "it does not train what the manifest says")
    return graphs


def _shapes(rung: Rung, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Of the parameters that the graphs need, trained or not."""
    found: dict[str, Shape] = {}
    for layer in rung.layers:
        some = f"channels/{layer.follows}" in inputs
        for name in (layer.weight, layer.bias):
            found[name] = (layer.weight, *inputs[name][1:]) if some else inputs[name]
    whole = {n.removeprefix("frozen/"): s for n, s in inputs.items() if n.startswith("frozen/")}
    return found | whole
