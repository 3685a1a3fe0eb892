"""The engine: the forward network of a bundle, with the weights as they are now."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.manifest import GRAPH_FILE, MOMENTS_FILE
from sel_edge.core.errors import BundleError, ConfigError
from sel_edge.core.frames import Frames
from sel_edge.runtime.moments import input_moments
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session, give_back, unusable
from sel_edge.runtime.step_inputs import Parameters, differing

MAX_BATCH = 16
"""Frames per call of onnxruntime: more need more memory for activations and gain no time."""
_IMAGE, _MOMENTS = "image", "moments"


@dataclass(frozen=True)
class Observation:
    """What one forward pass says of frames.

    Attributes:
        features: penultimate features, float32 [n, F].
        logits: of the network's own head, float32 [n, K].
        moments: float32 [n, 2, C], as `Engine.moments` gives them.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    moments: NDArray[np.float32]


@dataclass(frozen=True)
class Insight:
    """What one forward pass says of frames on its way.

    Attributes:
        features: penultimate features, float32 [n, F].
        latents: rung -> what its training step starts from, float32 [n, ...].
    """

    features: NDArray[np.float32]
    latents: dict[str, NDArray[np.float32]]


class Engine:
    """Runs the forward graph of a bundle.

    Args:
        bundle: an open bundle.
        threads: threads of onnxruntime, at least 1; None lets it use every core.
        parameters: weights to begin with, as `load` takes them.

    Attributes:
        forward_flops: executed operations per frame, two per multiply-accumulate.
        moment_flops: those of its moments.

    Raises:
        BundleError: onnxruntime cannot load the graph, or the graph is not what the manifest says.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        self._bundle, self._threads = bundle, threads
        self._preprocess = Preprocessor(bundle.manifest.preprocessing)
        self._moments = bundle.manifest.moments
        self.forward_flops = 2 * bundle.manifest.model.forward_macs
        self.moment_flops = 2 * self._moments.macs if self._moments else 0
        self._stem = self._open_stem()
        self._session: Session
        self.load(parameters or {})

    def load(self, parameters: Parameters, pause: bool = False) -> None:
        """Go on with other weights.

        The old network answers until the new one is ready, so that no frame is dropped.

        Args:
            parameters: those that differ from the bundle's, float32 by name; they are copied. An
                empty mapping brings the bundle's own network back.
            pause: let go of the old network first, which needs the memory of one network less.
                Nothing can be asked until this returns, and if it fails the bundle's own network
                goes on.

        Raises:
            BundleError: the bundle has no such parameter, or one has another shape or dtype or is
                not finite; the old network goes on.
        """
        changed = differing(self._bundle, parameters)
        if pause:
            del self._session
            give_back()
        try:
            self._session = self._open(changed)
        except BundleError:
            if pause:
                self._session = self._open({})
            raise
        give_back()

    def features(self, frames: Frames) -> NDArray[np.float32]:
        """Penultimate features float32 [n, F] of frames, as `infer` takes them.

        Raises:
            DataError, BundleError: as from `infer`.
        """
        return self.infer(frames)[0]

    def infer(self, frames: Frames) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features float32 [n, F] and the network's own logits float32 [n, K] of frames.

        Args:
            frames: images uint8 [n, H, W, C], or signals float32 [n, channels, length]; n may be
                0.

        Raises:
            DataError: the frames have another shape or dtype than the bundle was made for, or
                signals hold numbers that are not finite.
            BundleError: the network answers with numbers that are not finite.
        """
        features, logits = self._run(frames, ["features", "logits"])
        return features, logits

    def observe(self, frames: Frames) -> Observation:
        """Features, logits and moments of frames, each of which is prepared once.

        Raises:
            DataError, BundleError: as from `infer`.
        """
        return Observation(*self._run(frames, ["features", "logits", _MOMENTS]))

    def look_inside(self, frames: Frames, rungs: Sequence[str]) -> Insight:
        """Features of frames, and on the way to them the latents of some rungs, which are free.

        Args:
            frames: as in `infer`.
            rungs: that the bundle has.

        Raises:
            DataError, BundleError: as from `infer`.
        """
        cuts = [self._bundle.manifest.rungs[rung].cut or _IMAGE for rung in rungs]
        names = ["features", *dict.fromkeys(cuts)]
        found = dict(zip(names, self._run(frames, names), strict=True))
        return Insight(
            found["features"], {rung: found[cut] for rung, cut in zip(rungs, cuts, strict=True)}
        )

    def moments(self, frames: Frames) -> NDArray[np.float32]:
        """Mean and mean square of the first layer's channels, float32 [n, 2, C], and nothing else.

        Those of the network's input if the bundle has no graph for them. They do not depend on
        `load`.

        Raises:
            DataError, BundleError: as from `infer`.
        """
        return self._run(frames, [_MOMENTS])[0]

    def latents(self, frames: Frames, rung: str) -> NDArray[np.float32]:
        """What a rung's training step starts from, float32 [n, ...], for frames as in `infer`.

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
            return self._preprocess(frames)
        return self._run(frames, [cut])[0]

    def _run(self, frames: Frames, names: list[str]) -> list[NDArray[np.float32]]:
        self._preprocess.check(frames)
        session = self._session  # one network for the whole call, whatever `load` does meanwhile
        parts = [
            self._run_batch(session, frames[start : start + MAX_BATCH], names)
            for start in range(0, len(frames), MAX_BATCH)
        ]
        if not parts:
            return [np.zeros((0, *self._sizes(session, name)), np.float32) for name in names]
        return [np.concatenate([part[name] for part in parts]) for name in names]

    def _run_batch(
        self, session: Session, frames: Frames, names: list[str]
    ) -> dict[str, NDArray[np.float32]]:
        """What `_run` finds in at most `MAX_BATCH` frames, by name."""
        feeds = {_IMAGE: self._preprocess(frames)}
        wanted = [name for name in names if name not in (_IMAGE, _MOMENTS)]
        found = session.run(feeds, wanted) if wanted else {}
        if _IMAGE in names:
            found |= feeds
        if _MOMENTS in names and self._stem is not None:
            found |= self._stem.run(feeds)
        if not all(np.isfinite(array).all() for array in found.values()):
            raise BundleError(
                "The network of the bundle answers with numbers that are not finite.",
                "Finite features and logits are expected for every frame.",
                "Pretrain again; the training that made this bundle has diverged.",
            )
        if _MOMENTS in names and _MOMENTS not in found:
            found[_MOMENTS] = input_moments(feeds[_IMAGE])
        return found

    def _open(self, parameters: Parameters) -> Session:
        manifest, path = self._bundle.manifest, self._bundle.member(GRAPH_FILE)
        session = Session(path, self._threads, parameters)
        latents = {r.cut: r.latent_shape for r in manifest.rungs.values() if r.cut is not None}
        expected = {
            "image": manifest.preprocessing.input_shape,
            "features": (manifest.features,),
            "logits": (len(manifest.classes),),
            **latents,
        }
        return _checked(session, path, expected)

    def _open_stem(self) -> Session | None:
        if self._moments is None:
            return None
        path = self._bundle.member(MOMENTS_FILE)
        shape = self._bundle.manifest.preprocessing.input_shape
        expected = {"image": shape, _MOMENTS: (2, self._moments.channels)}
        return _checked(Session(path, self._threads), path, expected)

    def _sizes(self, session: Session, output: str) -> tuple[int, ...]:
        if output == _IMAGE:
            return self._bundle.manifest.preprocessing.input_shape
        if output == _MOMENTS:
            channels = self._bundle.manifest.preprocessing.input_shape[0]
            return 2, self._moments.channels if self._moments else channels
        return tuple(int(size) for size in session.outputs[output][1:])


def _checked(session: Session, path: Path, expected: dict[str, tuple[int, ...]]) -> Session:
    """The session, if its inputs and outputs have these names and shapes of one frame."""
    found = {n: s[1:] for n, s in (*session.inputs.items(), *session.outputs.items())}
    if found != expected:
        raise unusable(path, f"it has {found} where {expected} are expected")
    return session


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
