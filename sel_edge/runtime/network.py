"""The network in use, as its differences from the bundle; never changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.canonical import network_hash
from sel_edge.bundle.domain import (
    INPUT,
    OWN,
    Domain,
    DomainRows,
    Norm,
    Selected,
    differing_rows,
    merge_rows,
    put_rows,
)
from sel_edge.runtime.fit import (
    require_head,
    require_norm,
    require_numbers,
    require_own_rows,
    require_place,
    require_rows,
    unfit,
)
from sel_edge.runtime.head import Head
from sel_edge.runtime.lens import Lens
from sel_edge.runtime.step_inputs import Parameters

SelectedRows = Mapping[str, Selected]
"""Parameter -> which of its rows, int64 [k] in any order, and those rows, float32 [k, ...]."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Base:
    """What a network is a difference from.

    Attributes:
        hash: of the bundle.
        classes: the bundle's.
        parameters: the bundle's, float32 by name, read from its file where they are looked at.
        head_weight, head_bias: names of the classifier's parameters.
        biases: weight of a layer that can be normalized -> its bias.
        place: how many numbers say where a domain's frames lie: 2C, two for each channel of the
            bundle's moments; None for bundles of before they told them, whose domains lie anywhere.
    """

    hash: str
    classes: tuple[str, ...]
    parameters: Parameters
    head_weight: str
    head_bias: str
    biases: Mapping[str, str]
    place: int | None

    @property
    def head_names(self) -> tuple[str, str]:
        """Names of the classifier's weight and bias."""
        return self.head_weight, self.head_bias

    @cached_property
    def channels(self) -> dict[str, int]:
        """How many output channels each layer has that can be normalized, by its weight."""
        layers = self.biases.keys() & self.parameters.keys() - {self.head_weight}
        return {name: len(self.parameters[name]) for name in layers}


@dataclass(frozen=True, eq=False)
class Network:
    """The weights in use. Made by `bundle_network`, and from there by the `with_` methods.

    Attributes:
        base: the bundle's part of it.
        learned: classes beyond the bundle's.
        changed: whole parameters that differ from the bundle's, before a domain's normalization is
            applied; a classifier among them may have more rows than the bundle's.
        domains: number -> domain, beside the bundle's own (`OWN`). They share the classes and the
            weights, and each has its normalization and, in place of shared ones, its rows.
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

    def lens(self, number: int) -> Lens | None:
        """What frames of a domain are filtered by before the network sees them."""
        pair = self.norm(number).get(INPUT)
        return None if pair is None else Lens(pair[0])

    def body_hash(self, number: int) -> str:
        """What names the network in one domain, without the classifier.

        An engine needs new weights only if this differs.
        """
        rows = self._body_rows(number)
        domain = Domain(np.zeros(0, np.float32), 1, self.norm(number), rows)
        return network_hash(self.base.hash, (), self._changed_body, {1: domain})

    @cached_property
    def head(self) -> Head:
        """The classifier that domains share."""
        weight, bias = (self.parameter(name) for name in self.base.head_names)
        return Head(weight, bias, self.classes)

    def head_in(self, number: int) -> Head:
        """The classifier in a domain: the shared one with the domain's rows in place."""
        return self._heads.get(number, self.head)

    @cached_property
    def _heads(self) -> dict[int, Head]:
        """The classifiers of the domains that have rows of it."""
        found = {}
        for number, domain in self.domains.items():
            if not domain.rows.keys().isdisjoint(self.base.head_names):
                weight, bias = (
                    _put(self.parameter(name), domain.rows.get(name))
                    for name in self.base.head_names
                )
                found[number] = Head(weight, bias, self.classes)
        return found

    @property
    def _changed_body(self) -> Parameters:
        """`changed` without the classifier."""
        names = self.base.head_names
        return {name: value for name, value in self.changed.items() if name not in names}

    def _body_rows(self, number: int) -> DomainRows:
        """A domain's rows without those of the classifier."""
        rows = self.domains[number].rows if number in self.domains else {}
        return {name: pair for name, pair in rows.items() if name not in self.base.head_names}

    def parameter(self, name: str) -> NDArray[np.float32]:
        """A parameter as domains share it, before any normalization is applied.

        Raises:
            BundleError: the bundle has none of that name.
        """
        if name not in self.base.parameters:
            raise unfit(name, "unknown")
        return self.changed[name] if name in self.changed else self.base.parameters[name]

    def effective(
        self, number: int = OWN, parameters: Parameters | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """The parameters that differ from the bundle's in a domain, as `Engine.load` takes them.

        These are the shared ones, scaled and shifted, with the domain's rows put in last. The
        classifier is left out: the runtime computes it itself, from `head_in`, which may have more
        classes than the engine's graph.

        Args:
            number: of the domain.
            parameters: the bundle's, if the caller has them in memory; else they are read.
        """
        own = self.base.parameters if parameters is None else parameters
        found = dict(self._changed_body)
        for name, (scale, shift) in self.norm(number).items():
            if name == INPUT:
                continue
            bias = self.base.biases[name]
            weight = found.get(name, own[name])
            found[bias] = found.get(bias, own[bias]) * scale + shift
            found[name] = weight * _per_row(scale, weight)
        for name, rows in self._body_rows(number).items():
            found[name] = put_rows(found.get(name, own[name]), rows)
        return found

    def whole(
        self, number: int = OWN, parameters: Parameters | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Every parameter as the network computes with it, as `TrainingStep` takes them.

        Args:
            number, parameters: as for `effective`.
        """
        own = self.base.parameters if parameters is None else parameters
        head = self.head_in(number)
        values = {self.base.head_weight: head.weight, self.base.head_bias: head.bias}
        return {**own, **self.effective(number, own), **values}

    def with_head(self, head: Head) -> Network:
        """With another shared classifier.

        Rows of domains stay with their classes: they move with them, and go with them.

        Args:
            head: its classes begin with the bundle's.

        Raises:
            BundleError: other classes or features than the bundle's, or numbers that are not
                finite.
        """
        require_head(head, self.base.head_names, self.base.classes, self.head.weight.shape[1])
        new = {self.base.head_weight: head.weight, self.base.head_bias: head.bias}
        learned = head.classes[len(self.base.classes) :]
        found = replace(self, learned=learned, changed=self._changed(new))
        if head.classes[: len(self.classes)] == self.classes:
            return found
        return found.with_domains(self._domains_under(head))

    def with_head_in(self, number: int, head: Head) -> Network:
        """With another classifier in a domain; in the bundle's own that is the shared one.

        Classes are everybody's: rows of new ones are added to the shared classifier. Of the other
        rows, those that differ by a bit from the shared ones are the domain's, and no more.

        Args:
            number: of the domain.
            head: in a domain other than the bundle's own, its classes begin with all that the
                network knows.

        Raises:
            BundleError: the domain is unknown, or the head has other classes or features, or
                numbers that are not finite.
        """
        if number == OWN:
            return self.with_head(head)
        known, names, own = len(self.classes), self.base.head_names, self.head
        require_head(head, names, self.classes, own.weight.shape[1])
        domain = self._domain(number)
        rows = {name: pair for name, pair in domain.rows.items() if name not in names}
        pairs = [(own.weight, head.weight), (own.bias, head.bias)]
        for name, (shared, value) in zip(names, pairs, strict=True):
            indices = np.flatnonzero(differing_rows(shared, value[:known]))
            if len(indices):
                rows[name] = (indices, value[indices])
        weight, bias = (np.concatenate([shared, value[known:]]) for shared, value in pairs)
        grown = self.with_head(Head(weight, bias, head.classes))
        return grown.with_domains({number: replace(domain, rows=rows)})

    def with_rows(self, rows: SelectedRows) -> Network:
        """With other rows of some shared parameters, before any normalization is applied.

        Raises:
            BundleError: a parameter is unknown, a row out of range or named twice, or of another
                shape or dtype, or not finite.
        """
        new = {}
        for name, pair in rows.items():
            require_rows(name, self.parameter(name), pair)
            new[name] = put_rows(self.parameter(name), pair)
        return replace(self, changed=self._changed(new))

    def with_rows_in(self, number: int, rows: SelectedRows) -> Network:
        """With other rows of some parameters in a domain, as the network computes with them there.

        Its other rows stay. In the bundle's own domain, which has no normalization, these are
        shared rows.

        Raises:
            BundleError: the domain is unknown, or as for `with_rows`.
        """
        if number == OWN:
            return self.with_rows(rows)
        domain = self._domain(number)
        found = dict(domain.rows)
        for name, pair in rows.items():
            require_rows(name, self.parameter(name), pair)
            none = (pair[0][:0], pair[1][:0])
            merged = merge_rows(found.get(name, none), pair)
            if len(merged[0]):
                found[name] = merged
        return self.with_domains({number: replace(domain, rows=found)})

    def with_domains(self, domains: Mapping[int, Domain | None]) -> Network:
        """With some domains added, replaced or, where None, taken away.

        Raises:
            BundleError: a number is not above `OWN`, a place has not 2C finite numbers, a layer is
                unknown or the classifier, or its scale and shift do not fit it or are not finite;
                or a domain's rows are unknown, not ascending, out of range, of another shape or
                dtype, or not finite.
        """
        found = dict(self.domains)
        for number, domain in domains.items():
            found.pop(number, None)
            if domain is not None:
                self._require_domain(number, domain)
                norm = {name: (_frozen(a), _frozen(b)) for name, (a, b) in domain.norm.items()}
                rows = {name: (_frozen(a), _frozen(b)) for name, (a, b) in domain.rows.items()}
                place = _frozen(domain.place.astype(np.float32))
                found[number] = Domain(place, domain.frames, norm, rows)
        return replace(self, domains=dict(sorted(found.items())))

    def _domain(self, number: int) -> Domain:
        if number not in self.domains:
            raise unfit(f"of domain {number}", "unknown")
        return self.domains[number]

    def _domains_under(self, head: Head) -> dict[int, Domain]:
        """Domains that have rows of the classifier, with these in the places that a head has for
        their classes."""
        places = np.array([head.positions.get(name, -1) for name in self.classes])
        found = {}
        for number in self._heads:
            rows = dict(self.domains[number].rows)
            for name in rows.keys() & set(self.base.head_names):
                indices, values = rows.pop(name)
                moved = places[indices]
                order = np.argsort(moved)[(moved < 0).sum() :]
                if len(order):
                    rows[name] = (moved[order], values[order])
            found[number] = replace(self.domains[number], rows=rows)
        return found

    def _require_domain(self, number: int, domain: Domain) -> None:
        if number <= OWN or domain.frames < 1 or domain.place.ndim != 1:
            raise unfit(f"of domain {number}", f"from {domain.frames} frames")
        require_place(number, domain.place, self.base.place or len(domain.place))
        require_norm(domain.norm, self.base.channels)
        for name, rows in domain.rows.items():
            require_own_rows(name, self.parameter(name), rows)

    def _changed(self, new: Parameters) -> Parameters:
        """`changed` with other whole parameters, of which only those stay that really differ."""
        found = dict(self.changed)
        for name, value in new.items():
            own = self.base.parameters[name]
            require_numbers(name, value)
            found.pop(name, None)
            if value.shape != own.shape or value.tobytes() != own.tobytes():
                found[name] = _frozen(value)
        return found


def bundle_network(bundle: Bundle) -> Network:
    """The network of a bundle as it was exported."""
    manifest, moments = bundle.manifest, bundle.manifest.moments
    layers = [layer for rung in manifest.rungs.values() for layer in rung.layers]
    return Network(
        Base(
            hash=manifest.bundle_hash,
            classes=manifest.classes,
            parameters=bundle.parameters(),
            head_weight=manifest.head_weight,
            head_bias=manifest.head_bias,
            biases={layer.weight: layer.bias for layer in layers},
            place=None if moments is None else 2 * moments.channels,
        )
    )


def _per_row(scale: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A number per row, shaped to be multiplied with all of the row."""
    return scale.reshape(-1, *[1] * (values.ndim - 1))


def _put(value: NDArray[np.float32], rows: Selected | None) -> NDArray[np.float32]:
    """A parameter with a domain's rows in place, if it has some; nobody can write it."""
    return value if rows is None else _frozen(put_rows(value, rows))


def _frozen(value: NDArray[Scalar]) -> NDArray[Scalar]:
    """A copy that nobody can write."""
    copy = np.array(value, order="C")
    copy.flags.writeable = False
    return copy
