"""Deltas of networks: telling two apart, and going from one to the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.canonical import domain_bytes
from sel_edge.bundle.delta import Delta, Rows
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
    numbers = sorted(before.domains.keys() | after.domains.keys())
    domains = [
        (number, before.domains.get(number), after.domains.get(number)) for number in numbers
    ]
    return Delta(
        base=before.bundle_hash,
        parent=before.hash,
        new=after.hash,
        counter=counter,
        frame=frame,
        learned=after.learned,
        rows=rows,
        domains={
            number: new
            for number, old, new in domains
            if domain_bytes(number, old) != domain_bytes(number, new)
        },
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
    result = network.with_head(head).with_rows(body).with_domains(delta.domains)
    if result.hash != delta.new:
        raise _refused(f"leads to the network {result.hash}", f"{delta.new}, as it says,")
    return result


def _rows(before: NDArray[np.float32], after: NDArray[np.float32]) -> Rows | None:
    """The rows that are new or differ by a bit; None if the two are the same."""
    common = min(len(before), len(after))
    bits = [
        np.ascontiguousarray(value[:common]).view(np.uint32).reshape(common, -1)
        for value in (before, after)
    ]
    differ = np.ones(len(after), bool)
    differ[:common] = (bits[0] != bits[1]).any(axis=1)
    if before.shape == after.shape and not differ.any():
        return None
    indices = np.flatnonzero(differ)
    return Rows(indices, after[indices], len(after))


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
