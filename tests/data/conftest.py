"""Small data sets in every accepted form, built in tmp_path."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Files = Mapping[str, bytes]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEL_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets; the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "../shared/data"
    folder = Path(os.environ.get("SEL_EDGE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found: set SEL_EDGE_TEST_DATA (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encode one image, uint8 or uint16 [H, W], [H, W, 3] or [H, W, 4]."""

    def encode(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form, **options)
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def image_files(encode: Callable[..., bytes]) -> dict[str, bytes]:
    """A good image folder: two classes, three training and two test images each, 8x8 RGB."""
    rng = np.random.default_rng(7)
    return {
        f"pets/{split}/{name}/{number}.png": encode(
            rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        )
        for split, count in (("test", 2), ("train", 3))
        for name in ("cat", "dog")
        for number in range(count)
    }


@pytest.fixture(scope="session")
def cifar_arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images [N, 32, 32, 3] and labels of six tiny batches."""
    rng = np.random.default_rng(11)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {
        name: (rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8), np.arange(4) % 3)
        for name in names
    }


@pytest.fixture(scope="session")
def cifar_files(
    cifar_arrays: dict[str, tuple[np.ndarray, np.ndarray]],
) -> Callable[[str, int], dict[str, bytes]]:
    """The files of a CIFAR archive, "python" (with a pickle protocol) or "binary"."""

    def files(form: str, protocol: int = 2) -> dict[str, bytes]:
        names = ["cat", "dog", "emu"]
        planes = {
            name: (images.transpose(0, 3, 1, 2).reshape(len(images), -1), labels)
            for name, (images, labels) in cifar_arrays.items()
        }
        if form == "binary":
            content = {
                f"cifar-10-batches-bin/{name}.bin": np.concatenate(
                    [labels.astype(np.uint8)[:, None], data], axis=1
                ).tobytes()
                for name, (data, labels) in planes.items()
            }
            return content | {"cifar-10-batches-bin/batches.meta.txt": "\n".join(names).encode()}
        values: dict[str, object] = {
            name: {b"batch_label": b"x", b"labels": labels.tolist(), b"data": data}
            for name, (data, labels) in planes.items()
        }
        values["batches.meta"] = {b"label_names": [name.encode() for name in names]}
        return {
            f"cifar-10-batches-py/{name}": pickle.dumps(value, protocol=protocol)
            for name, value in values.items()
        }

    return files


@pytest.fixture(scope="session")
def pack() -> Callable[[Path, Files], Path]:
    """Write files as what the suffix of `path` says: .tar, .tar.gz, .zip or a folder."""

    def pack(path: Path, files: Files) -> Path:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        elif ".tar" in path.name:
            with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
                for name, content in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        else:
            for name, content in files.items():
                file = path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return path

    return pack
