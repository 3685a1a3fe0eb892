"""Frames as pictures for people, and pictures that people send as frames."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from sel_edge.core.errors import DataError
from sel_edge.serve.device import Picture

ACCEPTED = {"image/jpeg": "JPEG", "image/png": "PNG"}
"""Media type -> format in Pillow's words."""
MAX_PIXELS = 2**24
"""Of a picture that is sent: more than any common camera has, and 50 MB once decoded."""
KEPT_SIDE = 640
"""Pixels of the longer side of what is kept of a picture."""
VIEW_WIDTH = 640
SMALL_PIXELS = 2**16
"""Pictures up to this many stay lossless."""
SIGNAL_SIZE = (640, 320)
_LINES = ("#2f6fde", "#d0572b", "#2a9461", "#8a56c4", "#b08a00", "#5b6b7b")
"""Visible on light and on dark."""
_decoding = threading.Lock()


def read_picture(content: bytes, media_type: str) -> Picture:
    """Decode what somebody sent, uint8 [H, W, C], C = 1 or 3; one at a time, for the memory.

    Args:
        content: of a file.
        media_type: one of `ACCEPTED`.

    Raises:
        DataError: it is damaged, of another format, or would be too large.
    """
    with _decoding, _readable():
        if not content:
            raise _unusable("The body is empty")
        form = ACCEPTED[media_type]
        try:
            file = Image.open(io.BytesIO(content), formats=(form,))
        except UnidentifiedImageError as error:  # Pillow's own words name an address of memory
            raise _unusable(f"It is no {form} file") from error
        if file.width * file.height > MAX_PIXELS:
            raise _unusable(f"It has {file.width} x {file.height} pixels")
        if file.mode == "F" or file.mode.startswith("I"):
            raise _unusable("It has more than 8 bits per colour")
        file.draft(None, (KEPT_SIDE, KEPT_SIDE))  # a JPEG need not be unpacked in full
        image = file.convert("L" if file.mode in ("1", "L", "LA") else "RGB")
        image.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.BOX)
        pixels: Picture = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def view_of(frame: NDArray[Any]) -> tuple[bytes, str]:
    """A frame for a page: its bytes and media type, at most 640 pixels wide.

    Args:
        frame: uint8 [H, W, C], or a signal float32 [channels, length].
    """
    image = _image(frame)
    if image.width > VIEW_WIDTH:
        height = max(1, round(image.height * VIEW_WIDTH / image.width))
        image = image.resize((VIEW_WIDTH, height), Image.Resampling.BOX)
    if image.mode == "RGBA" or image.width * image.height <= SMALL_PIXELS:
        return _encoded(image, "PNG"), "image/png"
    return _encoded(image, "JPEG"), "image/jpeg"


def png_of(frame: NDArray[Any]) -> bytes:
    """A frame, pixel by pixel; arguments as `view_of`."""
    return _encoded(_image(frame), "PNG")


def _image(frame: NDArray[Any]) -> Image.Image:
    if frame.dtype != np.uint8:
        return _drawn(frame)
    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


def _drawn(signal: NDArray[Any]) -> Image.Image:
    """Lines over a transparent ground, each channel scaled to the range of all."""
    width, height = SIGNAL_SIZE
    image = Image.new("RGBA", SIGNAL_SIZE)
    draw = ImageDraw.Draw(image)
    channels = np.nan_to_num(np.atleast_2d(signal).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(channels.min()), float(channels.max())
    y = (height - 9) * (1 - (channels - low) / max(high - low, 1e-12)) + 4
    x = np.linspace(4, width - 5, channels.shape[-1])
    for number, line in enumerate(y):
        points = [(float(a), float(b)) for a, b in zip(x, line, strict=True)]
        draw.line(points, fill=_LINES[number % len(_LINES)], width=2)
    return image


def _encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


@contextmanager
def _readable() -> Iterator[None]:
    """Inside, whatever Pillow has against a picture ends in a DataError."""
    try:
        with warnings.catch_warnings():
            # `MAX_PIXELS` is lower than what Pillow warns of.
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    # Pillow's decoders raise almost anything on files made to do harm.
    except Exception as error:
        raise _unusable(f"It cannot be decoded: {ascii(str(error))[:200]}") from error


def _unusable(found: str) -> DataError:
    return DataError(
        f"The picture cannot be used. {found}.",
        f"An undamaged {', '.join(ACCEPTED.values())} with 8 bits per colour and at most "
        f"{MAX_PIXELS:,} pixels is expected, and a Content-Type that says which.",
        "Send it in one of these formats.",
    )
