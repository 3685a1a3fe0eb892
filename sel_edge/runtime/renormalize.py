"""The rung `norm`: statistics of the frames as they are now, in place of those of the training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.errors import ConfigError, DataError, DivergenceError
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session, give_back
from sel_edge.runtime.step_inputs import Parameters, differing

RUNG = "norm"


class Renormalizer:
    """Re-estimates the normalization of a network from frames, with a forward pass and no labels.

    Args:
        bundle: an open bundle.
        parameters: weights and biases as they are now, float32 by name; for those left out the
            bundle's. They must stay as they are as long as this object.
        threads: threads of onnxruntime; None for every core.

    Attributes:
        frames: how many one estimate takes.

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
        self._layers, self.frames = rung.layers, rung.batch
        self._preprocess = Preprocessor(bundle.manifest.preprocessing)
        self._parameters = {
            name: parameters[name] if name in parameters else bundle.parameter(name)
            for layer in self._layers
            for name in (layer.weight, layer.bias)
        }
        file = bundle.member(rung.graphs["statistics"].file)
        self._session = Session(file, threads, differing(bundle, parameters))
        give_back()

    def estimate(
        self, images: NDArray[np.uint8], blend: float = 1.0
    ) -> dict[str, NDArray[np.float32]]:
        """New weights and biases of the normalized layers.

        Args:
            images: uint8 [frames, H, W, C].
            blend: weight of these frames' statistics against those of the training, 0..1. Below 1
                it belongs to weights that were not estimated before: repeated on its own result,
                it moves towards 1.

        Raises:
            DataError: another number of images, shape or dtype, or a blend out of range.
            DivergenceError: the new weights are not finite.
        """
        if len(images) != self.frames or not 0.0 <= blend <= 1.0:
            raise DataError(
                f"There are {len(images)} images, with a blend of {blend:g}.",
                f"{self.frames} images and a blend from 0 to 1 are expected.",
                "Collect as many frames as the rung takes.",
            )
        feeds = {"image": self._preprocess(images), "blend": np.array(blend, np.float32)}
        wanted = [f"{kind}/{la.weight}" for la in self._layers for kind in ("scale", "shift")]
        found = self._session.run(feeds, wanted)
        new: dict[str, NDArray[np.float32]] = {}
        for layer in self._layers:
            scale, shift = found[f"scale/{layer.weight}"], found[f"shift/{layer.weight}"]
            weight, bias = self._parameters[layer.weight], self._parameters[layer.bias]
            new[layer.weight] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            new[layer.bias] = bias * scale + shift
        if not all(np.isfinite(value).all() for value in new.values()):
            raise DivergenceError(
                "Re-estimating the normalization gave weights that are not finite.",
                "Finite weights are expected; they are left as they were.",
                "Use other frames, or a smaller blend.",
            )
        return new
