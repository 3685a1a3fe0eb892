"""The rung `norm`: statistics of the frames as they are now, in place of those of the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import Norm
from sel_edge.bundle.rungs import TrainedLayer
from sel_edge.core.errors import ConfigError, DataError, DivergenceError
from sel_edge.core.frames import Frames
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Array, Session, give_back
from sel_edge.runtime.step_inputs import Parameters, differing

RUNG = "norm"


@dataclass(frozen=True, eq=False)
class Renormalized(Mapping[str, NDArray[np.float32]]):
    """Weights and biases, each computed when it is looked at: all are as large as the network.

    Attributes:
        bundle: what they belong to.
        before: those that were not the bundle's.
        layers: by the names of their weights and biases.
        found: scale and shift of each layer.
        features: float32 [frames, F], what the network sees in the frames with these weights; None
            from bundles that do not tell.
    """

    bundle: Bundle
    before: Parameters
    layers: Mapping[str, TrainedLayer]
    found: Mapping[str, Array]
    features: NDArray[np.float32] | None

    @property
    def norm(self) -> Norm:
        """Scale and shift float32 [C] of every layer, by its weight."""
        weights = {layer.weight for layer in self.layers.values()}
        return {
            name: (self.found[f"scale/{name}"], self.found[f"shift/{name}"]) for name in weights
        }

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        layer = self.layers[name]
        value = self.before[name] if name in self.before else self.bundle.parameter(name)
        scale: NDArray[np.float32] = self.found[f"scale/{layer.weight}"]
        if name == layer.bias:
            shifted: NDArray[np.float32] = value * scale + self.found[f"shift/{layer.weight}"]
            return shifted
        return value * scale.reshape(-1, *[1] * (value.ndim - 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


class Renormalizer:
    """Re-estimates the normalization of a network from frames, with a forward pass and no labels.

    Args:
        bundle: an open bundle.
        parameters: weights and biases as they are now, float32 by name; for those left out the
            bundle's. They must stay as they are as long as this object and what it has estimated.
        threads: threads of onnxruntime; None for every core.

    Attributes:
        frames: how many one estimate takes.
        executed_flops: of one estimate.

    Raises:
        ConfigError: the bundle has no such rung.
        BundleError: onnxruntime cannot load the graph, or the parameters are not the bundle's.
    """

    def __init__(self, bundle: Bundle, parameters: Parameters, threads: int | None = None) -> None:
        rung = bundle.manifest.rungs.get(RUNG)
        if rung is None:
            raise ConfigError(
                f"The bundle {bundle.path} has no rung {RUNG}.",
                "A network with normalization layers that fold into others has one.",
                "Use another rung.",
            )
        self._bundle, self.frames = bundle, rung.batch
        self.executed_flops = rung.main.cost.executed_flops
        self._layers = {name: la for la in rung.layers for name in (la.weight, la.bias)}
        self._preprocess = Preprocessor(bundle.manifest.preprocessing)
        self._before = differing(bundle, parameters)
        file = bundle.member(rung.graphs["statistics"].file)
        # Estimates are rare, and between them others need the memory.
        self._session = Session(file, threads, self._before, keep_memory=False)
        give_back()

    def estimate(self, frames: Frames, blend: float = 1.0) -> Renormalized:
        """New weights and biases of the normalized layers.

        Args:
            frames: images uint8 [frames, H, W, C], or signals float32 [frames, channels, length].
            blend: weight of these frames' statistics against those of the training, 0..1. Below 1
                it belongs to weights that were not estimated before: repeated on its own result,
                it moves towards 1.

        Raises:
            DataError: another number of frames, shape or dtype, or a blend out of range.
            DivergenceError: the new weights are not finite.
        """
        if len(frames) != self.frames or not 0.0 <= blend <= 1.0:
            raise DataError(
                f"There are {len(frames)} frames, with a blend of {blend:g}.",
                f"{self.frames} frames and a blend from 0 to 1 are expected.",
                "Collect as many frames as the rung takes.",
            )
        feeds = {"image": self._preprocess(frames), "blend": np.array(blend, np.float32)}
        wanted = [name for name in self._session.outputs if name != "logits"]
        found = self._session.run(feeds, wanted)
        give_back()
        features = found.pop("features", None)
        new = Renormalized(self._bundle, self._before, self._layers, found, features)
        if not all(np.isfinite(value).all() for value in new.values()):
            raise DivergenceError(
                "Re-estimating the normalization gave weights that are not finite.",
                "Finite weights are expected; they are left as they were.",
                "Use other frames, or a smaller blend.",
            )
        return new
