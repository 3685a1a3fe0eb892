"""Decoding one encoded image into uint8, refusing whatever would have to be guessed at."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.convert import PIL_MODE, RESAMPLING
from sel_edge.data.jpeg_note import JpegCensus
from sel_edge.data.spec import Mode

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
_PLAIN_MODES = ("RGB", "L")
# What Pillow's decoders raise on damaged files, besides its own errors.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, struct.error, zlib.error),
)
_GRAY_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I")


class BadImageError(DataError):
    """An image that cannot be decoded, or would unpack to too many pixels.

    Attributes:
        why: in a few words.
    """

    def __init__(self, why: str, found: str, expected: str, action: str) -> None:
        self.why = why
        super().__init__(found, expected, action)


@dataclass(frozen=True)
class Decoder:
    """How the images of one source are decoded.

    Attributes:
        source: what errors call the source.
        size: side in pixels to resize to (bilinear over the area, aspect ratio not kept), or None.
        mode: "rgb" or "gray" to convert every image (an alpha channel is dropped, 16 bits are
            scaled to 8), None to refuse images that need it.
        census: counts the encodings of what was decoded.
    """

    source: str
    size: int | None
    mode: Mode | None
    census: JpegCensus

    def decode(self, name: str, data: bytes) -> NDArray[np.uint8]:
        """Decode the file `name`, uint8 [H, W, C] with C = 1 or 3.

        Raises:
            BadImageError: not an image of a known format, damaged or too large.
            DataError: neither plain 8-bit gray nor plain 8-bit RGB while no `mode` is set.
        """
        image = self._open(name, data)
        what = self._unplain(image)
        if what and self.mode is None:
            raise DataError(
                f"{name} in {self.source} is {what}.",
                "Images are plain 8-bit gray or 8-bit RGB.",
                "Add ?mode=rgb or ?mode=gray to convert all of them, or convert the file yourself.",
            )
        try:
            pixels: NDArray[np.uint8] = np.asarray(self._converted(image))
            self.census.add(image)  # may fail, too: a header can lack what Pillow looks for in it
        except _DECODER_ERRORS as error:
            raise self._damaged(name, str(error)) from error
        return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]

    def _open(self, name: str, data: bytes) -> Image.Image:
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise self._damaged(name, "its content is no image of a known format") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise self._too_large(name) from error
        except _DECODER_ERRORS as error:
            raise self._damaged(name, str(error)) from error
        if image.width * image.height > limits.MAX_IMAGE_PIXELS:
            raise self._too_large(name)
        return image

    def _converted(self, image: Image.Image) -> Image.Image:
        is_deep_gray = image.mode in _GRAY_16_BIT_MODES and _is_16_bit(image)
        image.load()
        if is_deep_gray:
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if self.mode and image.mode != PIL_MODE[self.mode]:
            image = image.convert(PIL_MODE[self.mode])
        if self.size and image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), RESAMPLING)
        return image

    def _unplain(self, image: Image.Image) -> str:
        """What keeps an image from being plain 8-bit gray or RGB, "" if nothing does."""
        if _is_16_bit(image):
            return f"a 16-bit image ({image.mode})"
        if image.mode not in _PLAIN_MODES:
            return f"an image of mode {image.mode}"
        return "an image with a transparent colour" if "transparency" in image.info else ""

    def _damaged(self, name: str, why: str) -> BadImageError:
        why = why or "it is damaged"  # some errors of Pillow have no text
        return BadImageError(
            why,
            f"{name} in {self.source} cannot be decoded: {why}.",
            f"Every file in a class folder is an undamaged image ({', '.join(FORMATS)}).",
            "Remove the file, convert it, or replace it by a good copy.",
        )

    def _too_large(self, name: str) -> BadImageError:
        why = "would unpack to too many pixels"
        return BadImageError(
            why,
            f"{name} in {self.source} {why}.",
            f"An image has at most {limits.MAX_IMAGE_PIXELS:,} pixels.",
            "Remove the file or make it smaller.",
        )


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Inside, Pillow refuses suspiciously large images instead of warning about them.

    Its other warnings are dropped: what they are about either ends in an error or does not touch
    the pixels. To be put around the whole loop, because entering it costs more than an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _is_16_bit(image: Image.Image) -> bool:
    """Whether the file stores 16 bits per channel, even where Pillow's mode hides it (RGB)."""
    for tile in getattr(image, "tile", ()):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(arg, str) and ";16" in arg for arg in args):
            return True
        if image.format == "PPM" and len(args) > 1 and args[1] > 255:
            return True
    return False
