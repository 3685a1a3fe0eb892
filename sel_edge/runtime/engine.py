"""The engine: the forward network of a bundle, with the weights as they are now."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.manifest import GRAPH_FILE
from sel_edge.core.errors import BundleError, ConfigError
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session, give_back, unusable
from sel_edge.runtime.step_inputs import Parameters, differing

MAX_BATCH = 16
"""Images per call of onnxruntime: more need more memory for activations and gain no time."""


class Engine:
    """Runs the forward graph of a bundle.

    Args:
        bundle: an open bundle.
        threads: threads of onnxruntime, at least 1; None lets it use every core.

    Attributes:
        forward_flops: executed operations per image, two per multiply-accumulate.

    Raises:
        BundleError: onnxruntime cannot load the graph, or the graph is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle, self._threads = bundle, threads
        self._preprocess = Preprocessor(bundle.manifest.preprocessing)
        self.forward_flops = 2 * bundle.manifest.model.forward_macs
        self.load({})

    def load(self, parameters: Parameters) -> None:
        """Go on with other weights.

        The old network answers until the new one is ready, so that no frame is dropped.

        Args:
            parameters: those that differ from the bundle's, float32 by name; they are copied. An
                empty mapping brings the bundle's own network back.

        Raises:
            BundleError: the bundle has no such parameter, or one has another shape or dtype or is
                not finite; the old network goes on.
        """
        self._session = self._open(differing(self._bundle, parameters))
        give_back()

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Penultimate features float32 [n, F] of images uint8 [n, H, W, C].

        Raises:
            DataError, BundleError: as from `infer`.
        """
        return self.infer(images)[0]

    def infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features float32 [n, F] and the network's own logits float32 [n, K] of images.

        Args:
            images: uint8 [n, H, W, C]; n may be 0.

        Raises:
            DataError: the images have another shape or dtype than the bundle was made for.
            BundleError: the network answers with numbers that are not finite.
        """
        features, logits = self._run(images, ["features", "logits"])
        return features, logits

    def latents(self, images: NDArray[np.uint8], rung: str) -> NDArray[np.float32]:
        """What a rung's training step starts from, float32 [n, ...], for images uint8 [n, H, W, C].

        Raises:
            ConfigError: the bundle has no such rung.
            DataError, BundleError: as from `infer`.
        """
        if rung not in self._bundle.manifest.rungs:
            raise ConfigError(
                f"The bundle {self._bundle.path} has no rung {rung}.",
                f"It has {', '.join(self._bundle.manifest.rungs) or 'none'}.",
                "Choose one of those, or export the bundle again.",
            )
        cut = self._bundle.manifest.rungs[rung].cut
        if cut is None:
            return self._preprocess(images)
        return self._run(images, [cut])[0]

    def _run(self, images: NDArray[np.uint8], names: list[str]) -> list[NDArray[np.float32]]:
        self._preprocess.check(images)
        session = self._session  # one network for the whole call, whatever `load` does meanwhile
        parts = [
            session.run({"image": self._preprocess(images[start : start + MAX_BATCH])}, names)
            for start in range(0, len(images), MAX_BATCH)
        ]
        empty = [np.zeros((0, *self._sizes(session, name)), np.float32) for name in names]
        found = [
            np.concatenate([part[name] for part in parts]) if parts else nothing
            for name, nothing in zip(names, empty, strict=True)
        ]
        if not all(np.isfinite(array).all() for array in found):
            raise BundleError(
                "The network of the bundle answers with numbers that are not finite.",
                "Finite features and logits are expected for every image.",
                "Pretrain again; the training that made this bundle has diverged.",
            )
        return found

    def _open(self, parameters: Parameters) -> Session:
        manifest, path = self._bundle.manifest, self._bundle.member(GRAPH_FILE)
        session = Session(path, self._threads, parameters)
        shape = manifest.preprocessing
        latents = {r.cut: r.latent_shape for r in manifest.rungs.values() if r.cut is not None}
        expected = {
            "image": (shape.channels, shape.height, shape.width),
            "features": (manifest.features,),
            "logits": (len(manifest.classes),),
            **latents,
        }
        found = {n: s[1:] for n, s in (*session.inputs.items(), *session.outputs.items())}
        if found != expected:
            raise unusable(path, f"it has {found} where {expected} are expected")
        return session

    def _sizes(self, session: Session, output: str) -> tuple[int, ...]:
        return tuple(int(size) for size in session.outputs[output][1:])


def peak_memory_bytes() -> int:
    """The most memory that this process has held at once (its peak resident set).

    Linux also has this number from `getrusage`, where a process that was started by a larger one
    begins with that one's peak.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
