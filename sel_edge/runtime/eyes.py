"""The network's eyes: every frame goes through the network of the domain it is from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN
from sel_edge.core.frames import Frames
from sel_edge.runtime.domains import OneDomain, Router
from sel_edge.runtime.engine import Engine, Observation
from sel_edge.runtime.lens import lens_flops
from sel_edge.runtime.moments import MomentModel
from sel_edge.runtime.network import Network, bundle_network

MAX_ENGINES = 5
"""Networks held at once: the bundle's own domain and the four used last. Each is as large as the
network, so a board with little memory holds fewer."""


@dataclass(frozen=True)
class Sight:
    """What is seen in frames.

    Attributes:
        features: float32 [n, F], each computed in the frame's domain.
        moments: float32 [n, 2, C].
        domains: int64 [n], numbers of the domains.
        watching_flops: executed beyond one inference of every frame: for the moments, to tell
            domains apart, and to filter frames.
        inference_s: seconds that the networks took; without domains, the moments included.
        latents: rung -> what its training step would start from, float32 [n, ...]; zeros for frames
            of the bundle's own domain, and nothing at all where no frame is of another.
    """

    features: NDArray[np.float32]
    moments: NDArray[np.float32]
    domains: NDArray[np.int64]
    watching_flops: int
    inference_s: float
    latents: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Eyes:
    """Engines for the domains of a network.

    Args:
        bundle: an open bundle.
        model: of its moments.
        threads: threads of onnxruntime; None lets it use every core.
        max_engines: at least 2, the bundle's own among them.
        rungs: whose latents are told along with the features, in all domains but the bundle's own.

    Attributes:
        forward_flops: executed operations per frame, two per multiply-accumulate.

    Raises:
        BundleError: onnxruntime cannot load the graph, or the graph is not what the manifest says.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: MomentModel,
        threads: int | None = None,
        max_engines: int = MAX_ENGINES,
        rungs: Sequence[str] = (),
    ) -> None:
        self._bundle, self._threads, self._max_engines = bundle, threads, max_engines
        self._router, self._rungs = Router(model), tuple(rungs)
        self._engines: dict[str, Engine] = {}
        self._any = Engine(bundle, threads)
        self._names_of = bundle_network(bundle)
        self._own = self._names_of.body_hash(OWN)
        self._names: dict[int, str] = {}
        self.forward_flops = self._any.forward_flops

    def look(self, frames: Frames, network: Network, router: Router | None = None) -> Sight:
        """See frames: tell their domains first, then run each through the network of its own.

        Args:
            frames: images uint8 [n, H, W, C], or signals float32 [n, channels, length].
            network: as it is now.
            router: tells domains apart by the frames that it was shown before; None for the one of
                the stream.

        Raises:
            DataError: the frames do not have the bundle's shape.
            BundleError: the network answers with numbers that are not finite.
        """
        count = len(frames)
        moment_flops = count * self._any.moment_flops
        if not network.domains:
            engine, begun = self._engine(network, OWN), time.perf_counter()
            seen = engine.observe(frames)
            numbers, inference_s = np.full(count, OWN, np.int64), time.perf_counter() - begun
            return Sight(seen.features, seen.moments, numbers, moment_flops, inference_s)
        moments, router = self._any.moments(frames), router or self._router
        numbers = router.route(moments, network.domains)
        features = np.zeros((count, self._bundle.manifest.features), np.float32)
        latents: dict[str, NDArray[np.float32]] = {}
        flops, inference_s = moment_flops + router.flops(count, len(network.domains)), 0.0
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            own = frames[chosen]
            if (lens := network.lens(number)) is not None:
                own = lens(own)
                flops += len(own) * lens_flops(own.shape[1:])
            engine, begun = self._engine(network, number), time.perf_counter()
            seen_inside = engine.look_inside(own, () if number == OWN else self._rungs)
            inference_s += time.perf_counter() - begun
            features[chosen] = seen_inside.features
            for rung, found in seen_inside.latents.items():
                whole = latents.setdefault(rung, np.zeros((count, *found.shape[1:]), np.float32))
                whole[chosen] = found
        return Sight(features, moments, numbers, flops, inference_s, latents)

    def router(self, domain: int | None = None) -> Router:
        """Tells domains apart for another stream: for it, no frame has come before.

        Args:
            domain: that all its frames are known to be of; None if that is to be seen.
        """
        router = Router(self._router.model)
        return router if domain is None else OneDomain(router, domain)

    def observe(self, frames: Frames) -> Observation:
        """What the bundle's own network sees; see `Engine.observe`."""
        return self._any.observe(frames)

    def _engine(self, network: Network, number: int) -> Engine:
        """The engine of a domain, opened if it is not held; the one used longest ago goes."""
        name = self._name(network, number)
        if name == self._own:
            return self._any
        engine = self._engines.pop(name, None)
        if engine is None:
            while len(self._engines) >= self._max_engines - 1:
                del self._engines[next(iter(self._engines))]
            engine = Engine(self._bundle, self._threads, network.effective(number))
        self._engines[name] = engine
        return engine

    def _name(self, network: Network, number: int) -> str:
        """Equal for equal weights; computed once, because all of them are looked at."""
        if self._names_of is not network:
            self._names_of, self._names = network, {}
        if number not in self._names:
            self._names[number] = network.body_hash(number)
        return self._names[number]
