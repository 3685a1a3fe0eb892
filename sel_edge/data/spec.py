"""SPEC strings: one line of text that names a data set or a stream.

A data set is ``KIND[:PATH]`` or a bare ``PATH``, then ``?key=value&...``; a stream segment puts
``:train``, ``:test`` or ``:all`` before the ``?`` and has more keys; segments are joined by ``+``.
In paths, names and class names the characters ``% ? & = , +`` are percent-encoded, and so is a
``:`` that would be read as a separator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast, get_args
from urllib.parse import quote, unquote

from sel_edge.core.errors import DataError

Kind = Literal["digits", "cifar10", "folder", "npz", "signals", "path"]
Mode = Literal["rgb", "gray"]
LabelPlace = Literal["first", "last"]
Split = Literal["train", "test", "all"]
Order = Literal["random", "sorted", "original"]

_IMAGE_KEYS = ("size", "mode", "bad")
_SIGNAL_KEYS = ("label", "channels")
_DATA_KEYS = ("classes", *_IMAGE_KEYS, *_SIGNAL_KEYS)
_STREAM_KEYS = ("corrupt", "order", "labels", "seed", "skip", "n", "name")
_PATHLESS = ("digits", "cifar10")
_T = TypeVar("_T")


@dataclass(frozen=True)
class DataSpec:
    """A parsed data SPEC; ``str()`` gives a text that parses to the same value.

    Attributes:
        kind: "path" is a bare PATH, whose kind is found by looking at its content.
        path: decoded path, None for the built-in sources.
        classes: names of the classes to keep, empty for all.
        size: side in pixels to which images are resized when decoded, None to keep them.
        mode: colour mode to convert to, None to refuse what would need converting.
        skip_bad: whether to leave out images that cannot be decoded, instead of refusing them.
        label: where a row of a text file of signals has its label.
        channels: of each signal of a text file; its row holds one after the other.
    """

    kind: Kind
    path: str | None = None
    classes: tuple[str, ...] = ()
    size: int | None = None
    mode: Mode | None = None
    skip_bad: bool = False
    label: LabelPlace = "first"
    channels: int = 1

    def __str__(self) -> str:
        return self.place() + _join_keys(self.keys())

    def place(self) -> str:
        """``KIND[:PATH]`` without keys."""
        if self.path is None:
            return self.kind
        if self.kind == "path":
            return encode_text(self.path)
        return f"{self.kind}:{encode_text(self.path)}"

    def keys(self) -> dict[str, str]:
        """The keys that differ from their defaults, as they are written."""
        texts = {
            "classes": ",".join(encode_text(name) for name in self.classes),
            "size": "" if self.size is None else str(self.size),
            "mode": self.mode or "",
            "bad": "skip" if self.skip_bad else "",
            "label": self.label if self.label != "first" else "",
            "channels": str(self.channels) if self.channels != 1 else "",
        }
        return {key: text for key, text in texts.items() if text}


@dataclass(frozen=True)
class SegmentSpec:
    """One parsed segment of a stream SPEC; ``str()`` gives a text that parses to the same value.

    Attributes:
        source: the data set; its `classes` are those of the segment.
        split: which split the frames come from ("all": training, then test set).
        corrupt: kind and severity 1..5 of a corruption, None for clean frames.
        order: "random" by `seed`, "sorted" by class, or "original" as in the data set.
        labels: share 0..1 of the frames whose label the learner is given.
        seed: of the order, of the choice of labelled frames and of the corruption; >= 0.
        skip: frames left out at the start, after ordering.
        n: frames taken after `skip`, None for all that are left.
        name: what reports call the segment, "" to describe it by its keys.
    """

    source: DataSpec
    split: Split = "test"
    corrupt: tuple[str, int] | None = None
    order: Order = "random"
    labels: float = 0.0
    seed: int = 0
    skip: int = 0
    n: int | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source.place()}:{self.split}" + _join_keys(self.keys())

    def keys(self) -> dict[str, str]:
        """The keys that differ from their defaults, as they are written."""
        texts = {
            "corrupt": f"{self.corrupt[0]}:{self.corrupt[1]}" if self.corrupt else "",
            "order": self.order if self.order != "random" else "",
            "labels": repr(self.labels) if self.labels else "",
            "seed": str(self.seed) if self.seed else "",
            "skip": str(self.skip) if self.skip else "",
            "n": "" if self.n is None else str(self.n),
            "name": encode_text(self.name),
        }
        return self.source.keys() | {key: text for key, text in texts.items() if text}


def encode_text(text: str) -> str:
    """Percent-encode a path or name so that it can stand inside a SPEC."""
    return quote(text, safe="/~@!$*()[]{}^|;'\"<>")


def parse_data(text: str) -> DataSpec:
    """Parse a data SPEC.

    Raises:
        DataError: it is empty, has an unknown or repeated key, an impossible value, or is a stream.
    """
    if "+" in text:
        raise DataError(
            f"The data SPEC {text!r} contains a plus sign.",
            "A data set is one source; + joins the segments of a stream.",
            "If the + belongs to a path, write it as %2B.",
        )
    place, keys = _split_keys(text, _DATA_KEYS)
    if place.rpartition(":")[2] in get_args(Split) and ":" in place:
        raise DataError(
            f"The data SPEC {text!r} chooses a split.",
            "A data set has all its splits; only streams choose :train, :test or :all.",
            "Remove the last part; if it belongs to a path, write the : as %3A.",
        )
    return _data_spec(text, place, keys)


def parse_stream(text: str) -> tuple[SegmentSpec, ...]:
    """Parse a stream SPEC into its segments, at least one.

    Raises:
        DataError: a segment is empty, has an unknown or repeated key, or an impossible value.
    """
    return tuple(_segment_spec(part.strip()) for part in text.split("+"))


def _segment_spec(text: str) -> SegmentSpec:
    place, keys = _split_keys(text, _DATA_KEYS + _STREAM_KEYS)
    head, colon, tail = place.rpartition(":")
    has_split = bool(colon) and tail in get_args(Split)
    value = _Values(text, keys)
    return SegmentSpec(
        source=_data_spec(text, head if has_split else place, keys),
        split=cast(Split, tail) if has_split else "test",
        corrupt=value.get("corrupt", _corruption, "KIND:SEVERITY, severity 1 to 5, such as fog:4"),
        order=cast(Order, value.one_of("order", get_args(Order)) or "random"),
        labels=value.get("labels", _share, "a share from 0 to 1") or 0.0,
        seed=value.get("seed", _count(0), "a whole number from 0") or 0,
        skip=value.get("skip", _count(0), "a whole number from 0") or 0,
        n=value.get("n", _count(1), "a whole number from 1"),
        name=unquote(keys.get("name", "")),
    )


def _data_spec(text: str, place: str, keys: Mapping[str, str]) -> DataSpec:
    kind, colon, encoded = place.partition(":")
    if kind not in get_args(Kind) or kind == "path":
        kind, encoded = "path", place
    if not encoded and (kind not in _PATHLESS or colon):
        raise DataError(
            f"The SPEC {text!r} names no path.",
            "A SPEC is digits, cifar10, cifar10:PATH, folder:PATH, npz:PATH, signals:PATH or PATH.",
            "Add the path of a folder or archive.",
        )
    if kind == "digits" and encoded:
        raise DataError(
            f"The SPEC {text!r} gives the built-in digits a path ({encoded!r}).",
            "The digits come with scikit-learn.",
            "Write digits.",
        )
    _check_keys(text, kind, keys)
    value = _Values(text, keys)
    return DataSpec(
        kind=cast(Kind, kind),
        path=unquote(encoded) if encoded else None,
        classes=value.get("classes", _names, "different names separated by commas") or (),
        size=value.get("size", _count(1, 4096), "a whole number of pixels from 1 to 4096"),
        mode=cast(Mode | None, value.one_of("mode", get_args(Mode))),
        skip_bad=value.one_of("bad", ("skip",)) is not None,
        label=cast(LabelPlace, value.one_of("label", get_args(LabelPlace)) or "first"),
        channels=value.get("channels", _count(1), "a whole number from 1") or 1,
    )


def _check_keys(text: str, kind: str, keys: Mapping[str, str]) -> None:
    """Refuse keys that mean nothing for this kind of source."""
    strange = [key for key in (_IMAGE_KEYS if kind == "signals" else _SIGNAL_KEYS) if key in keys]
    if strange:
        raise DataError(
            f"The SPEC {text!r} sets {strange[0]}=.",
            f"Keys of images are {', '.join(_IMAGE_KEYS)}; keys of signals:PATH are "
            f"{', '.join(_SIGNAL_KEYS)}.",
            "Remove the key, or name the source by its kind.",
        )


def _split_keys(text: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    if text.encode(errors="replace").decode() != text:
        raise DataError(
            f"The SPEC {text!a} is not UTF-8.",
            "Paths and names become parts of records, which are UTF-8.",
            "Rename the file or folder.",
        )
    place, question, rest = text.partition("?")
    keys: dict[str, str] = {}
    for pair in rest.split("&") if question else ():
        key, _, value = pair.partition("=")
        if key not in known or key in keys:
            fault = "repeated" if key in keys else "unknown"
            raise DataError(
                f"The SPEC {text!r} has the {fault} key {key!r}.",
                f"Known keys, each at most once, are {', '.join(known)}.",
                "Correct or remove it; in a path, write ? as %3F.",
            )
        keys[key] = value
    return place, keys


@dataclass(frozen=True)
class _Values:
    """Reads typed values out of the keys of one SPEC."""

    text: str
    keys: Mapping[str, str]

    def get(self, key: str, read: Callable[[str], _T], expected: str) -> _T | None:
        if key not in self.keys:
            return None
        try:
            return read(self.keys[key])
        except ValueError as error:
            raise DataError(
                f"The SPEC {self.text!r} sets {key}={self.keys[key]}.",
                f"{key}= takes {expected}.",
                "Correct the value.",
            ) from error

    def one_of(self, key: str, choices: tuple[str, ...]) -> str | None:
        def read(value: str) -> str:
            if value not in choices:
                raise ValueError(value)
            return value

        return self.get(key, read, " or ".join(choices))


def _count(lowest: int, highest: int = 2**31 - 1) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not lowest <= int(value) <= highest:
            raise ValueError(value)
        return int(value)

    return read


def _share(value: str) -> float:
    if not 0.0 <= float(value) <= 1.0:
        raise ValueError(value)
    return float(value)


def _corruption(value: str) -> tuple[str, int]:
    kind, _, severity = value.partition(":")
    return unquote(kind), _count(1, 5)(severity)


def _names(value: str) -> tuple[str, ...]:
    names = tuple(unquote(name) for name in value.split(","))
    if "" in names or len(set(names)) < len(names):
        raise ValueError(value)
    return names


def _join_keys(keys: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{key}={value}" for key, value in keys.items()) if keys else ""
