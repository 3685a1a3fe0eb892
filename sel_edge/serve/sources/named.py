"""SOURCE: one line of text that names where live frames come from.

    camera[:NUMBER][?size=WxH&fps=F]     a camera; 0 is the first
    video:PATH[?fps=F&loop=1]            a video file
    rtsp://... or rtsps://...            a network camera
    inbox:DIR                            a folder in which pictures appear
    http                                 nothing but POST /api/v1/frames
    [stream:]SPEC[&pace=F&loop=1]        a stream of data sets, as `sel-edge run` takes it

In PATH and DIR the characters ``% ?`` are percent-encoded. `fps` and `pace` are frames per second;
0 is as fast as they are answered, with none dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from sel_edge.core.errors import DataError
from sel_edge.data.corruptions import check_corruption
from sel_edge.data.spec import parse_stream
from sel_edge.serve.sources.http import HttpSource
from sel_edge.serve.sources.inbox import InboxSource
from sel_edge.serve.sources.interface import HTTP, Source
from sel_edge.serve.sources.stream import StreamSource

GRAMMAR = (
    "A source is camera[:NUMBER], video:PATH, rtsp://..., inbox:DIR, http, or a stream SPEC; see "
    "`sel-edge serve --help`."
)
STREAM_FPS = 10.0
"""Of a stream without `pace`."""
MAX_FPS = 100_000.0
MAX_SIDE = 8_192
_KEYS = {"camera": ("size", "fps"), "video": ("fps", "loop"), "inbox": ()}
RTSP = ("rtsp", "rtsps")
_CAMERA = re.compile(r"[0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


def open_source(text: str, memory: Path) -> Source:
    """The source of a name; what can be checked beforehand is.

    Args:
        text: SOURCE.
        memory: directory in which it may keep what it must remember over restarts.

    Raises:
        DataError: the text, or what it names, cannot be used.
        MissingDependencyError: a package that it needs is missing.
    """
    kind = _kind(text)
    if text == HTTP:
        return HttpSource()
    if kind in RTSP:
        from sel_edge.serve.sources.opencv import RtspSource

        return RtspSource(text)
    if kind not in _KEYS:
        return _stream(text)
    asked = _parsed(text, kind)
    if kind == "inbox":
        return InboxSource(text, asked.folder(), memory)
    if kind == "video":
        from sel_edge.serve.sources.opencv import VideoSource

        return VideoSource(text, asked.file(), asked.fps(), asked.loop())
    from sel_edge.serve.sources.camera import open_camera

    return open_camera(text, asked.camera(), asked.size(), asked.fps() or None)


def check_source(text: str) -> None:
    """Check the grammar of a name that another machine is to open: nothing is looked for here.

    Args:
        text: SOURCE.

    Raises:
        DataError: no machine can use it.
    """
    kind = _kind(text)
    if text == HTTP or kind in RTSP:
        return
    if kind not in _KEYS:
        _check_stream(text)
        return
    asked = _parsed(text, kind)
    if kind == "camera":
        asked.camera()
        asked.size()
    elif not asked.place:
        refuse(text, "The name of a file or folder is expected behind the colon.")
    asked.fps()
    asked.loop()


def _kind(text: str) -> str:
    kind = re.split(r"[:?]", text, maxsplit=1)[0]
    if kind in (HTTP, "https") and text != HTTP:
        refuse(text, "http stands alone: pictures are sent to this device, none are fetched.")
    return kind


@dataclass(frozen=True)
class _Asked:
    """What follows a kind of source.

    Attributes:
        text: SOURCE.
        place: percent-decoded; "" if there is none.
        keys: name -> value.
    """

    text: str
    place: str
    keys: Mapping[str, str]

    def file(self) -> Path:
        return self._existing(Path.is_file, "an existing file")

    def folder(self) -> Path:
        return self._existing(Path.is_dir, "an existing folder")

    def camera(self) -> int:
        if self.place and not _CAMERA.fullmatch(self.place):
            refuse(self.text, "A camera is named by its number, such as camera:0.")
        return int(self.place or 0)

    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels."""
        if "size" not in self.keys:
            return None
        found = _SIZE.fullmatch(self.keys["size"])
        sides = (int(found[1]), int(found[2])) if found else (0, 0)
        if not all(16 <= side <= MAX_SIDE for side in sides):
            refuse(self.text, f"size= is WIDTHxHEIGHT, each from 16 to {MAX_SIDE}.")
        return sides

    def fps(self) -> float | None:
        return rate(self.text, "fps", self.keys)

    def loop(self) -> bool:
        return loop(self.text, self.keys)

    def _existing(self, is_kind: Callable[[Path], bool], what: str) -> Path:
        path = Path(self.place)
        try:
            found = bool(self.place) and is_kind(path)
        except (OSError, ValueError):
            found = False
        if not found:
            refuse(self.text, f"The name of {what} is expected behind the colon.")
        return path.resolve()


def _parsed(text: str, kind: str) -> _Asked:
    place, _, rest = text[len(kind) :].partition("?")
    keys: dict[str, str] = {}
    for pair in rest.split("&") if rest else ():
        key, _, value = pair.partition("=")
        if key not in _KEYS[kind] or key in keys:
            known = ", ".join(_KEYS[kind]) or "none"
            refuse(text, f"Known keys of {kind}, each at most once: {known}.")
        keys[key] = value
    return _Asked(text, unquote(place.removeprefix(":")), keys)


def _stream(text: str) -> StreamSource:
    spec, fps, is_endless = _split_stream(text)
    with _naming_all_kinds():
        return StreamSource(text, spec, STREAM_FPS if fps is None else fps, is_endless)


def _check_stream(text: str) -> None:
    spec, _, _ = _split_stream(text)
    with _naming_all_kinds():
        for segment in parse_stream(spec):
            if segment.corrupt:
                check_corruption(*segment.corrupt)
            # Most likely a misspelt kind; the daemon's own folder is nothing that a user names.
            if segment.source.kind == "path" and not Path(segment.source.path or "").is_absolute():
                refuse(text, "It names no kind of source, and no absolute path.")


@contextmanager
def _naming_all_kinds() -> Iterator[None]:
    """Whoever meant another kind of source learns what there is."""
    try:
        yield
    except DataError as error:
        action = error.action if GRAMMAR in error.action else f"{error.action} {GRAMMAR}"
        raise DataError(error.found, error.expected, action) from error


def _split_stream(text: str) -> tuple[str, float | None, bool]:
    """SPEC, frames per second and whether it is endless; the keys of this module may stand behind
    those of the last segment."""
    spec, fps, is_endless = text.removeprefix("stream:"), None, False
    head, question, tail = spec.rpartition("?")
    if question and "+" not in tail:
        pairs = [pair.partition("=") for pair in tail.split("&")]
        own = {key: value for key, _, value in pairs if key in ("pace", "loop")}
        others = "&".join("".join(pair) for pair in pairs if pair[0] not in own)
        spec = f"{head}?{others}" if others else head
        fps, is_endless = rate(text, "pace", own), loop(text, own)
    return spec, fps, is_endless


def rate(text: str, key: str, keys: Mapping[str, str]) -> float | None:
    """Frames per second of a source; None if it does not say so.

    Raises:
        DataError: it is no rate.
    """
    if key not in keys:
        return None
    value = keys[key]
    if not _NUMBER.fullmatch(value) or not (float(value) == 0 or 0.001 <= float(value) <= MAX_FPS):
        refuse(text, f"{key}= is 0, or frames per second from 0.001 to {MAX_FPS:.0f}.")
    return float(value)


def loop(text: str, keys: Mapping[str, str]) -> bool:
    """Whether a source begins again at its end.

    Raises:
        DataError: it is neither said nor denied.
    """
    if keys.get("loop", "0") not in ("0", "1"):
        refuse(text, "loop= is 0 or 1.")
    return keys.get("loop") == "1"


def refuse(text: str, expected: str) -> NoReturn:
    """The error for a SOURCE that cannot be used."""
    raise DataError(f"The source {text!r} cannot be used.", expected, GRAMMAR)
