"""The network in use, as its differences from the bundle; never changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.canonical import network_hash
from sel_edge.bundle.domain import OWN, Domain, Norm
from sel_edge.core.errors import BundleError
from sel_edge.runtime.head import Head
from sel_edge.runtime.step_inputs import Parameters

SelectedRows = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Parameter -> which of its rows, int64 [k], and those rows, float32 [k, ...]."""

MIN_SCALE = 1e-3
"""Below this a domain has silenced a channel: what training made of it cannot be told from noise
once it is divided by the scale."""


@dataclass(frozen=True, eq=False)
class Base:
    """What a network is a difference from.

    Attributes:
        hash: of the bundle.
        classes: the bundle's.
        parameters: the bundle's, float32 by name, read from its file where they are looked at.
        head_weight, head_bias: names of the classifier's parameters.
        biases: weight of a layer that can be normalized -> its bias.
    """

    hash: str
    classes: tuple[str, ...]
    parameters: Parameters
    head_weight: str
    head_bias: str
    biases: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Network:
    """The weights in use. Made by `bundle_network`, and from there by the `with_` methods.

    Attributes:
        base: the bundle's part of it.
        learned: classes beyond the bundle's.
        changed: whole parameters that differ from the bundle's, before a domain's normalization is
            applied; a classifier among them may have more rows than the bundle's.
        domains: number -> domain, beside the bundle's own (`OWN`). They share the weights, and
            each has its normalization.
    """

    base: Base
    learned: tuple[str, ...] = ()
    changed: Parameters = field(default_factory=dict)
    domains: Mapping[int, Domain] = field(default_factory=dict)

    @property
    def bundle_hash(self) -> str:
        """Hash of the bundle."""
        return self.base.hash

    @property
    def classes(self) -> tuple[str, ...]:
        """The bundle's classes, then the learned ones."""
        return (*self.base.classes, *self.learned)

    @cached_property
    def hash(self) -> str:
        """SHA-256 that names this network: equal for equal bits, by whatever way it came about."""
        return network_hash(self.base.hash, self.learned, self.changed, self.domains)

    def norm(self, number: int) -> Norm:
        """The normalization in a domain; empty, the bundle's own, in its own and unknown ones."""
        return self.domains[number].norm if number in self.domains else {}

    def body_hash(self, number: int) -> str:
        """What names the network in one domain, without the classifier.

        An engine needs new weights only if this differs.
        """
        head = (self.base.head_weight, self.base.head_bias)
        body = {name: value for name, value in self.changed.items() if name not in head}
        domain = Domain(np.zeros(0, np.float32), 1, self.norm(number))
        return network_hash(self.base.hash, (), body, {1: domain})

    @cached_property
    def head(self) -> Head:
        """The classifier."""
        weight, bias = (self.parameter(n) for n in (self.base.head_weight, self.base.head_bias))
        return Head(weight, bias, self.classes)

    def parameter(self, name: str) -> NDArray[np.float32]:
        """A parameter before any normalization is applied.

        Raises:
            BundleError: the bundle has none of that name.
        """
        if name not in self.base.parameters:
            raise _unfit(name, "unknown")
        return self.changed[name] if name in self.changed else self.base.parameters[name]

    def effective(
        self, number: int = OWN, parameters: Parameters | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """The parameters that differ from the bundle's in a domain, as `Engine.load` takes them.

        The classifier is left out: the runtime computes it itself, from `head`, which may have
        more classes than the engine's graph.

        Args:
            number: of the domain.
            parameters: the bundle's, if the caller has them in memory; else they are read.
        """
        own = self.base.parameters if parameters is None else parameters
        head = (self.base.head_weight, self.base.head_bias)
        found = {name: value for name, value in self.changed.items() if name not in head}
        for name, (scale, shift) in self.norm(number).items():
            bias = self.base.biases[name]
            weight = found.get(name, own[name])
            found[bias] = found.get(bias, own[bias]) * scale + shift
            found[name] = weight * _per_row(scale, weight)
        return found

    def whole(
        self, number: int = OWN, parameters: Parameters | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Every parameter as the network computes with it, as `TrainingStep` takes them.

        Args:
            number, parameters: as for `effective`.
        """
        own = self.base.parameters if parameters is None else parameters
        head = {self.base.head_weight: self.head.weight, self.base.head_bias: self.head.bias}
        return {**own, **self.effective(number, own), **head}

    def with_head(self, head: Head) -> Network:
        """With another classifier.

        Args:
            head: its classes begin with the bundle's.

        Raises:
            BundleError: other classes or features than the bundle's, or numbers that are not
                finite.
        """
        known, features = len(self.base.classes), self.head.weight.shape[1]
        distinct = len(set(head.classes)) == len(head.classes)
        fits = head.weight.shape == (len(head.classes), features) and distinct
        if not fits or head.classes[:known] != self.base.classes or head.bias.ndim != 1:
            raise _unfit(self.base.head_weight, str(list(head.weight.shape)))
        if len(head.bias) != len(head.classes):
            raise _unfit(self.base.head_bias, str(list(head.bias.shape)))
        new = {self.base.head_weight: head.weight, self.base.head_bias: head.bias}
        return replace(self, learned=head.classes[known:], changed=self._changed(new))

    def with_rows(self, rows: SelectedRows) -> Network:
        """With other rows of some parameters, in the bundle's coordinates.

        Raises:
            BundleError: a parameter is unknown, a row out of range or named twice, or of another
                shape or dtype, or not finite.
        """
        new = {}
        for name, (indices, values) in rows.items():
            value = self.parameter(name).copy()
            indices = np.asarray(indices, np.int64)
            in_range = bool(((indices >= 0) & (indices < len(value))).all())
            different = len(np.unique(indices)) == len(indices)
            if not in_range or not different or values.shape != (len(indices), *value.shape[1:]):
                raise _unfit(name, f"{list(values.shape)} in {len(indices)} rows")
            if values.dtype != np.float32:
                raise _unfit(name, str(values.dtype))
            value[indices] = values
            new[name] = value
        return replace(self, changed=self._changed(new))

    def with_domains(self, domains: Mapping[int, Domain | None]) -> Network:
        """With some domains added, replaced or, where None, taken away.

        Raises:
            BundleError: a number is not above `OWN`, a layer is unknown or the classifier, or its
                scale and shift do not fit it or are not finite.
        """
        found = dict(self.domains)
        for number, domain in domains.items():
            found.pop(number, None)
            if domain is not None:
                self._require_domain(number, domain)
                norm = {name: (_frozen(a), _frozen(b)) for name, (a, b) in domain.norm.items()}
                found[number] = Domain(_frozen(domain.place), domain.frames, norm)
        return replace(self, domains=dict(sorted(found.items())))

    def rows_to_bundle_coordinates(
        self, rows: SelectedRows, number: int = OWN
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows that were trained in a domain, as `with_rows` takes them.

        A weight's row is divided by its channel's scale; a bias has its shift taken off first.
        Channels whose scale lies within `MIN_SCALE` of zero are left out, so that they keep the
        rows they had. So what is to be judged is the network with these rows, rather than the one
        that was trained.

        Args:
            rows: as the network computes with them.
            number: of the domain.
        """
        found = {}
        weights = {bias: weight for weight, bias in self.base.biases.items()}
        for name, (indices, values) in rows.items():
            pair = self.norm(number).get(weights.get(name, name))
            if pair is None:
                found[name] = (indices, values)
                continue
            scale, shift = (value[indices] for value in pair)
            heard = np.abs(scale) >= MIN_SCALE
            moved = values - shift if name in weights else values
            divided = moved[heard] / _per_row(scale[heard], values)
            found[name] = (indices[heard], divided.astype(np.float32))
        return found

    def _require_domain(self, number: int, domain: Domain) -> None:
        if number <= OWN or domain.frames < 1 or domain.place.ndim != 1:
            raise _unfit(f"of domain {number}", f"from {domain.frames} frames")
        if not np.isfinite(domain.place).all():
            raise _unfit(f"of domain {number}", "not finite")
        for name, pair in domain.norm.items():
            layer = self.base.parameters.get(name) if name in self.base.biases else None
            if layer is None or name == self.base.head_weight:
                raise _unfit(name, "no layer that can be normalized")
            for value in pair:
                fits = value.shape == layer.shape[:1] and value.dtype == np.float32
                if not fits or not np.isfinite(value).all():
                    raise _unfit(name, f"to be scaled by {value.dtype} {list(value.shape)}")

    def _changed(self, new: Parameters) -> Parameters:
        """`changed` with other whole parameters, of which only those stay that really differ."""
        found = dict(self.changed)
        for name, value in new.items():
            own = self.base.parameters[name]
            if value.dtype != np.float32 or not np.isfinite(value).all():
                raise _unfit(name, f"{value.dtype} {list(value.shape)}, or not finite")
            found.pop(name, None)
            if value.shape != own.shape or value.tobytes() != own.tobytes():
                found[name] = _frozen(value)
        return found


def bundle_network(bundle: Bundle) -> Network:
    """The network of a bundle as it was exported."""
    manifest = bundle.manifest
    layers = [layer for rung in manifest.rungs.values() for layer in rung.layers]
    return Network(
        Base(
            hash=manifest.bundle_hash,
            classes=manifest.classes,
            parameters=bundle.parameters(),
            head_weight=manifest.head_weight,
            head_bias=manifest.head_bias,
            biases={layer.weight: layer.bias for layer in layers},
        )
    )


def _per_row(scale: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A number per row, shaped to be multiplied with all of the row."""
    return scale.reshape(-1, *[1] * (values.ndim - 1))


def _frozen(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy that nobody can write."""
    copy = np.array(value, np.float32, order="C")
    copy.flags.writeable = False
    return copy


def _unfit(name: str, detail: str) -> BundleError:
    return BundleError(
        f"The parameter {name} is {detail}, which does not fit the network.",
        "Finite float32 numbers of the shapes and classes of the same bundle are expected.",
        "Use what was made for the same bundle.",
    )
