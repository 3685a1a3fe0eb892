"""A delta: what one kept update changed, as few bytes that equal deltas have in common.

The bytes are in docs/SPEC.md. A delta names the bundle, the network it was made from and the
network that comes out, so it can only be applied where it belongs.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.canonical import (
    Reader,
    counted,
    domain_bytes,
    float_bytes,
    index_bytes,
    shape_bytes,
    text_bytes,
)
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.bundle.keys import KEY_BYTES, SIGNATURE_BYTES, PrivateKey, PublicKey
from sel_edge.core.errors import BundleError

MAGIC = b"SELD"
VERSION = 2
WITHOUT_DOMAIN_ROWS = 1
"""The version before; a delta that changes no rows of domains is still written in it."""
MAX_DELTA_BYTES = 2**28
PURPOSE = "delta 1"
"""Keeps a signature of a delta from being taken for one of anything else."""
_START = "<4sHHQQ"
"""Magic, version, 0, counter, frame."""
_TRAILER_BYTES = KEY_BYTES + SIGNATURE_BYTES
START_BYTES = struct.calcsize(_START)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one parameter.

    Attributes:
        indices: int64 [k], ascending.
        values: float32 [k, ...]: these rows, in the bundle's coordinates.
        count: how many rows the parameter has afterwards. The rows of a classifier that are new
            are all among `indices`; those from `count` on are gone.
    """

    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    count: int


@dataclass(frozen=True, eq=False)
class OwnRows:
    """What changes among the rows of one parameter that a domain has to itself.

    Attributes:
        rows: those that are new or differ; `count` is how many rows the shared parameter has.
        gone: those in whose place the shared ones stand again, int64 [d], ascending.
    """

    rows: Rows
    gone: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Delta:
    """The difference between two networks of one bundle.

    Attributes:
        base: hash of the bundle.
        parent, new: hashes of the network before and after.
        counter: rises with every commit of a device, 0 to 2^64 - 1.
        frame: frames that the device had seen when it made the delta.
        learned: all classes beyond the bundle's, as they are afterwards.
        rows: parameter -> its rows that differ.
        domains: number -> domain that is new, or differs in more than its rows; None for one that
            is no more. Their rows are not here.
        own_rows: number -> parameter -> what changes of the domain's rows. A domain has none when
            it is new; one that differs has those it had; rows of a class that is learned no more
            are gone, and those of one that moved moved with it, before any of this.
    """

    base: str
    parent: str
    new: str
    counter: int
    frame: int
    learned: tuple[str, ...]
    rows: Mapping[str, Rows]
    domains: Mapping[int, Domain | None]
    own_rows: Mapping[int, Mapping[str, OwnRows]] = field(default_factory=dict)

    @cached_property
    def content(self) -> bytes:
        """The delta as bytes, not signed.

        Raises:
            BundleError: a name cannot be stored.
        """
        hashes = "".join((self.base, self.parent, self.new))
        version = VERSION if self.own_rows else WITHOUT_DOMAIN_ROWS
        domains = counted(_domain_bytes(*pair) for pair in sorted(self.own_rows.items()))
        return b"".join(
            (
                struct.pack(_START, MAGIC, version, 0, self.counter, self.frame),
                bytes.fromhex(hashes),
                counted(text_bytes(name) for name in self.learned),
                counted(_rows_bytes(name, rows) for name, rows in sorted(self.rows.items())),
                counted(domain_bytes(*pair) for pair in sorted(self.domains.items())),
                domains if self.own_rows else b"",
            )
        )

    @property
    def file_bytes(self) -> int:
        """How long its file is: what it costs to store or send."""
        return len(self.content) + _TRAILER_BYTES

    def signed(self, key: PrivateKey) -> bytes:
        """The content of a delta file: the delta, the signer's public key and the signature."""
        return self.content + key.public.raw + key.sign(PURPOSE, self.content)


def parse_delta(content: bytes) -> Delta:
    """Read what `Delta.content` wrote, and nothing else.

    Whether it fits a network is not looked at here; see `sel_edge.runtime.deltas.apply`.

    Raises:
        BundleError: damaged, of another version, or made to do harm.
    """
    try:
        return _parse(content)
    except (ValueError, struct.error) as error:
        raise _damaged(str(error)) from error


def open_delta(content: bytes, trusted: Collection[PublicKey]) -> Delta:
    """Read a delta file that one of some keys has signed.

    Raises:
        BundleError: the signature is not by one of these keys or not of these bytes, or the delta
            is damaged.
    """
    if not _TRAILER_BYTES < len(content) <= MAX_DELTA_BYTES:
        raise _damaged(f"it has {len(content)} bytes")
    body, trailer = content[:-_TRAILER_BYTES], content[-_TRAILER_BYTES:]
    signer = PublicKey(trailer[:KEY_BYTES])
    if signer not in trusted:
        raise BundleError(
            f"A delta is signed by the unknown key {signer.fingerprint}.",
            "A delta signed by a key that this device trusts is expected.",
            "Do not use it, or get it again from a source you trust.",
        )
    signer.verify(PURPOSE, body, trailer[KEY_BYTES:])
    return parse_delta(body)


def peek_counter(start: bytes) -> int:
    """The counter in the first `START_BYTES` of a delta file, unchecked; 0 if there is none."""
    return int(struct.unpack(_START, start)[3]) if len(start) == START_BYTES else 0


def _rows_bytes(name: str, rows: Rows) -> bytes:
    """A parameter's name, its shape afterwards, and its rows; all of them need no numbers."""
    number = len(rows.indices)
    every = number == rows.count
    return b"".join(
        (
            text_bytes(name),
            shape_bytes((rows.count, *rows.values.shape[1:])),
            struct.pack("<I", number),
            b"" if every else index_bytes(rows.indices),
            float_bytes(rows.values),
        )
    )


def _domain_bytes(number: int, parameters: Mapping[str, OwnRows]) -> bytes:
    """A domain's number and what changes of its rows."""
    return struct.pack("<I", number) + counted(
        _rows_bytes(name, own.rows) + struct.pack("<I", len(own.gone)) + index_bytes(own.gone)
        for name, own in sorted(parameters.items())
    )


def _parse(content: bytes) -> Delta:
    reader = Reader(content)
    magic, version, flags, counter, frame = reader.unpack(_START)
    if magic != MAGIC:
        raise ValueError("it is no delta")
    if version not in (VERSION, WITHOUT_DOMAIN_ROWS):
        raise BundleError(
            f"A delta has version {version}.",
            f"This version of sel-edge reads versions {WITHOUT_DOMAIN_ROWS} and {VERSION}.",
            "Update sel-edge, or make the delta again with this version.",
        )
    if flags:
        raise ValueError(f"its flags are {flags}")
    base, parent, new = reader.hash(), reader.hash(), reader.hash()
    learned = tuple(reader.text() for _ in range(reader.count()))
    if len(set(learned)) != len(learned):
        raise ValueError("it names a class twice")
    rows: dict[str, Rows] = {}
    name = ""
    for _ in range(reader.count()):
        name = reader.text(after=name)
        rows[name] = _read_rows(reader)
    domains: dict[int, Domain | None] = {}
    number = OWN
    for _ in range(reader.count()):
        number, domain = reader.domain(after=number)
        domains[number] = domain
    own_rows = _read_domains(reader) if version == VERSION else {}
    reader.finish()
    return Delta(base, parent, new, counter, frame, learned, rows, domains, own_rows)


def _read_rows(reader: Reader) -> Rows:
    count, *rest = reader.shape()
    (number,) = reader.unpack("<I")
    if number > count:
        raise ValueError("a parameter has more rows than it says")
    every = number == count
    indices = None if every else reader.indices(number, count)
    values = reader.floats((number, *rest))  # as many bytes are there, so `number` is no lie
    return Rows(np.arange(number) if indices is None else indices, values, count)


def _read_domains(reader: Reader) -> dict[int, dict[str, OwnRows]]:
    """What changes of the rows of domains: of one domain and one parameter at least."""
    found: dict[int, dict[str, OwnRows]] = {}
    number = OWN
    for _ in range(reader.count()):
        number, name = reader.number(after=number), ""
        found[number] = {}
        for _ in range(reader.count()):
            name = reader.text(after=name)
            found[number][name] = _read_own_rows(reader)
    if not found or not all(found.values()):
        raise ValueError("it has a domain of which no rows change, or no such domain at all")
    return found


def _read_own_rows(reader: Reader) -> OwnRows:
    rows = _read_rows(reader)
    (number,) = reader.unpack("<I")
    gone = reader.indices(number, rows.count)
    if not len(gone) + len(rows.indices) or np.isin(gone, rows.indices).any():
        raise ValueError("rows of a domain do not change, or change and are gone")
    return OwnRows(rows, gone)


def _damaged(detail: str) -> BundleError:
    return BundleError(
        f"A delta cannot be used: {detail}.",
        "The bytes of a delta as sel-edge writes them are expected.",
        "Get it again from the device that made it.",
    )
