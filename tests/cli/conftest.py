"""Images of fruit, and a network to export for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.user_networks import NAMES, SIDE, arguments, plain, saved


def photos(root: Path, side: int, mode: str = "RGB", count: int = 6) -> Path:
    """Noise whose brightness tells the class: pears are dark, figs are bright."""
    rng = np.random.default_rng(0)
    depth = 3 if mode == "RGB" else 1
    for number, name in enumerate(NAMES):
        for split in ("train", "test"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count if split == "train" else 1):
                pixels = rng.integers(80 * number, 80 * number + 80, (side, side, depth))
                image = Image.fromarray(pixels.astype(np.uint8).squeeze(), mode)
                image.save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with images of two sizes and a list of the classes."""
    folder = tmp_path_factory.mktemp("fruit")
    photos(folder / "small", SIDE)
    photos(folder / "large", 16)
    photos(folder / "gray", SIDE, mode="L")
    photos(folder / "few", SIDE, count=2)
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    return folder


@pytest.fixture
def export_plain(call, fruit, tmp_path) -> Callable[..., Any]:
    """Export the plain classifier with options."""

    def do(*more: object, network: Path | None = None) -> Any:
        path = network or saved(plain(), tmp_path / "net.onnx")
        return call(*arguments(fruit, path, tmp_path / "bundle", *more))

    return do
