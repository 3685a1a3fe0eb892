"""The engine: a bundle's forward graph in onnxruntime. The one place that imports onnxruntime."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.manifest import GRAPH_FILE
from sel_edge.core.errors import BundleError, DataError

MAX_BATCH = 64
"""Images per call of onnxruntime: bounds the memory of activations on small boards."""

_ONLY_ERRORS = 3


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
        self._shape = bundle.manifest.preprocessing
        self._features = bundle.manifest.features
        self._classes = len(bundle.manifest.classes)
        self.forward_flops = 2 * bundle.manifest.model.forward_macs
        std, mean = np.array(self._shape.std), np.array(self._shape.mean)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)
        self._session = _open_session(bundle, threads)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Penultimate features float32 [n, F] of images uint8 [n, H, W, C].

        Raises:
            DataError, BundleError: as from `infer`.
        """
        return self.infer(images)[0]

    def infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features float32 [n, F] and the bundle's own logits float32 [n, K] of images.

        Args:
            images: uint8 [n, H, W, C]; n may be 0.

        Raises:
            DataError: the images have another shape or dtype than the bundle was made for.
            BundleError: the network answers with numbers that are not finite.
        """
        self._check(images)
        features = np.empty((len(images), self._features), dtype=np.float32)
        logits = np.empty((len(images), self._classes), dtype=np.float32)
        for start in range(0, len(images), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            pixels = images[part] * self._scale + self._offset
            inputs = {"image": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
            features[part], logits[part] = self._session.run(["features", "logits"], inputs)
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            raise BundleError(
                "The network of the bundle answers with numbers that are not finite.",
                "Finite features and logits are expected for every image.",
                "Pretrain again; the training that made this bundle has diverged.",
            )
        return features, logits

    def _check(self, images: NDArray[np.uint8]) -> None:
        expected = (self._shape.height, self._shape.width, self._shape.channels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise DataError(
                f"The images are {images.dtype} {list(images.shape[1:])}.",
                f"The bundle was made for uint8 of height, width, channels {list(expected)}.",
                "Choose a source of that shape; ?size= and ?mode= convert folders of images.",
            )


def _open_session(bundle: Bundle, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = threads or 0
    # A thread that spins while it waits costs energy and gains nothing between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    graph = str(bundle.member(GRAPH_FILE))
    try:
        session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common error type
        raise _unusable(bundle, str(error)) from error
    manifest = bundle.manifest
    shape = manifest.preprocessing
    _require_tensors(
        bundle, session.get_inputs(), {"image": [shape.channels, shape.height, shape.width]}
    )
    _require_tensors(
        bundle,
        session.get_outputs(),
        {"features": [manifest.features], "logits": [len(manifest.classes)]},
    )
    return session


def _require_tensors(
    bundle: Bundle, found: list[onnxruntime.NodeArg], expected: dict[str, list[int]]
) -> None:
    """Names, types and shapes behind the batch dimension."""
    tensors = {tensor.name: (tensor.type, tensor.shape[1:]) for tensor in found}
    wanted = {name: ("tensor(float)", shape) for name, shape in expected.items()}
    if tensors != wanted:
        raise _unusable(bundle, f"it has {tensors} where {wanted} are expected")


def _unusable(bundle: Bundle, detail: str) -> BundleError:
    return BundleError(
        f"onnxruntime cannot use the graph of the bundle {bundle.path}: {detail.strip()}.",
        "A graph as `sel-edge export` writes it is expected.",
        "Run `sel-edge doctor`, then export the bundle again.",
    )
