"""The cache of decoded images: one file per source content and decoding options.

A cache file is an uncompressed .npz; its CRC-32 per array tells a damaged file from a good one. A
cache that cannot be read, for whatever reason, is rebuilt; one that cannot be written is done
without.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sel_edge.core.files import canonical_json, sha256_bytes
from sel_edge.data.bad_images import BadImages
from sel_edge.data.dataset import Dataset, Splits

_FORMAT = 1


def cache_directory() -> Path:
    """``$SEL_EDGE_CACHE``, else ``$XDG_CACHE_HOME/sel-edge``, else ``~/.cache/sel-edge``."""
    chosen = os.environ.get("SEL_EDGE_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sel-edge"


def cached(sha256: str, options: dict[str, str], decode: Callable[[], Splits]) -> Splits:
    """The splits that `decode` gives, from the cache if they are there.

    Args:
        sha256: of the source's content.
        options: everything else that the decoded images depend on.
        decode: makes the splits when the cache does not have them.
    """
    key = sha256_bytes(canonical_json([_FORMAT, sha256, options]))
    path = cache_directory() / f"{key}.npz"
    splits = _read(path, sha256)
    if splits is None:
        splits = decode()
        _write(path, splits)
    return splits


def _read(path: Path, sha256: str) -> Splits | None:
    try:
        with (
            warnings.catch_warnings(action="error"),  # numpy warns of odd headers and reads on
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            classes = tuple(str(name) for name in arrays["classes"])
            train, test = (
                Dataset(arrays[f"{split}_images"], arrays[f"{split}_labels"], classes)
                for split in ("train", "test")
            )
            skipped = BadImages(**json.loads(str(arrays["skipped"])))
            return Splits(train, test, "", sha256, str(arrays["note"]), skipped)
    except Exception:  # noqa: BLE001 - zipfile and numpy raise a dozen kinds; each means: rebuild
        return None


def _write(path: Path, splits: Splits) -> None:
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            np.savez(
                file,
                classes=np.array(splits.train.classes),
                note=np.array(splits.note),
                skipped=np.array(json.dumps(asdict(splits.skipped))),
                train_images=splits.train.images,
                train_labels=splits.train.labels,
                test_images=splits.test.images,
                test_labels=splits.test.labels,
            )
        temporary.replace(path)
    except OSError:
        if temporary:
            temporary.unlink(missing_ok=True)
