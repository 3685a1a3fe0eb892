"""Deltas of networks: telling two apart, and going from one to the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.canonical import domain_bytes
from sel_edge.bundle.delta import Delta, OwnRows, Rows
from sel_edge.bundle.domain import Domain, DomainRows, Selected, differing_rows, merge_rows
from sel_edge.core.errors import BundleError
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network


def between(before: Network, after: Network, counter: int, frame: int) -> Delta:
    """What leads from one network to another of the same bundle.

    Args:
        before, after: networks; `apply` of the result to the first gives the second, bit for bit.
        counter: the device's, see `Delta`.
        frame: frames seen so far.

    Raises:
        BundleError: they belong to different bundles.
    """
    if before.bundle_hash != after.bundle_hash:
        raise _refused("is between networks of two bundles", "networks of one bundle")
    rows = {}
    for name in sorted(before.changed.keys() | after.changed.keys()):
        if (found := _rows(before.parameter(name), after.parameter(name))) is not None:
            rows[name] = found
    domains: dict[int, Domain | None] = {}
    for number in sorted(before.domains.keys() | after.domains.keys()):
        old, new = before.domains.get(number), after.domains.get(number)
        if domain_bytes(number, old) != domain_bytes(number, new):
            domains[number] = None if new is None else replace(new, rows={})
    return Delta(
        base=before.bundle_hash,
        parent=before.hash,
        new=after.hash,
        counter=counter,
        frame=frame,
        learned=after.learned,
        rows=rows,
        domains=domains,
        own_rows=_own_rows(before.with_head(after.head), after),
    )


def apply(network: Network, delta: Delta) -> Network:
    """The network that a delta leads to.

    Raises:
        BundleError: the delta is for another bundle or another network, does not fit it, or leads
            to another network than it says.
    """
    if delta.base != network.bundle_hash:
        raise _refused(f"is for the bundle {delta.base}", f"one for {network.bundle_hash}")
    if delta.parent != network.hash:
        raise _refused(f"is for the network {delta.parent}", f"one for {network.hash}")
    base = network.base
    known = len(base.classes) + len(network.learned)
    classes = (*base.classes, *delta.learned)
    heads = {base.head_weight: network.head.weight, base.head_bias: network.head.bias}
    for name, before in heads.items():
        rows = delta.rows.get(name)
        if rows is not None:
            _require_count(name, rows, len(classes))
            heads[name] = _put(name, before, rows)
        elif len(classes) != known:
            raise _refused(f"changes the classes and not {name}", "both")
    body = {}
    for name, rows in delta.rows.items():
        if name not in heads:
            _require_count(name, rows, len(network.parameter(name)))
            body[name] = (rows.indices, rows.values)
    head = Head(heads[base.head_weight], heads[base.head_bias], classes)
    result = network.with_head(head).with_rows(body)
    result = result.with_domains(_domains(result, delta))
    if result.hash != delta.new:
        raise _refused(f"leads to the network {result.hash}", f"{delta.new}, as it says,")
    return result


def _rows(before: NDArray[np.float32], after: NDArray[np.float32]) -> Rows | None:
    """The rows that are new or differ by a bit; None if the two are the same."""
    common = min(len(before), len(after))
    differ = np.ones(len(after), bool)
    differ[:common] = differing_rows(before[:common], after[:common])
    if before.shape == after.shape and not differ.any():
        return None
    indices = np.flatnonzero(differ)
    return Rows(indices, after[indices], len(after))


def _own_rows(before: Network, after: Network) -> dict[int, dict[str, OwnRows]]:
    """What changes of the rows of domains, between networks of the same classes."""
    found = {}
    for number, domain in after.domains.items():
        old: DomainRows = before.domains[number].rows if number in before.domains else {}
        changes = {}
        for name in sorted(old.keys() | domain.rows.keys()):
            count, *rest = after.parameter(name).shape
            none = (np.zeros(0, np.int64), np.zeros((0, *rest), np.float32))
            change = _own(old.get(name, none), domain.rows.get(name, none), count)
            if len(change.gone) or len(change.rows.indices):
                changes[name] = change
        if changes:
            found[number] = changes
    return found


def _own(before: Selected, after: Selected, count: int) -> OwnRows:
    """What changes of a domain's rows of one parameter, which has `count` rows."""
    _, old, new = np.intersect1d(before[0], after[0], assume_unique=True, return_indices=True)
    differ = np.ones(len(after[0]), bool)
    differ[new] = differing_rows(before[1][old], after[1][new])
    rows = Rows(after[0][differ], after[1][differ], count)
    return OwnRows(rows, np.setdiff1d(before[0], after[0], assume_unique=True))


def _domains(network: Network, delta: Delta) -> dict[int, Domain | None]:
    """The domains that a delta changes, as they are afterwards.

    Args:
        network: with the delta's classes and shared rows already.
        delta: of which the rest is to be applied.
    """
    found = dict(delta.domains)
    for number, new in delta.domains.items():
        if new is not None and number in network.domains:
            found[number] = replace(new, rows=network.domains[number].rows)
    for number, changes in delta.own_rows.items():
        domain = found.get(number, network.domains.get(number))
        if domain is None:
            raise _refused(f"has rows of the domain {number}", "rows of domains that it leaves")
        rows = dict(domain.rows)
        for name, own in changes.items():
            shape = network.parameter(name).shape
            if (own.rows.count, *own.rows.values.shape[1:]) != shape:
                raise _refused(f"has rows of {name} that do not fit", f"rows of {list(shape)}")
            before = rows.pop(name, (own.gone[:0], own.rows.values[:0]))
            kept = ~np.isin(before[0], own.gone)
            merged = merge_rows(
                (before[0][kept], before[1][kept]), (own.rows.indices, own.rows.values)
            )
            if len(merged[0]):
                rows[name] = merged
        found[number] = replace(domain, rows=rows)
    return found


def _put(name: str, before: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
    """A classifier's parameter with rows put in, and more or fewer of them than before."""
    added = np.arange(len(before), rows.count)
    fits = rows.values.shape[1:] == before.shape[1:]
    if not fits or not np.isin(added, rows.indices).all():
        raise _refused(f"has rows of {name} that do not fit", "all rows that are new")
    after = np.zeros((rows.count, *before.shape[1:]), np.float32)
    common = min(len(before), rows.count)
    after[:common] = before[:common]
    after[rows.indices] = rows.values
    return after


def _require_count(name: str, rows: Rows, expected: int) -> None:
    if rows.count != expected:
        raise _refused(f"has {rows.count} rows of {name}", f"{expected}")


def _refused(found: str, expected: str) -> BundleError:
    return BundleError(
        f"The delta {found}.",
        f"What is expected is {expected}.",
        "Use deltas in the order in which they were made, on the bundle they were made for.",
    )
