"""Which channels matter for some samples: their Fisher information."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.core.embarrassment import TEMPERATURE
from sel_edge.core.errors import ConfigError, DivergenceError
from sel_edge.runtime.session import Array, Session
from sel_edge.runtime.step_inputs import (
    Parameters,
    check_scalars,
    checked_parameters,
    checked_targets,
    padded,
)

_ROLE = "importance"


class Importance:
    """Scores the channels that a rung could train.

    Args:
        bundle: an open bundle.
        rung: "tail" or "deep".
        parameters: the network's weights and biases as they are now, float32 by name.
        threads: threads of onnxruntime; None for every core.

    Raises:
        ConfigError: the bundle has no such graph.
        BundleError: onnxruntime cannot load the graph, or a parameter is missing or unfit.
    """

    def __init__(
        self, bundle: Bundle, rung: str, parameters: Parameters, threads: int | None = None
    ) -> None:
        found = bundle.manifest.rungs.get(rung)
        if found is None or _ROLE not in found.graphs:
            raise ConfigError(
                f"The bundle {bundle.path} cannot score the channels of the rung {rung}.",
                "The rungs tail and deep of a bundle can be scored.",
                "Choose another rung, or export the bundle again.",
            )
        self._rung = found
        file = bundle.member(found.graphs[_ROLE].file)
        # Channels are scored once in a while, and in between others need the memory.
        self._session = Session(file, threads, keep_memory=False)
        shapes = {
            name.removeprefix("frozen/"): shape
            for name, shape in self._session.inputs.items()
            if name.startswith("frozen/")
        }
        frozen = checked_parameters(parameters, shapes)
        self._classes = len(frozen[bundle.manifest.head_bias])
        self._frozen: dict[str, Array] = {f"frozen/{n}": value for n, value in frozen.items()}

    def of(
        self,
        latents: NDArray[np.float32],
        labels: NDArray[np.int64],
        weights: NDArray[np.float32] | None = None,
        temperature: float = TEMPERATURE,
    ) -> dict[str, NDArray[np.float32]]:
        """Importance of every output channel, float32 [channels] by name of the layer's weight.

        Args:
            latents: float32 [n, ...] at the rung's cut, n from 1 to the rung's batch.
            labels: int64 [n], each in 0..K-1.
            weights: float32 [n], not negative, not all zero; None weighs all alike.
            temperature: of the softmax, above 0.

        Raises:
            DataError: latents, labels, weights or temperature cannot be used.
            DivergenceError: the network's gradients are not finite.
        """
        batch = padded(latents, self._rung.batch, self._rung.latent_shape)
        labels, weights = checked_targets(labels, weights, len(latents), self._classes)
        check_scalars(0.0, temperature)
        rest = (0, self._rung.batch - len(latents))
        feeds: dict[str, Array] = {
            **self._frozen,
            self._rung.start: batch,
            "labels": np.pad(labels, rest),
            "sample_weights": np.pad(weights, rest),
            "temperature": np.array(temperature, np.float32),
        }
        scores = self._session.run(feeds)
        if not all(np.isfinite(score).all() for score in scores.values()):
            raise DivergenceError(
                "The importance of the channels is not finite.",
                "Finite gradients are expected.",
                "Go back to earlier weights, or leave out samples that are far from all others.",
            )
        return {name.removeprefix("fisher/"): score for name, score in scores.items()}
