"""What the JPEG files of a data set went through, read from the files themselves."""

from __future__ import annotations

from collections import Counter

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from sel_edge.data.jpeg_tables import CHROMINANCE, LUMINANCE, scaled_table

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_QUALITIES = {
    tuple(scaled_table(LUMINANCE, quality).ravel().tolist()): quality for quality in range(1, 101)
}
_CHROMINANCE_TABLES = {
    quality: tuple(scaled_table(CHROMINANCE, quality).ravel().tolist()) for quality in range(1, 101)
}


class JpegCensus:
    """Counts images by JPEG quality and chroma subsampling, and says so in one phrase."""

    def __init__(self) -> None:
        self._images = 0
        self._encodings: Counter[tuple[int | None, str]] = Counter()

    def add(self, image: Image.Image) -> None:
        """Count one opened image of any format."""
        if isinstance(image, JpegImageFile):
            sampling = _SAMPLINGS.get(get_sampling(image), "") if image.layers > 1 else ""
            self._encodings[_quality(image), sampling] += 1
        self._images += 1

    def note(self) -> str:
        """Such as "JPEG, quality 75, 4:2:0"; "" if no image is a JPEG."""
        if not self._encodings:
            return ""
        qualities = {quality for quality, _ in self._encodings}
        known = sorted(quality for quality in qualities if quality is not None)
        parts = ["JPEG"]
        if known:
            span = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
            parts.append(f"quality {span}")
        if None in qualities:
            parts.append("other quantization tables" if known else "unusual quantization tables")
        samplings = sorted({sampling for _, sampling in self._encodings} - {""}, reverse=True)
        if samplings:
            parts.append(" and ".join(samplings))
        n_jpeg = self._encodings.total()
        if n_jpeg < self._images:
            parts.append(f"{n_jpeg:,} of {self._images:,} images")
        return ", ".join(parts)


def _quality(image: JpegImageFile) -> int | None:
    """The quality whose standard tables the file carries, None if it carries others."""
    tables = image.quantization
    quality = _QUALITIES.get(tuple(tables.get(0, ())))
    if quality and 1 in tables and tuple(tables[1]) != _CHROMINANCE_TABLES[quality]:
        return None
    return quality
